//! The end: patience, SIGTERM, SIGKILL, and the kernel's word that nothing is
//! left. The same for a close and for the host's death.

use crate::sys::{self, Errno, MILLISECOND, SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use crate::tree::{self, Member};
use crate::wire::{self, STAGE_EXITED, STAGE_KILL, STAGE_TERM};
use crate::{Guard, Wish};

/// How long what the server has left behind may go on by itself.
const AFTERGLOW: i64 = 100 * MILLISECOND;
/// Killing only the direct children wins against almost everything, and fast:
/// who is not ours yet becomes ours when its parent dies.
const DIRECT: i64 = 25 * MILLISECOND;
/// If it has not won by then, the tree is stopped first, for whatever reason.
const PATIENCE: i64 = 200 * MILLISECOND;
/// How long stopping it may take.
const FREEZE: i64 = 100 * MILLISECOND;
/// Who is not dead then is reported as left. A little less than the second
/// that is promised.
const LIMIT: i64 = 900 * MILLISECOND;
/// Who has been killed, but is slow to die, is waited for this much longer.
const LINGER: i64 = 30_000 * MILLISECOND;
/// The longest sleep between two rounds, if no child ends.
const NAP: i64 = 16 * MILLISECOND;

/// What came of a round of signals.
#[derive(Default)]
struct Round {
    sent: u32,
    refused: u32,
}

impl Round {
    fn count(&mut self, done: Result<(), Errno>) {
        match done {
            Ok(()) => self.sent += 1,
            Err(sys::EPERM) => self.refused += 1,
            Err(_) => {}
        }
    }

    fn is_hopeless(&self) -> bool {
        self.refused > 0 && self.sent == 0
    }
}

/// What came of killing.
#[derive(PartialEq)]
enum Outcome {
    /// Nothing is left.
    Dead,
    /// Some were killed but have not ended: the machine is overloaded, or they
    /// wait for a device.
    Dying,
    /// Some may not be killed by us.
    Refused,
}

impl Guard {
    pub fn teardown(mut self) -> ! {
        let mut stage = STAGE_EXITED;
        if self.wish < Wish::Kill && !self.is_over_within(self.exit_after, true) {
            if self.wish < Wish::Kill {
                stage = STAGE_TERM;
                self.terminate();
            }
            if self.wish < Wish::Kill {
                self.is_over_within(self.kill_after, false);
            }
        }
        let mut killed = 0;
        let mut outcome = Outcome::Dead;
        if !self.is_over() {
            killed = self.count_alive();
            stage = STAGE_KILL;
            outcome = self.kill_all(killed, LIMIT);
        }
        self.hear_server();
        self.fail_if_not_executed();
        let left = match outcome {
            Outcome::Dead => 0,
            Outcome::Dying | Outcome::Refused => self.count_alive().max(1),
        };
        let [kind, value] = self.end_words();
        self.say([wire::GONE, kind, value, stage, killed, left]);
        if outcome == Outcome::Dying {
            self.kill_all(killed, LINGER);
        }
        sys::exit(0)
    }

    /// Wait for the end of every descendant. With `early`, stop waiting for
    /// the others soon after the server itself has ended.
    fn is_over_within(&mut self, grace: i64, early: bool) -> bool {
        let begin = sys::now();
        loop {
            if self.is_over() {
                return true;
            }
            let mut until = begin.saturating_add(grace);
            if let Some((_, ended)) = self.end
                && early
            {
                until = until.min(ended.max(begin) + AFTERGLOW);
            }
            let left = until - sys::now();
            if left <= 0 || self.wish == Wish::Kill {
                return false;
            }
            self.wait(Some(left));
        }
    }

    /// Whether no descendant is left. The server goes on being pinned as long
    /// as anything else is.
    fn is_over(&mut self) -> bool {
        self.reap_orphans();
        if !self.pinned {
            return self.reap_all();
        }
        if self.end.is_none() {
            return false;
        }
        let server = self.server;
        let alone = self.tree.children().iter().all(|child| child.pid == server);
        alone && self.reap_all()
    }

    /// Reap everybody, the server too. True is the kernel's own proof that
    /// nothing is left.
    fn reap_all(&mut self) -> bool {
        loop {
            match sys::reap(-1) {
                Ok(Some((pid, end))) => {
                    self.reaped += 1;
                    if pid == self.server && self.pinned {
                        self.pinned = false;
                        self.note_end(end);
                    }
                }
                Err(sys::EINTR) => {}
                Ok(None) => return false,
                Err(errno) => return errno == sys::ECHILD,
            }
        }
    }

    /// SIGTERM, and SIGCONT so that who is stopped hears it.
    fn terminate(&mut self) {
        let group = -self.server;
        if self.pinned {
            // A server that has not come to setsid yet has no group.
            if sys::kill(group, SIGTERM).is_err() {
                let _ = sys::kill(self.server, SIGTERM);
            }
            let _ = sys::kill(group, SIGCONT);
        }
        self.tree.walk();
        for member in self.tree.members() {
            if !self.pinned || sys::getpgid(member.pid) != Ok(self.server) {
                let _ = self.tree.signal(*member, &[SIGTERM, SIGCONT]);
            }
        }
    }

    fn count_alive(&mut self) -> i32 {
        self.tree.walk();
        self.tree.count_alive()
    }

    /// Kill until nothing is left, or for `limit`. At first, `alive` were.
    fn kill_all(&mut self, alive: i32, limit: i64) -> Outcome {
        let begin = sys::now();
        let mut freeze_at = begin + DIRECT;
        let mut nap = MILLISECOND;
        loop {
            self.kill_direct();
            if self.reap_all() {
                return Outcome::Dead;
            }
            let now = sys::now();
            // More have died than there were: somebody replaces them.
            let churns = self.reaped > alive;
            if now >= freeze_at && (churns || now - begin > PATIENCE) {
                self.freeze(now + FREEZE);
                let round = self.kill_tree();
                freeze_at = sys::now() + DIRECT;
                if round.is_hopeless() {
                    return Outcome::Refused;
                }
            }
            if now - begin > limit {
                return Outcome::Dying;
            }
            nap = if self.pause(nap) { MILLISECOND } else { NAP.min(2 * nap) };
        }
    }

    /// Kill the group and our own children. Children may be killed by number:
    /// until we reap them it stays theirs.
    fn kill_direct(&mut self) {
        if self.pinned {
            let _ = sys::kill(-self.server, SIGKILL);
            let _ = sys::kill(self.server, SIGKILL);
        }
        for child in self.tree.children() {
            let _ = sys::kill(child.pid, SIGKILL);
        }
    }

    /// Stop the whole tree, so that nobody can fork any more.
    fn freeze(&mut self, until: i64) {
        while self.tree.has_proc() {
            self.tree.walk();
            let mut running = false;
            for member in self.tree.members() {
                running |= self.stop(*member);
            }
            if !running || sys::now() > until {
                return;
            }
            // They stop when they get to run.
            sys::poll(&mut [], Some(MILLISECOND));
        }
    }

    /// Whether it was running.
    fn stop(&self, member: Member) -> bool {
        let running = tree::status(member.pid)
            .is_some_and(|status| !status.is_dead() && !status.is_stopped());
        running && self.tree.signal(member, &[SIGSTOP]) == Some(Ok(()))
    }

    /// Kill the members of the last walk, leaves first: no orphan is made that
    /// somebody would have to adopt.
    fn kill_tree(&mut self) -> Round {
        let mut round = Round::default();
        for member in self.tree.members().iter().rev() {
            if let Some(done) = self.tree.signal(*member, &[SIGKILL]) {
                round.count(done);
            }
        }
        round
    }

    /// Sleep until a child has ended, or for `nanos`. Whether one has.
    fn pause(&mut self, nanos: i64) -> bool {
        let mut set = [sys::PollFd { fd: self.signals, events: 1, ready: 0 }];
        sys::poll(&mut set, Some(nanos));
        let mut drained = [0u8; 128];
        set[0].ready != 0 && sys::read(self.signals, &mut drained).is_ok()
    }
}
