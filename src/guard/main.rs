//! The guard: a server's parent, of which no descendant outlives it.
//!
//! It is a child subreaper, so that whatever the server forks, daemonises or
//! moves into another session stays its descendant. It ends everything when
//! the host asks for it, or has ended in whatever way.
//!
//! A program of its own, without libc, allocation or threads: it is executed
//! from the library's memory, and one of it sleeps beside each server.

#![no_std]
#![no_main]

#[cfg(target_arch = "aarch64")]
#[path = "arch_aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "arch_x86_64.rs"]
mod arch;
mod server;
mod sys;
mod teardown;
mod tree;
#[allow(dead_code, reason = "the host's half")]
mod wire;

use server::{Failure, Program};
use sys::{End, PollFd, Vector};
use tree::Tree;
use wire::{Words, argument, step};

/// What the host wants, the stronger last.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Wish {
    Run,
    Close,
    Kill,
}

/// All that the guard knows.
struct Guard {
    tree: &'static mut Tree,
    /// The host's pidfd, or -1.
    host: i32,
    /// The control socket, or -1 when the host has closed it.
    control: i32,
    signals: i32,
    /// Ends when the server was executed; -1 afterwards.
    errors: i32,
    server: i32,
    /// Why the server could not be executed.
    failure: Option<Failure>,
    /// How the server ended, and when.
    end: Option<(End, i64)>,
    /// The server is not reaped, so its number cannot be anybody else's.
    pinned: bool,
    /// How many were reaped in the end, while killing.
    reaped: i32,
    wish: Wish,
    exit_after: i64,
    kill_after: i64,
}

static mut TREE: Tree = Tree::new();

/// Called once, by `_start`.
extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: `_start` passes the stack pointer of the process's entry.
    let (count, argv, envp) = unsafe { Vector::arguments(stack) };
    if count <= argument::REST {
        sys::exit(127);
    }
    // SAFETY: the one place that names it, in a process of one thread that
    // comes here once.
    let Some(tree) = (unsafe { (&raw mut TREE).as_mut() }) else {
        sys::exit(127);
    };
    let control = wire::CONTROL;
    match Guard::begin(tree, argv, envp) {
        Ok(guard) => guard.run(),
        Err(failure) => fail(control, failure),
    }
}

impl Guard {
    fn begin(tree: &'static mut Tree, argv: Vector, envp: Vector) -> Result<Self, Failure> {
        let file = argv.at(argument::FILE);
        if !file.is_empty() {
            file.remove_with_folder();
        }
        let flags = argv.at(argument::FLAGS).number();
        let host = (flags & wire::HAS_HOST != 0).then_some(wire::HOST);
        isolate(wire::HOST + i32::from(host.is_some())).map_err(|errno| (step::PREPARE, errno))?;
        let signals = sys::child_signals().map_err(|errno| (step::PREPARE, errno))?;
        let (host, wish) = watch(host, argv.at(argument::HOST).number() as i32);
        let program = Program {
            cwd: (flags & wire::HAS_CWD != 0).then(|| argv.at(argument::CWD)),
            rest: argv.skip(argument::REST),
            candidates: argv.at(argument::CANDIDATES).number() as usize,
            envp,
        };
        let (server, errors) = server::fork(&program)?;
        release();
        tree.begin(sys::getpid());
        Ok(Self {
            tree,
            host,
            control: wire::CONTROL,
            signals,
            errors,
            server,
            failure: None,
            end: None,
            pinned: true,
            reaped: 0,
            wish,
            exit_after: nanos(argv.at(argument::EXIT_AFTER).number()),
            kill_after: nanos(argv.at(argument::KILL_AFTER).number()),
        })
    }

    /// Watch until the host wishes an end, or is gone, then end everything.
    fn run(mut self) -> ! {
        while self.wish == Wish::Run {
            self.wait(None);
            self.fail_if_not_executed();
        }
        self.teardown()
    }

    /// Sleep until something happens, for at most `nanos`, and take note of it.
    fn wait(&mut self, nanos: Option<i64>) {
        let watched = [self.errors, self.signals, self.control, self.host];
        let mut set = watched.map(|fd| PollFd {
            fd,
            events: 1, // POLLIN
            ready: 0,
        });
        sys::poll(&mut set, nanos);
        let [errors, signals, control, host] = set.map(|entry| entry.ready != 0);
        // Before the signals: that it started is told before that it ended.
        if errors || signals {
            self.hear_server();
        }
        if signals {
            self.reap_orphans();
        }
        if control {
            self.hear_host();
        }
        if host {
            self.host = -1;
            self.wish(Wish::Close);
        }
    }

    fn wish(&mut self, wish: Wish) {
        if wish > self.wish {
            self.wish = wish;
        }
    }

