//! The end: patience, SIGTERM, SIGKILL, and the kernel's word that nothing is
//! left. The same for a close and for the host's death.

use crate::sys::{self, Errno, MILLISECOND, SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use crate::tree::{self, Member};
use crate::wire::{self, STAGE_EXITED, STAGE_KILL, STAGE_TERM};
use crate::{Guard, Wish, readable};

/// How long what the server has left behind may go on by itself.
const AFTERGLOW: i64 = 100 * MILLISECOND;
/// Killing only the direct children wins against almost everything, and fast:
/// who is not ours yet becomes ours when its parent dies.
const DIRECT: i64 = 25 * MILLISECOND;
/// A tree that forks faster than it dies is stopped first.
const FREEZE: i64 = 100 * MILLISECOND;
/// Who is not dead then cannot be killed. A little less than the second that
/// is promised.
const LIMIT: i64 = 900 * MILLISECOND;

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
        let (mut killed, mut left) = (0, 0);
        if !self.is_over() {
            killed = self.count_alive();
            stage = STAGE_KILL;
            left = self.kill_all();
        }
        self.hear_server();
        self.fail_if_not_executed();
        let [kind, value] = self.end_words();
        self.say([wire::GONE, kind, value, stage, killed, left]);
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
                && (early || !self.proc)
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
        if self.end.is_none() || !self.proc {
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
                Ok(Some((pid, end))) if pid == self.server && self.pinned => {
                    self.pinned = false;
                    self.note_end(end);
                }
                Ok(Some(_)) | Err(sys::EINTR) => {}
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
        if !self.proc {
            return i32::from(self.end.is_none());
        }
        self.tree.walk();
        self.tree.count_alive()
    }

    /// Kill until nothing is left. The result is how many could not be killed.
    fn kill_all(&mut self) -> i32 {
        let begin = sys::now();
        let mut freeze_at = begin + DIRECT;
        loop {
            let mut round = self.kill_direct();
            if self.reap_all() {
                return 0;
            }
            let now = sys::now();
            if now >= freeze_at {
                self.freeze(now + FREEZE);
                round = self.kill_tree();
                freeze_at = sys::now() + DIRECT;
            }
            if now - begin > LIMIT || (round.is_hopeless() && now - begin > FREEZE) {
                return self.count_alive().max(1);
            }
            self.pause();
        }
    }

    /// Kill the group and our own children. Children may be killed by number:
    /// until we reap them it stays theirs.
    fn kill_direct(&mut self) -> Round {
        let mut round = Round::default();
        if self.pinned {
            round.count(sys::kill(-self.server, SIGKILL));
            round.count(sys::kill(self.server, SIGKILL));
        }
        for child in self.tree.children() {
            round.count(sys::kill(child.pid, SIGKILL));
        }
        round
    }

    /// Stop the whole tree, so that nobody can fork any more.
    fn freeze(&mut self, until: i64) {
        while self.proc {
            self.tree.walk();
            let mut running = false;
            for member in self.tree.members() {
                running |= self.stop(*member);
            }
            if !running || sys::now() > until {
                return;
            }
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

    /// Sleep until a child has ended, or for a moment.
    fn pause(&mut self) {
        let mut set = [sys::PollFd {
            fd: self.signals,
            events: 1,
            ready: 0,
        }];
        sys::poll(&mut set, Some(MILLISECOND));
        if readable(self.signals) {
            let mut drained = [0u8; 128];
            let _ = sys::read(self.signals, &mut drained);
        }
    }
}
