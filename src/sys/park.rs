//! Sleeping threads and how to wake them.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

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
    bunk: Bunk,
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
        Ok(Self { bell: Bell::new()?, bunk: Bunk::next(), state: AtomicU32::new(AWAKE) })
    }

    /// Wake these threads, or let their next sleep end at once. Never blocks.
    ///
    /// With one system call for those that share a word, as threads do that began one
    /// after the other, and so without a change of threads in between: whoever woke 64
    /// one by one gave way to each of them.
    pub fn ring_all(parkers: &[Arc<Self>]) {
        let mut bits = [0; ROOMS];
        let mut rooms = 0u64;
        for parker in parkers {
            match parker.state.swap(RUNG, Ordering::SeqCst) {
                IN_FUTEX => {
                    bits[parker.bunk.room] |= parker.bunk.bit;
                    rooms |= 1 << parker.bunk.room;
                }
                IN_POLL => parker.bell.ring(),
                _ => {}
            }
        }
        while rooms != 0 {
            let room = rooms.trailing_zeros() as usize;
            rooms &= rooms - 1;
            BEDROOMS[room].wake(bits[room]);
        }
    }

    /// Sleep until it rings, or `deadline` passes. That may be for nothing: who
    /// wakes up must look again.
    pub fn sleep(&self, deadline: Option<Instant>) -> Woken<0> {
        let room = &BEDROOMS[self.bunk.room];
        // Before it says that it sleeps: who sees that rings, which the kernel sees.
        let rings = room.rings.load(Ordering::SeqCst);
        if !self.falls_asleep(IN_FUTEX) {
            return Woken::Ready([]);
        }
        let woken = room.wait(rings, self.bunk.bit, deadline);
        self.state.store(AWAKE, Ordering::SeqCst);
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

/// Where a thread sleeps by futex(2): 32 threads share a word, so that one system
/// call can wake any of them.
#[derive(Debug)]
struct Bunk {
    room: usize,
    /// One of the room's. Of more than 2,048 threads some have the same one, and
    /// wake up for nothing now and then.
    bit: u32,
}

impl Bunk {
    /// Threads that begin together most likely work, and are woken, together.
    fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { room: (number / u32::BITS) as usize % ROOMS, bit: 1 << (number % u32::BITS) }
    }
}

/// What the threads of 32 bunks sleep on. On a line of the cache by itself.
#[repr(align(64))]
struct Bedroom {
    /// How often it has rung here, for anyone.
    rings: AtomicU32,
}

const ROOMS: usize = 64;

// `Parker::ring_all` has a bit for each.
const _: () = assert!(ROOMS <= u64::BITS as usize);

static BEDROOMS: [Bedroom; ROOMS] = [const { Bedroom { rings: AtomicU32::new(0) } }; ROOMS];

impl Bedroom {
    /// Sleep in the bunk `bit` until it is woken, `deadline` passes, or a signal
    /// handler runs; not at all when it has rung more often than `rings` times.
    fn wait(&self, rings: u32, bit: u32, deadline: Option<Instant>) -> Woken<0> {
        let Some(until) = deadline.map_or(Some(NEVER), monotonic) else { return Woken::Timeout };
        let until = TimeSpec::from(until.min(NEVER));
        // SAFETY: the kernel reads the word and the time, which live here. It
        // does not look at the second address.
        let woken = unsafe {
            let what = argument(libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG);
            let (word, nowhere) = (self.rings.as_ptr(), ptr::null::<u32>());
            let (rings, bit) = (argument(rings as i32), argument(bit as i32));
            libc::syscall(libc::SYS_futex, word, what, rings, until.as_ref(), nowhere, bit)
        };
        if woken == 0 {
            return Woken::Ready([]);
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => Woken::Signal,
            Some(libc::ETIMEDOUT) => Woken::Timeout,
            // It has rung before the kernel looked.
            _ => Woken::Ready([]),
        }
    }

