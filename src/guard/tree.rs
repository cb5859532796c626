//! Who descends from the guard, as /proc tells it.
//!
//! /proc lies under churn: a walk may miss a process that forks meanwhile. So
//! nothing here proves that nobody is left; it only finds whom to signal.
//!
//! Without /proc the kernel is asked for each number whether it is a child of
//! ours. That finds no grandchildren, but they become children as their
//! parents end.

use crate::sys;

/// How many descendants one walk sees; the rest is left to the next walk.
const CAPACITY: usize = 8192;

/// How many numbers are asked for at a time, where there is no /proc: some 50 ms.
const TRIES: i32 = 1 << 18;

/// No process has a higher number.
const PID_MAX: i32 = 1 << 22;

/// A process, and whose child it was when the walk met it.
#[derive(Clone, Copy)]
pub struct Member {
    pub pid: i32,
    pub parent: i32,
}

/// How /proc can be used.
#[derive(Clone, Copy, PartialEq)]
enum Proc {
    /// Nobody has looked: at the beginning there are better things to do.
    Unknown,
    /// Not at all: it is not mounted, or shows another PID namespace.
    Useless,
    /// Each thread has a list of its children.
    Children,
    /// This kernel has no such lists: everybody is asked for their parent.
    Parents,
}

/// The descendants, parents before children. Lives in .bss, where pages that
/// are not used cost nothing: what is always used comes first, in one page.
#[repr(C)]
pub struct Tree {
    me: i32,
    proc: Proc,
    count: usize,
    everybody: usize,
    /// The number to ask for next, where there is no /proc.
    next: i32,
    folder: [u8; 1024],
    text: [u8; 1024],
    members: [Member; CAPACITY],
    /// All processes and their parents; only with [`Proc::Parents`].
    all: [Member; CAPACITY],
}

impl Tree {
    /// For `static`s; [`Tree::begin`] before anything else.
    pub const fn new() -> Self {
        Self {
            me: 0,
            proc: Proc::Unknown,
            count: 0,
            everybody: 0,
            next: 0,
            folder: [0; 1024],
            text: [0; 1024],
            members: [Member { pid: 0, parent: 0 }; CAPACITY],
            all: [Member { pid: 0, parent: 0 }; CAPACITY],
        }
    }

    /// The guard is `me`.
    pub fn begin(&mut self, me: i32) {
        self.me = me;
        self.next = me;
    }

    /// Whether /proc could be used for the last walk.
    pub fn has_proc(&self) -> bool {
        !matches!(self.proc, Proc::Unknown | Proc::Useless)
    }

    /// Find out whether /proc is mounted and shows our own PID namespace.
    fn look_for_proc(&mut self) {
        if self.proc != Proc::Unknown {
            return;
        }
        let mut name = [0u8; 16];
        let has_proc =
            sys::read_link(c"/proc/self", &mut name).is_ok_and(|own| parse(own) == self.me);
        self.proc = if !has_proc {
            Proc::Useless
        } else if self.add_thread(self.me, self.me) {
            // The guard has one thread.
            Proc::Children
        } else {
            Proc::Parents
        };
    }

    pub fn members(&self) -> &[Member] {
        self.members.get(..self.count).unwrap_or(&[])
    }

    /// Find the guard's own children, dead ones included.
    pub fn children(&mut self) -> &[Member] {
        self.look_for_proc();
        self.ask_everybody();
        self.count = 0;
        self.add_children(self.me);
        self.members()
    }

    /// Find all descendants.
    pub fn walk(&mut self) {
        self.children();
        let mut next = 0;
        while let Some(member) = self.members().get(next).copied() {
            self.add_children(member.pid);
            next += 1;
        }
    }

    /// The descendants that are not dead, after a walk.
    pub fn count_alive(&mut self) -> i32 {
        let mut alive = 0;
        for index in 0..self.count {
            let pid = self.members.get(index).map_or(0, |member| member.pid);
            alive += i32::from(match self.proc {
                Proc::Unknown | Proc::Useless => sys::runs(pid) == Some(true),
                Proc::Children | Proc::Parents => {
                    status(pid).is_some_and(|status| !status.is_dead())
                }
            });
        }
        alive
    }

    fn add_children(&mut self, pid: i32) {
        match self.proc {
            Proc::Useless if pid == self.me => self.ask_numbers(),
            Proc::Unknown | Proc::Useless => {}
            Proc::Children if pid == self.me => {
                self.add_thread(pid, pid);
            }
            Proc::Children => {
                let mut path = Path::new().number(pid).name(b"/task");
                self.each_number(path.end(), |tree, thread| {
                    tree.add_thread(pid, thread);
                });
            }
            Proc::Parents => {
                for index in 0..self.everybody {
                    if let Some(one) = self.all.get(index).filter(|one| one.parent == pid) {
                        self.add(one.pid, pid);
                    }
                }
            }
        }
    }

    /// Numbers are given in ascending order, and from the beginning when they
    /// have run out: our children's lie between our own and the newest. A long
    /// way takes several goes.
    fn ask_numbers(&mut self) {
        let newest = sys::newest_pid().unwrap_or(self.me);
        for _ in 0..TRIES {
            self.next = if self.next < PID_MAX { self.next + 1 } else { 1 };
            if self.next == newest {
                self.next = self.me;
                return;
            }
            if sys::runs(self.next).is_some() {
                self.add(self.next, self.me);
            }
        }
    }

