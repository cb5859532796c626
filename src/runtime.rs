//! The library's one thread, for all connections of the process.
//!
//! Besides tokio's own readiness it has a set of descriptors whose interest
//! comes and goes with the host's calls: while a thread of the host reads a
//! connection by itself, the runtime must not wake up for each message.

use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::io::Interest;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::error::{Code, Error, Result};
use crate::numbered::Numbered;
use crate::spare;
use crate::sys::poller::Poller;
use crate::sys::{self, Fd};

static RUNTIME: OnceCell<Runtime> = OnceCell::new();

/// How long after the last thread of the host the runtime begins to read.
pub const TICK: Duration = Duration::from_millis(10);

/// Memory for a large message is kept for so many ticks, or twice as many.
const SPARE_FOR: u32 = 50;

/// A resolver may take minutes to fail; more names than this wait their turn,
/// and their deadlines go on.
const LOOKUPS_MAX: usize = 16;

/// The runtime, and what its thread watches.
pub struct Runtime {
    handle: Handle,
    shared: Arc<Shared>,
    spare: Arc<Spare>,
}

struct Shared {
    poller: Poller,
    sources: Mutex<Numbered<Weak<dyn Source>>>,
    /// Those that want the next tick.
    ticking: Mutex<Vec<Weak<dyn Source>>>,
    /// Rung when `ticking` gets its first one.
    begin_ticking: Notify,
}

/// Who reads a descriptor, now and then.
pub trait Source: Send + Sync {
    /// The descriptor is readable. Interest has to be armed again.
    fn readable(&self);

    /// A tick has passed. Whether another one is wanted.
    fn tick(&self) -> bool;

    /// One of the above has panicked, a bug: end what this is about.
    fn broken(&self);
}

/// Call a source. A bug in one must not end the thread's work for all others.
fn call<T>(source: &dyn Source, work: impl FnOnce(&dyn Source) -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(|| work(source))).ok();
    if done.is_none() {
        let _ = catch_unwind(AssertUnwindSafe(|| source.broken()));
    }
    done
}

/// The runtime; its thread is started on first use. When that fails, the next
/// call tries again.
///
/// `Connect`: the thread, or one of its descriptors, could not be had.
pub fn get() -> Result<&'static Runtime> {
    let start = || -> io::Result<Runtime> {
        sys::fork::watch()?;
        // The thread inherits the mask: no signal of the host's runs on it.
        sys::io::with_signals_blocked(Runtime::start)
    };
    RUNTIME
        .get_or_try_init(start)
        .map_err(|e| Error::os(Code::Connect, "cannot start the library's thread", &e))
}

impl Runtime {
    fn start() -> io::Result<Self> {
        // Blocking work is one thing only: looking up names. Its threads are
        // begun by ours and so block all signals, and they end soon.
        let tokio = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("leash-dns")
            .max_blocking_threads(LOOKUPS_MAX)
            .thread_keep_alive(Duration::from_millis(100))
            .build()?;
        let handle = tokio.handle().clone();
        let shared = Arc::new(Shared {
            poller: Poller::new()?,
            sources: Mutex::default(),
            ticking: Mutex::default(),
            begin_ticking: Notify::new(),
        });
        let ready = {
            let _context = handle.enter();
            sys::watch(shared.poller.descriptor(), Interest::READABLE)?
        };
        handle.spawn(listen(Arc::clone(&shared), ready));
        handle.spawn(tick(Arc::clone(&shared)));
        spare::watch_by(Spare::watch);
        thread::Builder::new()
            .name("leash-io".to_owned())
            .spawn(move || tokio.block_on(std::future::pending::<()>()))?;
        // From here on the runtime lives as long as the process.
        sys::fork::own_watchers_of(shared.poller.descriptor().as_raw_fd());
        Ok(Self { handle, shared, spare: Arc::default() })
    }

    /// tokio's side of it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Add a descriptor, without interest in it.
    pub fn register(&self, fd: Arc<Fd>, source: Weak<dyn Source>) -> io::Result<Registration> {
        let shared = Arc::clone(&self.shared);
        let token = lock(&shared.sources).push(Weak::clone(&source));
        let registration = Registration { shared, fd, token, source, is_armed: false };
        self.shared.poller.add(&registration.fd, token)?;
        Ok(registration)
    }
}

/// The runtime's interest in a descriptor.
pub struct Registration {
    shared: Arc<Shared>,
    fd: Arc<Fd>,
    token: i64,
    source: Weak<dyn Source>,
    is_armed: bool,
}

