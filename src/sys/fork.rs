//! Fork: a copy of the host has our memory and descriptors, but no thread.
//!
//! A `pthread_atfork` handler runs in each such copy. It closes what is ours,
//! so that the copy keeps no peer alive, and raises a flag that makes every
//! call answer `LEASH_E_FORKED`. A raw `clone(2)` runs no handlers: that gap
//! is documented.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use once_cell::sync::OnceCell;

/// The kernel's default ceiling of descriptors (`fs.nr_open`). Numbers above
/// it are not closed in forked copies; they are close-on-exec all the same.
const LIMIT: usize = 1 << 20;

/// One bit for each descriptor that is ours. A plain array, because the
/// handler may take no lock and allocate nothing; untouched pages cost nothing.
static OWNED: [AtomicU64; LIMIT / 64] = [const { AtomicU64::new(0) }; LIMIT / 64];

/// The words of `OWNED` from this one on were never used.
static HIGH: AtomicUsize = AtomicUsize::new(0);

static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether this process is a forked copy of one that had used the library.
pub fn is_copy() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Install the handler, once a process. Safe to call again and again; after a
/// failure the next call tries anew.
pub fn watch() -> io::Result<()> {
    static INSTALLED: OnceCell<()> = OnceCell::new();
    let install = || {
        // SAFETY: `in_child` is a plain function that lives as long as the
        // library does, which is never unmapped (-z nodelete).
        match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    };
    INSTALLED.get_or_try_init(install).copied()
}

/// Note as ours the descriptors of whoever watches `watched`: the runtime's
/// own, which it does not tell. An epoll instance that watches a descriptor
/// which nobody else knows can only be the runtime's, and all else that it
/// watches at its beginning, too. Without /proc they stay open in a copy:
/// close-on-exec, and of no use to it.
pub fn own_watchers_of(watched: RawFd) {
    for (fd, targets) in epoll_instances() {
        if targets.contains(&watched) {
            own(fd);
            targets.into_iter().for_each(own);
        }
    }
}

/// Each epoll instance of this process, with what it watches: the `tfd:` lines
/// of proc_pid_fdinfo(5).
fn epoll_instances() -> Vec<(RawFd, Vec<RawFd>)> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fdinfo") else { return Vec::new() };
    let instance = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let fd = entry.file_name().to_str()?.parse().ok()?;
        let text = std::fs::read_to_string(entry.path()).ok()?;
        let target =
            |line: &str| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok();
        let targets: Vec<_> = text.lines().filter_map(target).collect();
        (!targets.is_empty()).then_some((fd, targets))
    };
    entries.filter_map(instance).collect()
}

/// Note that `fd` is ours.
pub(super) fn own(fd: RawFd) {
    if let Some((index, bit)) = place(fd) {
        OWNED[index].fetch_or(bit, Ordering::Relaxed);
        HIGH.fetch_max(index + 1, Ordering::Relaxed);
    }
}

/// Note that `fd` is ours no longer. Whether it was: in a forked copy it has
/// been closed, and the number may be somebody else's.
pub(super) fn disown(fd: RawFd) -> bool {
    match place(fd) {
        Some((index, bit)) => OWNED[index].fetch_and(!bit, Ordering::Relaxed) & bit != 0,
        // Never noted, so never closed.
        None => true,
    }
}

/// Word and bit of `fd`; `None` above the limit.
fn place(fd: RawFd) -> Option<(usize, u64)> {
    let fd = usize::try_from(fd).ok().filter(|fd| *fd < LIMIT)?;
    Some((fd / 64, 1 << (fd % 64)))
}

/// Runs in the copy, on its only thread: no lock, no allocation.
extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
    for (index, word) in OWNED[..HIGH.load(Ordering::Relaxed)].iter().enumerate() {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let fd = index * 64 + bits.trailing_zeros() as usize;
            // SAFETY: `close` reads no memory, and the set bit says that the
            // number is ours; nobody else closes it in this process.
            unsafe { libc::close(fd as RawFd) };
            bits &= bits - 1;
        }
    }
}