    fn ask_everybody(&mut self) {
        if self.proc != Proc::Parents {
            return;
        }
        self.everybody = 0;
        self.each_number(b"/proc\0", |tree, pid| {
            let parent = status(pid).map_or(0, |status| status.parent);
            if let Some(place) = tree.all.get_mut(tree.everybody) {
                *place = Member { pid, parent };
                tree.everybody += 1;
            }
        });
    }

    /// For each entry of a folder whose name is a number.
    fn each_number(&mut self, path: &[u8], mut found: impl FnMut(&mut Self, i32)) {
        let Ok(folder) = sys::open(path) else {
            return;
        };
        while let Ok(length @ 1..) = sys::entries(folder, &mut self.folder) {
            let mut at = 0;
            while at < length {
                let Some((number, size)) = self.entry(at) else {
                    break;
                };
                if number != 0 {
                    found(self, number);
                }
                at += size;
            }
        }
        sys::close(folder);
    }

    /// The number that the folder entry at `at` names, or 0, and its size.
    fn entry(&self, at: usize) -> Option<(i32, usize)> {
        // linux_dirent64: inode, offset, u16 size, u8 type, name.
        let size = self.folder.get(at + 16..at + 18)?;
        let size = usize::from(u16::from_ne_bytes([size[0], size[1]]));
        let name = self.folder.get(at + 19..at + size)?;
        Some((parse(name), size))
    }

    /// Add the children that a thread has forked or adopted.
    fn add_thread(&mut self, pid: i32, thread: i32) -> bool {
        let path = Path::new().number(pid).name(b"/task/");
        let Ok(file) = sys::open(path.number(thread).name(b"/children").end()) else {
            return false;
        };
        // Numbers, each followed by a space; one may be cut in two by a read.
        let mut child = 0i32;
        while let Ok(length @ 1..) = sys::read(file, &mut self.text) {
            for index in 0..length.min(self.text.len()) {
                match self.text.get(index) {
                    Some(digit @ b'0'..=b'9') => {
                        child = child.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
                    }
                    _ => {
                        self.add(child, pid);
                        child = 0;
                    }
                }
            }
        }
        self.add(child, pid);
        sys::close(file);
        true
    }

    fn add(&mut self, pid: i32, parent: i32) {
        if pid <= 0 {
            return;
        }
        if let Some(place) = self.members.get_mut(self.count) {
            *place = Member { pid, parent };
            self.count += 1;
        }
    }

    /// Signal the member of the last walk, if it is still our descendant: its
    /// number may have gone to a stranger since. `None`: it is not.
    pub fn signal(&self, member: Member, signals: &[i32]) -> Option<Result<(), sys::Errno>> {
        let pidfd = sys::pidfd_open(member.pid).ok()?;
        // From here on the pidfd names one process. If that is dead when the
        // signal is sent, the check may have met a stranger, and the kernel
        // says ESRCH; if it lives, the check has met itself.
        let mut done = None;
        if self.descends(member) {
            for signal in signals {
                done = Some(sys::pidfd_kill(pidfd, *signal));
            }
        }
        sys::close(pidfd);
        done.filter(|done| *done != Err(sys::ESRCH))
    }

    fn descends(&self, member: Member) -> bool {
        if !self.has_proc() {
            return sys::runs(member.pid).is_some();
        }
        let mut pid = member.pid;
        for _ in 0..CAPACITY {
            let Some(status) = status(pid) else {
                return false;
            };
            if status.parent == self.me || (pid == member.pid && status.parent == member.parent) {
                return true;
            }
            if status.parent <= 1 {
                return false;
            }
            pid = status.parent;
        }
        false
    }
}

/// What /proc/PID/stat says.
pub struct Status {
    state: u8,
    parent: i32,
}

impl Status {
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

/// `None` when there is no such process.
pub fn status(pid: i32) -> Option<Status> {
    let file = sys::open(Path::new().number(pid).name(b"/stat").end()).ok()?;
    let mut text = [0u8; 256];
    let length = sys::read(file, &mut text);
    sys::close(file);
    let text = text.get(..length.ok()?)?;
    // "pid (name) S parent ...", and the name may hold anything, but only the
    // numbers follow it.
    let behind = text.iter().rposition(|byte| *byte == b')')? + 2;
    Some(Status { state: *text.get(behind)?, parent: parse(text.get(behind + 2..)?) })
}

/// The decimal number at the beginning of `text`, or 0.
fn parse(text: &[u8]) -> i32 {
    let mut value = 0i32;
    for byte in text {
        if !byte.is_ascii_digit() {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(i32::from(byte - b'0'));
    }
    value
}

/// A path below /proc, put together on the stack.
struct Path {
    bytes: [u8; 64],
    length: usize,
}

impl Path {
    fn new() -> Self {
        Self { bytes: [0; 64], length: 0 }.name(b"/proc/")
    }

    fn name(mut self, name: &[u8]) -> Self {
        for byte in name {
            self.push(*byte);
        }
        self
    }

    fn number(mut self, number: i32) -> Self {
        let mut unit = 1_000_000_000;
        while unit > 1 && number / unit == 0 {
            unit /= 10;
        }
        while unit > 0 {
            self.push(b'0' + (number / unit % 10) as u8);
            unit /= 10;
        }
        self
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// With its NUL.
    fn end(&mut self) -> &[u8] {
        self.bytes.get(..=self.length).unwrap_or(&[])
    }
}