    fn hear_host(&mut self) {
        let mut request = [0u8; 1];
        match sys::receive(self.control, &mut request) {
            Ok(1) if request[0] == wire::KILL => self.wish(Wish::Kill),
            Ok(1) => self.wish(Wish::Close),
            Err(sys::EINTR) => {}
            _ => {
                self.control = -1;
                self.wish(Wish::Close);
            }
        }
    }

    /// Learn whether the server was executed.
    fn hear_server(&mut self) {
        if self.errors < 0 || !readable(self.errors) {
            return;
        }
        let mut failure = [0u8; 8];
        match sys::read(self.errors, &mut failure) {
            Ok(8) => {
                let [a, b, c, d, e, f, g, h] = failure;
                let step = i32::from_ne_bytes([a, b, c, d]);
                self.failure = Some((step, i32::from_ne_bytes([e, f, g, h])));
            }
            _ => self.say_started(),
        }
        sys::close(self.errors);
        self.errors = -1;
    }

    fn say_started(&self) {
        let words = bytes([wire::STARTED, self.server, 0, 0, 0, 0]);
        match sys::pidfd_open(self.server) {
            Ok(pidfd) => {
                sys::send_with(wire::CONTROL, &words, pidfd);
                sys::close(pidfd);
            }
            Err(_) => sys::send(wire::CONTROL, &words),
        }
    }

    /// A server that could not be executed has no descendants.
    fn fail_if_not_executed(&self) {
        if let Some(failure) = self.failure {
            sys::reap_slowly(self.server);
            fail(wire::CONTROL, failure);
        }
    }

    /// Reap what the server left to us, but not the server: its zombie keeps
    /// its number, which is its group's, from being given to a stranger.
    fn reap_orphans(&mut self) {
        let mut drained = [0u8; 128];
        while sys::read(self.signals, &mut drained).is_ok_and(|n| n > 0) {}
        while let Some((pid, end)) = sys::peek_any() {
            if pid == self.server && self.pinned {
                self.note_end(end);
                // The oldest child hides the others from this view.
                self.reap_behind_server();
                return;
            }
            if sys::reap(pid).is_err() {
                return;
            }
        }
    }

    fn reap_behind_server(&mut self) {
        for member in self.tree.children() {
            if member.pid != self.server {
                let _ = sys::reap(member.pid);
            }
        }
    }

    /// Tell the host once that the server itself has ended.
    fn note_end(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        self.end = Some((end, sys::now()));
        self.hear_server();
        if self.failure.is_none() {
            let [kind, value] = self.end_words();
            self.say([wire::EXITED, kind, value, 0, 0, 0]);
        }
    }

    fn end_words(&self) -> [i32; 2] {
        match self.end {
            None => [wire::END_UNKNOWN, 0],
            Some((End::Code(code), _)) => [wire::END_CODE, code],
            Some((End::Signal(signal), _)) => [wire::END_SIGNAL, signal],
        }
    }

    fn say(&self, words: Words) {
        sys::send(wire::CONTROL, &bytes(words));
    }
}

/// Leave everything that the host gave us, but for the first descriptors.
fn isolate(first_foreign: i32) -> Result<(), sys::Errno> {
    sys::block_signals();
    sys::default_dispositions();
    sys::close_from(first_foreign);
    sys::setsid();
    sys::set_name(c"leash-guard");
    sys::become_subreaper()
}

/// The host's pidfd, opened here if the host could not; and what to wish from
/// the beginning.
fn watch(given: Option<i32>, host: i32) -> (i32, Wish) {
    match given.map_or_else(|| sys::pidfd_open(host), Ok) {
        Ok(pidfd) => (pidfd, Wish::Run),
        Err(sys::ESRCH) => (-1, Wish::Close),
        // No such system call: the control socket has to do.
        Err(_) => (-1, Wish::Run),
    }
}

/// Let go of what is the server's: its ends of the pipes, and the folder.
fn release() {
    for fd in 0..=2 {
        sys::close(fd);
    }
    sys::chdir_root();
}

fn readable(fd: i32) -> bool {
    let mut set = [PollFd { fd, events: 1, ready: 0 }];
    sys::poll(&mut set, Some(0));
    set[0].ready != 0
}

fn fail(control: i32, (step, errno): Failure) -> ! {
    sys::send(control, &bytes([wire::FAILED, step, errno, 0, 0, 0]));
    sys::exit(1)
}

fn bytes(words: Words) -> [u8; size_of::<Words>()] {
    let mut bytes = [0; size_of::<Words>()];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn nanos(milliseconds: i64) -> i64 {
    milliseconds.saturating_mul(sys::MILLISECOND)
}

/// The server dies with us (PR_SET_PDEATHSIG) and the host sweeps the rest.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(101)
}
