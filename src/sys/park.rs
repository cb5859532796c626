//! Sleeping threads and how to wake them.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Fd;
use super::io::{Want, Woken, argument, wait};

/// A descriptor, by eventfd(2), that is readable from [`Bell::ring`] until [`Bell::mute`].
/// All of it is async-signal-safe, and neither blocks.
#[derive(Debug)]
pub struct Bell(Fd);

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        super::fill_standard()?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)?;
        Ok(Self(Fd::from(std::os::fd::OwnedFd::from(event))))
    }

    /// Make it readable.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes eight bytes that live on this stack. The one error
        // that can come, a full counter, still leaves it readable.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Make it unreadable.
    pub fn mute(&self) {
        let mut count = [0u8; 8];
        // SAFETY: reads eight bytes onto this stack. EAGAIN means silent.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Where one thread sleeps: by futex(2) when nobody but other threads can wake
/// it, which costs half as much, and otherwise in poll(2). A signal handler ends
/// both.
#[derive(Debug)]
pub struct Parker {
    bell: Bell,
    /// What the thread does: one of the constants below.
    state: AtomicU32,
}

const AWAKE: u32 = 0;
/// It was rung, and has not noticed.
const RUNG: u32 = 1;
const IN_FUTEX: u32 = 2;
const IN_POLL: u32 = 3;

impl Parker {
    fn new() -> io::Result<Self> {
        Ok(Self { bell: Bell::new()?, state: AtomicU32::new(AWAKE) })
    }

    /// Wake the thread, or let its next sleep end at once. Never blocks.
    pub fn ring(&self) {
        match self.state.swap(RUNG, Ordering::SeqCst) {
            IN_FUTEX => futex_wake(&self.state),
            IN_POLL => self.bell.ring(),
            _ => {}
        }
    }

    /// Sleep until it rings, or `deadline` passes. That may be for nothing: who
    /// wakes up must look again.
    pub fn sleep(&self, deadline: Option<Instant>) -> Woken<0> {
        if !self.falls_asleep(IN_FUTEX) {
            return Woken::Ready([]);
        }
        let woken = futex_wait(&self.state, IN_FUTEX, deadline);
        self.state.swap(AWAKE, Ordering::SeqCst);
        woken
    }

    /// The same, or until a descriptor can be used for what is wanted. The first
    /// place is for the parker's own.
    pub fn sleep_beside<'a, const N: usize>(
        &'a self,
        mut wants: [Option<Want<'a>>; N],
        deadline: Option<Instant>,
    ) -> io::Result<Woken<N>> {
        if !self.falls_asleep(IN_POLL) {
            return Ok(Woken::Ready([false; N]));
        }
        wants[0] = Some(Want::Read(self.bell.as_fd()));
        let woken = wait(wants, deadline);
        let was_rung = self.state.swap(AWAKE, Ordering::SeqCst) == RUNG;
        // The bell may ring only after that, or for a sleep before this one.
        let is_ringing = matches!(&woken, Ok(Woken::Ready(ready)) if ready[0]);
        if was_rung || is_ringing {
            self.bell.mute();
        }
        woken
    }

    /// Whether it goes to sleep as `how` says; it was rung otherwise.
    fn falls_asleep(&self, how: u32) -> bool {
        let was = self.state.compare_exchange(AWAKE, how, Ordering::SeqCst, Ordering::SeqCst);
        if was.is_err() {
            self.state.store(AWAKE, Ordering::SeqCst);
        }
        was.is_ok()
    }
}

/// Wait while `word` is `expected`. With some timeout in any case: without one
/// the kernel goes on waiting after a signal handler with SA_RESTART (signal(7)).
fn futex_wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> Woken<0> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    loop {
        let left = deadline.map_or(YEAR, |at| at.saturating_duration_since(Instant::now()));
        let left = left.min(YEAR);
        let timeout = libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: left.subsec_nanos() as libc::c_long,
        };
        // SAFETY: the kernel reads the word and the timeout, which live here.
        let woken = unsafe {
            let what = argument(libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG);
            let expected = libc::c_long::from(expected);
            libc::syscall(libc::SYS_futex, word.as_ptr(), what, expected, &raw const timeout)
        };
        if woken == 0 {
            return Woken::Ready([]);
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => return Woken::Signal,
            Some(libc::ETIMEDOUT) if deadline.is_none_or(|at| Instant::now() < at) => {}
            Some(libc::ETIMEDOUT) => return Woken::Timeout,
            // It was rung before the kernel looked.
            _ => return Woken::Ready([]),
        }
    }
}

fn futex_wake(word: &AtomicU32) {
    // SAFETY: the kernel takes the address as a name, and reads nothing there.
    unsafe {
        let what = argument(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG);
        libc::syscall(libc::SYS_futex, word.as_ptr(), what, argument(1));
    }
}

thread_local!(static OWN: OnceCell<Arc<Parker>> = const { OnceCell::new() });

/// The calling thread's own. It may ring for a wait that is over: who wakes up
/// must look again.
pub fn parker() -> io::Result<Arc<Parker>> {
    // A thread that is ending has lost its own; it gets one for this wait.
    let own = OWN.try_with(|own| match own.get() {
        Some(parker) => Ok(Arc::clone(parker)),
        None => Parker::new().map(|parker| Arc::clone(own.get_or_init(|| Arc::new(parker)))),
    });
    own.unwrap_or_else(|_| Parker::new().map(Arc::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Two threads wake each other in turns, each time for one more turn, while
    /// they sleep in either way: no ring is lost, and none is heard for ever.
    #[test]
    fn no_ring_is_lost() {
        const TURNS: u32 = 20_000;
        let turn = AtomicU32::new(0);
        let parkers = [Parker::new().unwrap(), Parker::new().unwrap()];
        let play = |me: u32| {
            let [own, other] = [me, 1 - me].map(|who| &parkers[who as usize]);
            while turn.load(Ordering::SeqCst) < TURNS {
                let at = turn.load(Ordering::SeqCst);
                if at % 2 == me {
                    turn.store(at + 1, Ordering::SeqCst);
                    other.ring();
                } else if at.is_multiple_of(3) {
                    own.sleep_beside([None, None], None).unwrap();
                } else {
                    own.sleep(None);
                }
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| play(0));
            scope.spawn(|| play(1));
        });
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        for parker in &parkers {
            // What is left is at most one ring of each kind.
            let _ = (parker.sleep(soon()), parker.sleep_beside([None], soon()));
            assert_eq!(parker.sleep(soon()), Woken::Timeout);
            assert_eq!(parker.sleep_beside([None], soon()).unwrap(), Woken::Timeout);
        }
    }

    #[test]
    fn a_ring_before_the_sleep_ends_it() {
        let parker = Parker::new().unwrap();
        parker.ring();
        assert_eq!(parker.sleep(None), Woken::Ready([]));
        parker.ring();
        assert_eq!(parker.sleep_beside([None], None).unwrap(), Woken::Ready([false]));
    }
}
