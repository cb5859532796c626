//! The system calls of the guard, each safe for any argument its types allow.

use core::ptr;

use crate::arch::{number, syscall};

/// An errno.
pub type Errno = i32;

pub const EPERM: Errno = 1;
pub const ENOENT: Errno = 2;
pub const ESRCH: Errno = 3;
pub const EINTR: Errno = 4;
pub const ECHILD: Errno = 10;
pub const EACCES: Errno = 13;
pub const ENODEV: Errno = 19;
pub const ENOTDIR: Errno = 20;
pub const ETIMEDOUT: Errno = 110;
pub const ESTALE: Errno = 116;

pub const SIGKILL: i32 = 9;
pub const SIGTERM: i32 = 15;
pub const SIGCHLD: i32 = 17;
pub const SIGCONT: i32 = 18;
pub const SIGSTOP: i32 = 19;

pub const MILLISECOND: i64 = 1_000_000;

const O_CLOEXEC: usize = 0o2000000;
const O_NONBLOCK: usize = 0o4000;
const AT_FDCWD: usize = -100isize as usize;
const AT_REMOVEDIR: usize = 0x200;
const MSG_DONTWAIT: usize = 0x40;
const MSG_NOSIGNAL: usize = 0x4000;

fn check(result: isize) -> Result<usize, Errno> {
    if result < 0 {
        Err(-result as Errno)
    } else {
        Ok(result as usize)
    }
}

macro_rules! call {
    ($n:ident $(, $a:expr)*) => {{
        let given = [$($a as usize),*];
        let mut all = [0usize; 6];
        all[..given.len()].copy_from_slice(&given);
        check(syscall(number::$n, all))
    }};
}

/// A NUL-terminated string of this process's argument block.
#[derive(Clone, Copy)]
pub struct Text(*const u8);

impl Text {
    pub fn is_empty(self) -> bool {
        self.byte(0) == 0
    }

    /// The byte at `index`, which is at most the length.
    fn byte(self, index: usize) -> u8 {
        // SAFETY: the kernel made the string and its NUL, and it lives as long
        // as the process; every caller stops at the NUL.
        unsafe { *self.0.add(index) }
    }

    /// The decimal number that it is.
    pub fn number(self) -> i64 {
        let mut value = 0i64;
        let mut index = 0;
        while self.byte(index).is_ascii_digit() {
            let digit = i64::from(self.byte(index) - b'0');
            value = value.saturating_mul(10).saturating_add(digit);
            index += 1;
        }
        value
    }

    /// Remove the file of this name, and the folder that it is in.
    pub fn remove_with_folder(self) {
        let mut slash = None;
        let mut index = 0;
        while self.byte(index) != 0 {
            if self.byte(index) == b'/' {
                slash = Some(index);
            }
            index += 1;
        }
        // SAFETY: both calls read the string up to a NUL. The NUL that replaces
        // the last slash lies inside it, on our own writable stack pages.
        unsafe {
            let _ = call!(UNLINKAT, AT_FDCWD, self.0, 0);
            if let Some(slash) = slash {
                *self.0.cast_mut().add(slash) = 0;
                let _ = call!(UNLINKAT, AT_FDCWD, self.0, AT_REMOVEDIR);
            }
        }
    }
}

/// A NULL-terminated vector of [`Text`] in the argument block.
#[derive(Clone, Copy)]
pub struct Vector(*const *const u8);

impl Vector {
    /// What the kernel left at `stack`: argc, argv and envp.
    ///
    /// # Safety
    ///
    /// `stack` is the stack pointer that the process was entered with.
    pub unsafe fn arguments(stack: *const usize) -> (usize, Vector, Vector) {
        // SAFETY: the layout is the kernel's promise.
        unsafe {
            let count = *stack;
            let argv = stack.add(1).cast::<*const u8>();
            (count, Vector(argv), Vector(argv.add(count + 1)))
        }
    }

    /// The string at `index`, which is below the length.
    pub fn at(self, index: usize) -> Text {
        // SAFETY: within the vector, by the caller's count.
        unsafe { Text(*self.0.add(index)) }
    }

    /// What is left behind the first `count`.
    pub fn skip(self, count: usize) -> Vector {
        // SAFETY: within the vector or at its NULL, by the caller's count.
        unsafe { Vector(self.0.add(count)) }
    }
}

pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { syscall(number::EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

pub fn getpid() -> i32 {
    // SAFETY: no memory.
    unsafe { call!(GETPID) }.unwrap_or(0) as i32
}

pub fn getppid() -> i32 {
    // SAFETY: no memory.
    unsafe { call!(GETPPID) }.unwrap_or(0) as i32
}

pub fn getpgid(pid: i32) -> Result<i32, Errno> {
    // SAFETY: no memory.
    unsafe { call!(GETPGID, pid) }.map(|group| group as i32)
}

pub fn setsid() {
    // SAFETY: no memory. Fails only for a group leader, which a fresh process
    // is not.
    let _ = unsafe { call!(SETSID) };
}

pub fn become_subreaper() -> Result<(), Errno> {
    const PR_SET_CHILD_SUBREAPER: usize = 36;
    // SAFETY: no memory.
    unsafe { call!(PRCTL, PR_SET_CHILD_SUBREAPER, 1) }.map(drop)
}

pub fn die_with_parent() {
    const PR_SET_PDEATHSIG: usize = 1;
    // SAFETY: no memory. Cannot fail for a valid signal.
    let _ = unsafe { call!(PRCTL, PR_SET_PDEATHSIG, SIGKILL) };
}

pub fn set_name(name: &'static core::ffi::CStr) {
    const PR_SET_NAME: usize = 15;
    // SAFETY: reads up to the NUL. Cosmetic, so its failure is nobody's.
    let _ = unsafe { call!(PRCTL, PR_SET_NAME, name.as_ptr()) };
}

/// Block every signal that can be blocked.
pub fn block_signals() {
    set_mask(u64::MAX);
}

/// Let every signal through.
pub fn unblock_signals() {
    set_mask(0);
}

fn set_mask(mask: u64) {
    const SIG_SETMASK: usize = 2;
    // SAFETY: reads eight bytes, the size of the kernel's set.
    let _ = unsafe { call!(RT_SIGPROCMASK, SIG_SETMASK, &raw const mask, 0, 8) };
}

/// Give every signal its default disposition. An ignored one outlives exec.
pub fn default_dispositions() {
    // The kernel's sigaction: handler SIG_DFL, no flags, no restorer, no mask.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: reads the kernel's 32 bytes. SIGKILL and SIGSTOP fail, and
        // are what we want anyway.
        let _ = unsafe { call!(RT_SIGACTION, signal, default.as_ptr(), 0, 8) };
    }
}

/// A descriptor that is readable when SIGCHLD is pending.
pub fn child_signals() -> Result<i32, Errno> {
    let mask = 1u64 << (SIGCHLD - 1);
    // SAFETY: reads eight bytes. SFD_* are O_*.
    unsafe {
        call!(
            SIGNALFD4,
            -1isize,
            &raw const mask,
            8,
            O_CLOEXEC | O_NONBLOCK
        )
    }
    .map(|fd| fd as i32)
}

pub fn close(fd: i32) {
    // SAFETY: the guard keeps no descriptor that it does not know of.
    let _ = unsafe { call!(CLOSE, fd) };
}

/// Close every descriptor from `first` on.
pub fn close_from(first: i32) {
    // SAFETY: as for `close`.
    if unsafe { call!(CLOSE_RANGE, first, u32::MAX, 0) }.is_err() {
        for fd in first..4096 {
            close(fd);
        }
    }
}

/// Make `to` a close-on-exec copy of `from`, which is another number.
pub fn dup_cloexec(from: i32, to: i32) -> Result<(), Errno> {
    // SAFETY: no memory.
    unsafe { call!(DUP3, from, to, O_CLOEXEC) }.map(drop)
}

/// A close-on-exec pipe: the reading and the writing end.
pub fn pipe() -> Result<(i32, i32), Errno> {
    let mut ends = [0i32; 2];
    // SAFETY: writes two ints. Only the guard reads, and only after poll.
    unsafe { call!(PIPE2, ends.as_mut_ptr(), O_CLOEXEC) }?;
    Ok((ends[0], ends[1]))
}

/// Open for reading.
pub fn open(path: &[u8]) -> Result<i32, Errno> {
    if path.last() != Some(&0) {
        return Err(ENOENT);
    }
    // SAFETY: reads up to the NUL that is there.
    unsafe { call!(OPENAT, AT_FDCWD, path.as_ptr(), O_CLOEXEC) }.map(|fd| fd as i32)
}

pub fn read(fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: writes at most the buffer's length.
        match unsafe { call!(READ, fd, buffer.as_mut_ptr(), buffer.len()) } {
            Err(EINTR) => {}
            done => return done,
        }
    }
}

