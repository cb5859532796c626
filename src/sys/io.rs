//! Reading, writing and waiting.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What ended a wait for `N` descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken<const N: usize> {
    /// Some can be used, or have ended: these.
    Ready([bool; N]),
    /// The deadline passed.
    Timeout,
    /// A signal handler ran.
    Signal,
}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug)]
pub enum Want<'a> {
    /// Something to read, or the end.
    Read(BorrowedFd<'a>),
    /// Room to write, or that nobody reads any more.
    Write(BorrowedFd<'a>),
}

/// Sleep in poll(2) until one of `fds` is readable (or has ended), `deadline`
/// passes, or a signal handler runs. `None` is no deadline.
pub fn wait_readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    deadline: Option<Instant>,
) -> io::Result<Woken<N>> {
    wait(fds.map(|fd| fd.map(Want::Read)), deadline)
}

/// The same, until one of them can be used for what is wanted.
pub fn wait<const N: usize>(
    wants: [Option<Want<'_>>; N],
    deadline: Option<Instant>,
) -> io::Result<Woken<N>> {
    let mut set = wants.map(|want| {
        let (fd, events) = match want {
            Some(Want::Read(fd)) => (fd.as_raw_fd(), libc::POLLIN),
            Some(Want::Write(fd)) => (fd.as_raw_fd(), libc::POLLOUT),
            // poll(2) passes over negative numbers.
            None => (-1, 0),
        };
        libc::pollfd { fd, events, revents: 0 }
    });
    loop {
        // SAFETY: the set has N entries, and the descriptors are borrowed.
        let found = unsafe { libc::poll(set.as_mut_ptr(), N as libc::nfds_t, until(deadline)) };
        match found {
            0 if deadline.is_some_and(|at| Instant::now() < at) => {}
            0 => return Ok(Woken::Timeout),
            1.. => return Ok(Woken::Ready(set.map(|fd| fd.revents != 0))),
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => return Ok(Woken::Signal),
                e => return Err(e),
            },
        }
    }
}

/// poll(2) counts in whole milliseconds: round up, so that a wait never ends
/// early and never spins.
fn until(deadline: Option<Instant>) -> libc::c_int {
    let Some(deadline) = deadline else { return -1 };
    let left = deadline.saturating_duration_since(Instant::now());
    left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as libc::c_int
}

/// Append what is there to `buffer`, up to its spare capacity. `Ok(0)` is the
/// end of the stream, if there was spare capacity.
pub fn read_append(fd: &impl AsFd, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    loop {
        // Not by read(3p), which is a cancellation point: that costs four atomic
        // operations, and a thread that is cancelled there leaves our frames.
        // SAFETY: the kernel writes at most `spare.len()` bytes into memory
        // that we borrow mutably; it need not be initialised for that.
        let n = unsafe {
            let (to, size) = (spare.as_mut_ptr(), spare.len());
            libc::syscall(libc::SYS_read, argument(fd.as_fd().as_raw_fd()), to, size)
        };
        match usize::try_from(n) {
            Ok(n) => {
                let filled = buffer.len() + n;
                // SAFETY: read(2) initialised the `n` bytes behind the old end,
                // and `n` is at most the spare capacity.
                unsafe { buffer.set_len(filled) };
                return Ok(n);
            }
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
}

/// An argument of syscall(2): the kernel takes whole words.
pub(super) fn argument(value: libc::c_int) -> libc::c_long {
    libc::c_long::from(value)
}

/// Let a pipe hold `size` bytes, if the system lets us: an unprivileged user
/// has few large ones (pipe(7), "Pipe capacity"). Whether it does now.
pub fn set_pipe_size(fd: &impl AsFd, size: usize) -> bool {
    let size = libc::c_int::try_from(size).unwrap_or(libc::c_int::MAX);
    // SAFETY: no memory.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETPIPE_SZ, size) >= 0 }
}

/// Write to a non-blocking pipe without raising SIGPIPE in the host.
pub fn write_quietly(fd: &impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    static NO_FLAG: AtomicBool = AtomicBool::new(false);
    if !NO_FLAG.load(Ordering::Relaxed) {
        match write_nosignal(fd, parts) {
            Err(e) if unknown_flag(&e) => NO_FLAG.store(true, Ordering::Relaxed),
            done => return done,
        }
    }
    write_masked(fd, parts)
}

/// `RWF_NOSIGNAL` of pwritev2(2), Linux 6.18. Costs nothing.
const RWF_NOSIGNAL: libc::c_int = 0x100;

fn write_nosignal(fd: &impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    retry(|| {
        // No cancellation point either, as in `read_append`.
        // SAFETY: `IoSlice` has the layout of `iovec`, and the slices outlive
        // the call. Offset -1 is "the current one", as pipes need; its upper
        // half is not looked at where a word has 64 bits.
        unsafe {
            libc::syscall(
                libc::SYS_pwritev2,
                argument(fd.as_fd().as_raw_fd()),
                parts.as_ptr(),
                parts.len(),
                argument(-1),
                argument(-1),
                argument(RWF_NOSIGNAL),
            ) as libc::ssize_t
        }
    })
}

/// What a kernel says to a flag that it does not know.
fn unknown_flag(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS))
}

/// The same before Linux 6.18, and for anything that is written to: block
/// SIGPIPE around the write, and take the one that the write raised. Costs two
/// system calls, and a third after EPIPE.
pub fn write_masked(fd: &impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let pipe = signal_set(&[libc::SIGPIPE]);
    let mut before = signal_set(&[]);
    // SAFETY: both sets are initialised; only this thread's mask changes.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &pipe, &mut before) };
    let was_pending = is_pending(libc::SIGPIPE);
    let done = retry(|| {
        // SAFETY: as in `write_nosignal`.
        unsafe {
            libc::writev(fd.as_fd().as_raw_fd(), parts.as_ptr().cast(), parts.len() as libc::c_int)
        }
    });
    if matches!(&done, Err(e) if e.raw_os_error() == Some(libc::EPIPE)) && !was_pending {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: takes the SIGPIPE that our write made pending, if any.
        unsafe { libc::sigtimedwait(&pipe, std::ptr::null_mut(), &now) };
    }
    // SAFETY: restores what was read above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    done
}

fn is_pending(signal: libc::c_int) -> bool {
    let mut pending = signal_set(&[]);
    // SAFETY: fills an initialised set, then reads it.
    unsafe { libc::sigpending(&mut pending) == 0 && libc::sigismember(&pending, signal) == 1 }
}

fn signal_set(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: `sigset_t` is plain integers; `sigemptyset` makes it valid.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}

/// Call again as long as a signal handler interrupts it.
pub(super) fn retry(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(n) => return Ok(n),
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
}

/// Run `work` with every signal of this thread blocked, so that the threads
/// and processes it starts inherit that.
pub fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are initialised; only this thread's mask changes, and
    // it is restored below.
    let before = unsafe {
        let mut all = signal_set(&[]);
        libc::sigfillset(&mut all);
        let mut before = signal_set(&[]);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        before
    };
    let result = work();
    // SAFETY: restores what was read above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    result
}

/// The deadline that is `limit` from now; `None` when there is none.
pub fn deadline(limit: Option<Duration>) -> Option<Instant> {
    let limit = limit?;
    // A limit beyond what the clock can count is no limit.
    Instant::now().checked_add(limit)
}
