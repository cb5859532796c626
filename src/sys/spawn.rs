//! Starting a program that is nobody's child.
//!
//! The host clones a process that clones the program, and ends. Both share the
//! host's memory until they are done (CLONE_VM | CLONE_VFORK), so a large host
//! copies no page tables; both have exit signal 0, so no SIGCHLD is raised and
//! no `wait` of the host's meets them. Between clone and exec there are system
//! calls only. Nothing is told through the shared memory, for an emulator may
//! give the clone a copy: what fails is told through the control socket.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use super::fork;
use super::wire::{self, step};

/// The guard, built by build.rs.
static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guard"));

/// What the guard is started with.
pub struct Plan<'a> {
    /// Its arguments; number [`wire::argument::FILE`] is filled in here.
    pub argv: &'a [&'a CStr],
    /// Its environment.
    pub env: &'a [&'a CStr],
    /// The server's stdin, stdout and stderr.
    pub stdio: [BorrowedFd<'a>; 3],
    /// The guard's end of the control socket.
    pub control: BorrowedFd<'a>,
    /// A pidfd of this process.
    pub host: Option<BorrowedFd<'a>>,
    /// Whether the guard's pid is to be told through the control socket.
    pub announce: bool,
}

/// Start the guard. An error means that nothing was started; whether it could
/// be executed is told through the control socket.
pub fn spawn(plan: &Plan<'_>) -> io::Result<()> {
    let image = image().ok();
    let files = HelperFile::candidates();
    let mut argv = pointers(plan.argv.iter().copied());
    let env = pointers(plan.env.iter().copied());
    let stacks = Stacks::get()?;
    let mut keep = [-1; 6];
    let fds = plan.stdio.iter().chain([&plan.control]).chain(&plan.host);
    for (place, fd) in keep.iter_mut().zip(fds.map(|fd| fd.as_raw_fd())) {
        *place = fd;
    }
    if let Some(image) = image {
        keep[5] = image;
    }
    let mut sorted = keep;
    sorted.sort_unstable();
    let mut launch = Launch {
        argv: argv.as_mut_ptr(),
        env: env.as_ptr(),
        keep,
        sorted,
        files: &files,
        stack: stacks.inner(),
        announce: plan.announce,
    };
    let masked = BlockedSignals::new();
    // SAFETY: `middle` gets the `Launch` that it expects, which lives until it
    // has ended: CLONE_VFORK returns only then, or, where the clone got a copy
    // of our memory, it does not need ours. The stack is its own.
    let pid = unsafe { vfork_like(middle, stacks.outer(), (&raw mut launch).cast()) };
    drop(masked);
    reap_clone(pid?);
    stacks.keep();
    Ok(())
}

/// Everything that runs between clone and exec, prepared before.
struct Launch<'a> {
    argv: *mut *const c_char,
    env: *const *const c_char,
    /// stdin, stdout, stderr, control, host or -1, image or -1.
    keep: [RawFd; 6],
    /// The same in ascending order.
    sorted: [RawFd; 6],
    files: &'a [HelperFile],
    stack: *mut c_void,
    announce: bool,
}