pub fn write(fd: i32, bytes: &[u8]) {
    // SAFETY: reads the slice. The reader's absence is no concern of ours.
    let _ = unsafe { call!(WRITE, fd, bytes.as_ptr(), bytes.len()) };
}

/// Entries of a folder, as linux_dirent64.
pub fn entries(fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: writes at most the buffer's length.
    unsafe { call!(GETDENTS64, fd, buffer.as_mut_ptr(), buffer.len()) }
}

/// Where the symbolic link at `path` points.
pub fn read_link<'b>(
    path: &'static core::ffi::CStr,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    // SAFETY: reads up to the NUL, writes at most the buffer's length.
    let n = unsafe {
        call!(
            READLINKAT,
            AT_FDCWD,
            path.as_ptr(),
            buffer.as_mut_ptr(),
            buffer.len()
        )
    }?;
    Ok(&buffer[..n.min(buffer.len())])
}

pub fn chdir(path: Text) -> Result<(), Errno> {
    // SAFETY: reads up to the NUL.
    unsafe { call!(CHDIR, path.0) }.map(drop)
}

pub fn chdir_root() {
    // SAFETY: reads up to the NUL.
    let _ = unsafe { call!(CHDIR, c"/".as_ptr()) };
}

/// Only returns when it fails.
pub fn execve(path: Text, argv: Vector, envp: Vector) -> Errno {
    // SAFETY: reads what the kernel made for us.
    match unsafe { call!(EXECVE, path.0, argv.0, envp.0) } {
        Err(errno) => errno,
        Ok(_) => 0,
    }
}

/// A plain fork: this process is a few pages.
pub fn fork() -> Result<i32, Errno> {
    // SAFETY: without CLONE_VM the child has a copy of everything.
    unsafe { call!(CLONE, SIGCHLD) }.map(|pid| pid as i32)
}

/// Send without waiting and without SIGPIPE.
pub fn send(fd: i32, bytes: &[u8]) {
    // SAFETY: reads the slice. A host that is gone hears nothing.
    let _ = unsafe {
        call!(
            SENDTO,
            fd,
            bytes.as_ptr(),
            bytes.len(),
            MSG_DONTWAIT | MSG_NOSIGNAL,
            0,
            0
        )
    };
}

/// Send `bytes`, and `passed` along with them.
pub fn send_with(fd: i32, bytes: &[u8], passed: i32) {
    const SOL_SOCKET: i32 = 1;
    const SCM_RIGHTS: i32 = 1;
    /// cmsghdr, one descriptor, padding.
    #[repr(C)]
    struct Rights {
        len: usize,
        level: i32,
        kind: i32,
        fd: i32,
        padding: i32,
    }
    #[repr(C)]
    struct Slice {
        base: *const u8,
        len: usize,
    }
    #[repr(C)]
    struct Header {
        name: usize,
        name_len: usize,
        slices: *const Slice,
        slice_count: usize,
        control: *const Rights,
        control_len: usize,
        flags: usize,
    }
    let rights = Rights {
        len: 20,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        fd: passed,
        padding: 0,
    };
    let slice = Slice {
        base: bytes.as_ptr(),
        len: bytes.len(),
    };
    let header = Header {
        name: 0,
        name_len: 0,
        slices: &raw const slice,
        slice_count: 1,
        control: &raw const rights,
        control_len: size_of::<Rights>(),
        flags: 0,
    };
    // SAFETY: the structures have the kernel's 64-bit layout and live here.
    let sent = unsafe { call!(SENDMSG, fd, &raw const header, MSG_DONTWAIT | MSG_NOSIGNAL) };
    if sent.is_err() {
        send(fd, bytes);
    }
}

/// Receive without waiting; `Ok(0)` is the end.
pub fn receive(fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: writes at most the buffer's length.
    unsafe {
        call!(
            RECVFROM,
            fd,
            buffer.as_mut_ptr(),
            buffer.len(),
            MSG_DONTWAIT,
            0,
            0
        )
    }
}