    /// Wake who sleeps in these bunks.
    fn wake(&self, bits: u32) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the kernel takes the address as a name, and reads nothing there.
        unsafe {
            let what = argument(libc::FUTEX_WAKE_BITSET | libc::FUTEX_PRIVATE_FLAG);
            let (word, nowhere) = (self.rings.as_ptr(), ptr::null::<u32>());
            let (all, bits) = (argument(i32::MAX), argument(bits as i32));
            libc::syscall(libc::SYS_futex, word, what, all, nowhere, nowhere, bits);
        }
    }
}

/// Some time must be given in any case: without one the kernel goes on waiting
/// after a signal handler with SA_RESTART (signal(7)).
const NEVER: Duration = Duration::from_secs(i32::MAX as u64);

/// `at` by the clock that FUTEX_WAIT_BITSET takes it by; not before it, so that no wait
/// ends early. `None`: it has passed, for which the kernel would sleep a while, too.
fn monotonic(at: Instant) -> Option<Duration> {
    let left = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    // Every Linux has this clock.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(NEVER, Duration::from);
    Some(now.saturating_add(left))
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
    use std::iter::zip;
    use std::sync::atomic::AtomicBool;
    use std::{slice, thread};

    /// One in a room that other tests are not given.
    fn parker_in(room: usize, bit: u32) -> Arc<Parker> {
        Arc::new(Parker { bunk: Bunk { room, bit }, ..Parker::new().unwrap() })
    }

    /// Two threads wake each other in turns, each time for one more turn, while
    /// they sleep in either way: no ring is lost, and none is heard for ever.
    #[test]
    fn no_ring_is_lost() {
        const TURNS: u32 = 20_000;
        let turn = AtomicU32::new(0);
        let parkers = [(); 2].map(|()| parker_in(ROOMS - 1, 1));
        let play = |me: u32| {
            let [own, other] = [me, 1 - me].map(|who| &parkers[who as usize]);
            while turn.load(Ordering::SeqCst) < TURNS {
                let at = turn.load(Ordering::SeqCst);
                if at % 2 == me {
                    turn.store(at + 1, Ordering::SeqCst);
                    Parker::ring_all(slice::from_ref(other));
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

    /// In more than one room, and whether they sleep or are about to.
    #[test]
    fn a_ring_for_all_wakes_each() {
        const THREADS: usize = 40;
        let parkers = [(); THREADS].map(|()| Arc::new(Parker::new().unwrap()));
        let turn = AtomicU32::new(0);
        thread::scope(|scope| {
            for parker in &parkers {
                scope.spawn(|| {
                    for next in 1..=20 {
                        while turn.load(Ordering::SeqCst) < next {
                            parker.sleep(None);
                        }
                    }
                });
            }
            for _ in 1..=20 {
                turn.fetch_add(1, Ordering::SeqCst);
                Parker::ring_all(&parkers);
            }
        });
    }

    /// Who has the same bunk may be woken for nothing, but never instead.
    #[test]
    fn a_bunk_may_be_shared() {
        let parkers = [(); 3].map(|()| parker_in(ROOMS - 2, 1));
        let is_called = [const { AtomicBool::new(false) }; 3];
        thread::scope(|scope| {
            let sleepers: Vec<_> = zip(&parkers, &is_called)
                .map(|(parker, is_called)| {
                    scope.spawn(|| {
                        while !is_called.load(Ordering::SeqCst) {
                            parker.sleep(None);
                        }
                    })
                })
                .collect();
            let mut last_first: Vec<_> = zip(zip(&parkers, &is_called), sleepers).collect();
            last_first.reverse();
            for ((parker, is_called), sleeper) in last_first {
                while parker.state.load(Ordering::SeqCst) != IN_FUTEX {
                    thread::yield_now();
                }
                is_called.store(true, Ordering::SeqCst);
                Parker::ring_all(slice::from_ref(parker));
                sleeper.join().unwrap();
            }
        });
    }

    #[test]
    fn a_ring_before_the_sleep_ends_it() {
        let parker = Arc::new(Parker::new().unwrap());
        Parker::ring_all(slice::from_ref(&parker));
        assert_eq!(parker.sleep(None), Woken::Ready([]));
        Parker::ring_all(slice::from_ref(&parker));
        assert_eq!(parker.sleep_beside([None], None).unwrap(), Woken::Ready([false]));
    }
}