/// The process between the host and the guard.
extern "C" fn middle(launch: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes its `Launch`, and nobody else uses it meanwhile.
    let launch = unsafe { &mut *launch.cast::<Launch<'_>>() };
    // Here already: a host may have thousands, of which the guard's table gets no copy.
    // It has room, too, where their limit is tight.
    close_between(&launch.sorted);
    let stack = launch.stack;
    // SAFETY: as in `spawn`, with a stack that is neither the host's nor ours.
    let cloned = unsafe { vfork_like(guard, stack, (&raw mut *launch).cast()) };
    if let Err(e) = cloned {
        complain(launch.keep[3], step::CLONE, e.raw_os_error().unwrap_or(0));
    }
    exit()
}

/// The process that becomes the guard.
extern "C" fn guard(launch: *mut c_void) -> c_int {
    // SAFETY: `middle` passes on what it got, and waits until we are done.
    let launch = unsafe { &mut *launch.cast::<Launch<'_>>() };
    let Ok([_, _, _, control, _, image]) = place(&launch.keep) else {
        complain(launch.keep[3], step::DESCRIPTORS, libc::EMFILE);
        exit()
    };
    if launch.announce {
        // SAFETY: no memory.
        let pid = unsafe { libc::syscall(libc::SYS_getpid) };
        send(control, [wire::GUARD, pid as i32, 0, 0, 0, 0]);
    }
    let mut errno = libc::ENOEXEC;
    if image >= 0 {
        // SAFETY: NULL-terminated vectors of strings that live in `spawn`.
        errno = unsafe {
            call(libc::syscall(
                libc::SYS_execveat,
                image,
                c"".as_ptr(),
                launch.argv,
                launch.env,
                libc::AT_EMPTY_PATH,
            ))
        };
    }
    // A file would not make these succeed.
    if !matches!(errno, libc::E2BIG | libc::ENOMEM) {
        for file in launch.files {
            file.execute(launch.argv, launch.env);
        }
    }
    complain(control, step::GUARD, errno);
    exit()
}

/// Move the descriptors to where the guard expects them. The result is where
/// each is now.
fn place(keep: &[RawFd; 6]) -> Result<[RawFd; 6], ()> {
    // A host may have 0, 1 and 2 closed, so that ours are among them: first
    // everything goes above all the fixed numbers.
    let above = wire::HOST + 1;
    let mut high = *keep;
    for fd in high.iter_mut().filter(|fd| (0..above).contains(*fd)) {
        // SAFETY: no memory; this process's own table of descriptors.
        let copy = unsafe { libc::syscall(libc::SYS_fcntl, *fd, libc::F_DUPFD_CLOEXEC, above) };
        *fd = RawFd::try_from(copy).ok().filter(|fd| *fd >= 0).ok_or(())?;
    }
    let mut placed = high;
    for (number, from) in (0..).zip(high).take(5) {
        if from >= 0 {
            // SAFETY: as above.
            if unsafe { libc::syscall(libc::SYS_dup3, from, number, 0) } < 0 {
                return Err(());
            }
            placed[number as usize] = number;
        }
    }
    Ok(placed)
}

/// Close every descriptor but these. What stays open where the system call is
/// refused is closed by the guard itself.
fn close_between(sorted: &[RawFd; 6]) {
    let mut first = 0;
    for fd in sorted {
        if *fd > first {
            close_range(first, *fd - 1);
        }
        first = first.max(*fd + 1);
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: no memory; a table of descriptors that only the clone uses.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// The errno of a system call that only returns when it fails.
fn call(result: c_long) -> c_int {
    debug_assert!(result < 0);
    // SAFETY: reads this thread's errno.
    unsafe { *libc::__errno_location() }
}

fn complain(control: RawFd, step: i32, errno: i32) {
    send(control, [wire::FAILED, step, errno, 0, 0, 0]);
}

fn send(control: RawFd, words: wire::Words) {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: reads the words.
    unsafe {
        libc::syscall(
            libc::SYS_sendto,
            control,
            words.as_ptr(),
            size_of_val(&words),
            flags,
            0usize,
            0usize,
        )
    };
}

fn exit() -> ! {
    loop {
        // SAFETY: ends this process, which has one thread and no exit handlers
        // of its own.
        unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    }
}

/// Clone a process that borrows our memory and suspends us until it executes
/// something or ends.
///
/// # Safety
///
/// `run` uses only what `argument` gives it and is async-signal-safe; `stack`
/// is the upper end of one that nobody else uses.
unsafe fn vfork_like(
    run: extern "C" fn(*mut c_void) -> c_int,
    stack: *mut c_void,
    argument: *mut c_void,
) -> io::Result<c_int> {
    // The exit signal, in the lowest byte, is 0.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    // SAFETY: by this function's contract.
    let pid = unsafe { libc::clone(run, stack, flags, argument) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// Reap the process in the middle. It has ended, or is about to. If the host
/// waits for everything that it finds, it may have been faster.
fn reap_clone(pid: c_int) {
    loop {
        // SAFETY: no status is asked for.
        let reaped = unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WCLONE) };
        let interrupted =
            reaped < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        if !interrupted {
            return;
        }
    }
}

/// The guard as a file that has no name. One serves all launches, and stays open: to make
/// it costs a tenth of a launch.
fn image() -> io::Result<RawFd> {
    /// Says that it is meant to be executed; unknown before Linux 6.3.
    const MFD_EXEC: u32 = 0x10;
    static KEPT: Mutex<Option<(RawFd, FileId)>> = Mutex::new(None);
    // Nothing blocks that is done under this lock: the file is memory.
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    // Where the host has closed it, the number may be something else's by now.
    if let Some((fd, id)) = *kept
        && id_of(fd).is_ok_and(|now| now == id)
    {
        return Ok(fd);
    }
    let create = |flags: u32| {
        let flags = flags | libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        let name = c"leash-guard".as_ptr();
        // SAFETY: reads the name up to its NUL.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else knows.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    };
    let file = create(MFD_EXEC).or_else(|_| create(0))?;
    if !write_all(file.as_raw_fd(), IMAGE) {
        return Err(io::Error::last_os_error());
    }
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: no memory. Without seals it is as good, unless the host writes to it.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
    let id = id_of(file.as_raw_fd())?;
    let fd = file.into_raw_fd();
    fork::own(fd);
    *kept = Some((fd, id));
    Ok(fd)
}

/// Device and inode.
type FileId = (u64, u64);

fn id_of(fd: RawFd) -> io::Result<FileId> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: the kernel writes the whole structure, or says that it has not.
    let stat = unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        stat.assume_init()
    };
    Ok((stat.st_dev, stat.st_ino))
}

/// The guard as a file in a private folder, for systems that do not execute
/// files without a name. The guard removes both.
struct HelperFile {
    folder: CString,
    file: CString,
}

impl HelperFile {
    /// Where it may be put, best first.
    fn candidates() -> Vec<Self> {
        use std::os::unix::ffi::OsStringExt;
        let named = ["TMPDIR", "XDG_RUNTIME_DIR"].map(std::env::var_os);
        let fixed = ["/tmp", "/var/tmp", "/dev/shm"].map(|name| Some(name.into()));
        let name = super::random_name();
        let mut candidates = Vec::new();
        for place in named.into_iter().chain(fixed).flatten() {
            let mut folder: Vec<u8> = place.into_vec();
            if folder.first() != Some(&b'/') {
                continue;
            }
            folder.extend_from_slice(b"/libleash-");
            folder.extend_from_slice(name.as_bytes());
            let mut file = folder.clone();
            file.extend_from_slice(b"/guard");
            if let (Ok(folder), Ok(file)) = (CString::new(folder), CString::new(file)) {
                candidates.push(Self { folder, file });
            }
        }
        candidates
    }

    /// Execute it. Returns only when that fails.
    fn execute(&self, argv: *mut *const c_char, env: *const *const c_char) {
        let (folder, file) = (self.folder.as_ptr(), self.file.as_ptr());
        let at = libc::AT_FDCWD;
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC;
        // SAFETY: strings that live in `spawn`, and vectors that it made with
        // room for number FILE. The folder is new, ours and private, so nobody
        // else can have put anything there.
        unsafe {
            if libc::syscall(libc::SYS_mkdirat, at, folder, 0o700) < 0 {
                return;
            }
            let fd = libc::syscall(libc::SYS_openat, at, file, flags, 0o500);
            if fd >= 0 {
                let complete = write_all(fd as RawFd, IMAGE);
                libc::syscall(libc::SYS_fchmod, fd, 0o500);
                // Open for writing it would be "text file busy".
                libc::syscall(libc::SYS_close, fd);
                if complete {
                    *argv.add(wire::argument::FILE) = file;
                    libc::syscall(libc::SYS_execve, file, argv, env);
                }
                libc::syscall(libc::SYS_unlinkat, at, file, 0);
            }
            libc::syscall(libc::SYS_unlinkat, at, folder, libc::AT_REMOVEDIR);
        }
    }
}

fn write_all(fd: RawFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: reads the slice.
        let n = unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) };
        match usize::try_from(n).ok().and_then(|n| bytes.get(n..)) {
            Some(rest) if n > 0 => bytes = rest,
            _ => return false,
        }
    }
    true
}