#[repr(C)]
pub struct PollFd {
    pub fd: i32,
    pub events: i16,
    pub ready: i16,
}

/// Sleep until one is ready, or for `nanos`; for ever without.
pub fn poll(set: &mut [PollFd], nanos: Option<i64>) {
    let time = nanos.map(|nanos| [nanos.max(0) / 1_000_000_000, nanos.max(0) % 1_000_000_000]);
    let time = time.as_ref().map_or(ptr::null(), |time| time.as_ptr());
    // SAFETY: the set and the time live here. No mask is given: signals stay
    // blocked.
    let ready = unsafe { call!(PPOLL, set.as_mut_ptr(), set.len(), time, 0, 8) };
    if ready.is_err() {
        for entry in set {
            entry.ready = 0;
        }
    }
}

/// Nanoseconds of the monotonic clock.
pub fn now() -> i64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0i64; 2];
    // SAFETY: writes two words.
    let _ = unsafe { call!(CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr()) };
    time[0] * 1_000_000_000 + time[1]
}

pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: no memory. That the number is still whom we mean is the caller's
    // to know: it names an unreaped child of ours, or its group.
    unsafe { call!(KILL, pid, signal) }.map(drop)
}

pub fn pidfd_open(pid: i32) -> Result<i32, Errno> {
    // SAFETY: no memory.
    unsafe { call!(PIDFD_OPEN, pid, 0) }.map(|fd| fd as i32)
}

pub fn pidfd_kill(pidfd: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: no siginfo is given.
    unsafe { call!(PIDFD_SEND_SIGNAL, pidfd, signal, 0, 0) }.map(drop)
}

/// How a child ended.
#[derive(Clone, Copy)]
pub enum End {
    Code(i32),
    Signal(i32),
}

const WNOHANG: usize = 1;
const WEXITED: usize = 4;
const WNOWAIT: usize = 0x0100_0000;
const WALL: usize = 0x4000_0000;

/// A child that has ended, without reaping it.
pub fn peek_any() -> Option<(i32, End)> {
    const P_ALL: usize = 0;
    const CLD_EXITED: i32 = 1;
    // siginfo_t is 128 bytes: code at 8, pid at 16, status at 24.
    let mut info = [0i32; 32];
    let flags = WEXITED | WNOHANG | WNOWAIT | WALL;
    // SAFETY: writes one siginfo_t; no rusage is asked for.
    unsafe { call!(WAITID, P_ALL, 0, info.as_mut_ptr(), flags, 0) }.ok()?;
    let end = if info[2] == CLD_EXITED {
        End::Code(info[6])
    } else {
        End::Signal(info[6])
    };
    (info[4] != 0).then_some((info[4], end))
}

/// Whether our child `pid` still runs; `None` when it is no child of ours.
pub fn runs(pid: i32) -> Option<bool> {
    const P_PID: usize = 1;
    let mut info = [0i32; 32];
    let flags = WEXITED | WNOHANG | WNOWAIT | WALL;
    // SAFETY: as above.
    unsafe { call!(WAITID, P_PID, pid, info.as_mut_ptr(), flags, 0) }.ok()?;
    Some(info[4] == 0)
}

/// The number that the kernel gives to a new process now.
pub fn newest_pid() -> Result<i32, Errno> {
    // SAFETY: as `fork`. Its end sends no signal.
    match unsafe { call!(CLONE, 0) }? as i32 {
        0 => exit(0),
        pid => {
            reap_slowly(pid);
            Ok(pid)
        }
    }
}

/// Reap `pid`, or any child with -1, if it has ended.
pub fn reap(pid: i32) -> Result<Option<(i32, End)>, Errno> {
    wait(pid, WNOHANG)
}

/// Wait for our child `pid` and reap it.
pub fn reap_slowly(pid: i32) {
    let _ = wait(pid, 0);
}

fn wait(pid: i32, flags: usize) -> Result<Option<(i32, End)>, Errno> {
    let mut status = 0i32;
    // SAFETY: writes one int; no rusage is asked for.
    let pid = unsafe { call!(WAIT4, pid, &raw mut status, flags | WALL, 0) }? as i32;
    let end = match status & 0x7f {
        0 => End::Code((status >> 8) & 0xff),
        signal => End::Signal(signal),
    };
    Ok((pid != 0).then_some((pid, end)))
}