impl Registration {
    /// Call [`Source::readable`] once, when it is.
    pub fn arm(&mut self) {
        // It can only fail for lack of kernel memory; a tick tries again.
        self.is_armed = self.shared.poller.arm(&self.fd, self.token).is_ok();
        if !self.is_armed {
            self.tick();
        }
    }

    /// Do not call it: somebody else reads.
    pub fn disarm(&mut self) {
        if self.is_armed {
            self.is_armed = self.shared.poller.disarm(&self.fd, self.token).is_err();
        }
    }

    /// Whether it will be called.
    pub fn is_armed(&self) -> bool {
        self.is_armed
    }

    /// It was called, so interest is gone.
    pub fn fired(&mut self) {
        self.is_armed = false;
    }

    /// Call [`Source::tick`] about every 10 ms, until it has had enough. One
    /// timer serves all.
    pub fn tick(&self) {
        self.shared.tick(Weak::clone(&self.source));
    }
}

impl Shared {
    fn tick(&self, source: Weak<dyn Source>) {
        let mut ticking = lock(&self.ticking);
        ticking.push(source);
        if ticking.len() == 1 {
            self.begin_ticking.notify_one();
        }
    }
}

/// Sees to it that what was kept for large messages is freed when there are
/// none any more.
#[derive(Default)]
struct Spare {
    ticks: AtomicU32,
}

impl Spare {
    fn watch() {
        if let Some(runtime) = RUNTIME.get() {
            let spare: Arc<dyn Source> = Arc::clone(&runtime.spare) as _;
            runtime.shared.tick(Arc::downgrade(&spare));
        }
    }
}

impl Source for Spare {
    fn readable(&self) {}

    fn tick(&self) -> bool {
        let ticks = self.ticks.fetch_add(1, Ordering::Relaxed);
        !ticks.is_multiple_of(SPARE_FOR) || !spare::forget()
    }

    fn broken(&self) {}
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.poller.remove(&self.fd);
        lock(&self.shared.sources).take(self.token);
    }
}

/// Tell sources that they are readable.
async fn listen(shared: Arc<Shared>, ready: sys::Watched) {
    while let Ok(mut guard) = ready.readable().await {
        let visit = |token| {
            let source = lock(&shared.sources).get(token).and_then(Weak::upgrade);
            if let Some(source) = source {
                call(&*source, |source| source.readable());
            }
        };
        if !shared.poller.take_ready(visit) {
            guard.clear_ready();
        }
        tokio::task::yield_now().await;
    }
}

/// Tick for those that want it.
async fn tick(shared: Arc<Shared>) {
    loop {
        shared.begin_ticking.notified().await;
        while !lock(&shared.ticking).is_empty() {
            tokio::time::sleep(TICK).await;
            let mut ticking = std::mem::take(&mut *lock(&shared.ticking));
            let wants_more =
                |source: Arc<dyn Source>| call(&*source, |source| source.tick()) == Some(true);
            ticking.retain(|source| source.upgrade().is_some_and(wants_more));
            lock(&shared.ticking).append(&mut ticking);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pipe;
    use std::sync::mpsc::{Sender, channel};

    #[derive(Debug, PartialEq)]
    enum Said {
        Read,
        Ticked,
        Broken,
    }

    struct Listener {
        panics: bool,
        says: Mutex<Sender<Said>>,
    }

    impl Listener {
        fn say(&self, what: Said) {
            lock(&self.says).send(what).unwrap();
            assert!(!self.panics, "a bug");
        }
    }

    impl Source for Listener {
        fn readable(&self) {
            self.say(Said::Read);
        }

        fn tick(&self) -> bool {
            self.say(Said::Ticked);
            false
        }

        fn broken(&self) {
            lock(&self.says).send(Said::Broken).unwrap();
        }
    }

    #[test]
    fn a_bug_in_one_source_ends_that_one_alone() {
        let runtime = get().unwrap();
        for (panics, heard) in [(true, &[Said::Broken][..]), (false, &[])] {
            let (says, said) = channel();
            let source = Arc::new(Listener { panics, says: Mutex::new(says) });
            let (reading, writing) = pipe::from_server().unwrap();
            let weak: Weak<dyn Source> = Arc::downgrade(&(Arc::clone(&source) as _));
            let mut registration = runtime.register(Arc::new(reading), weak).unwrap();
            for what in [Said::Read, Said::Ticked] {
                match what {
                    Said::Read => {
                        registration.arm();
                        nix::unistd::write(&writing, b"x").unwrap();
                    }
                    _ => registration.tick(),
                }
                let next = || said.recv_timeout(Duration::from_secs(20)).unwrap();
                assert_eq!(next(), what);
                heard.iter().for_each(|wanted| assert_eq!(next(), *wanted));
            }
        }
    }
}