/// Two stacks with a page below each that nobody can touch.
struct Stacks(*mut c_void);

/// Those of the last launch, or null: to map new ones costs more than to clone twice.
static KEPT_STACKS: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

impl Stacks {
    const SIZE: usize = 64 * 1024;
    const FENCE: usize = 64 * 1024;

    fn get() -> io::Result<Self> {
        let kept = KEPT_STACKS.swap(ptr::null_mut(), Ordering::Acquire);
        if kept.is_null() { Self::new() } else { Ok(Self(kept)) }
    }

    /// Keep them for the next launch. Nobody runs on them any more.
    fn keep(self) {
        let other = KEPT_STACKS.swap(self.0, Ordering::AcqRel);
        std::mem::forget(self);
        if !other.is_null() {
            drop(Self(other));
        }
    }

    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let length = 2 * (Self::SIZE + Self::FENCE);
        // SAFETY: a new mapping, nobody else's.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stacks = Self(base);
        for end in [stacks.outer(), stacks.inner()] {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the SIZE bytes below each end are inside the mapping.
            if unsafe { libc::mprotect(end.byte_sub(Self::SIZE), Self::SIZE, access) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(stacks)
    }

    /// The upper end of the lower one.
    fn outer(&self) -> *mut c_void {
        self.0.wrapping_byte_add(Self::FENCE + Self::SIZE)
    }

    /// The upper end of the upper one.
    fn inner(&self) -> *mut c_void {
        self.0.wrapping_byte_add(2 * (Self::FENCE + Self::SIZE))
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        // SAFETY: our own mapping; whoever used it has ended or left it.
        unsafe { libc::munmap(self.0, 2 * (Self::SIZE + Self::FENCE)) };
    }
}

/// Every signal of this thread is blocked as long as this lives: a handler
/// that ran in the clone would run on the host's memory. libc's own wrapper
/// spares its two internal signals, so this is the system call itself.
struct BlockedSignals(u64);

impl BlockedSignals {
    fn new() -> Self {
        let mut before = 0;
        Self::set(u64::MAX, &mut before);
        Self(before)
    }

    fn set(mask: u64, before: &mut u64) {
        // SAFETY: reads and writes the eight bytes of the kernel's set.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const mask,
                &raw mut *before,
                size_of::<u64>(),
            )
        };
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        Self::set(self.0, &mut 0);
    }
}

/// A NULL-terminated vector for exec.
fn pointers<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    strings.map(CStr::as_ptr).chain([ptr::null()]).collect()
}
