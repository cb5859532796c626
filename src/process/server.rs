//! A launched server, seen through its guard's control socket.

use std::ffi::CString;
use std::fmt;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use super::reaper::Adopted;
use super::report::{Label, Word};
use super::sweep::Sweep;
use super::{Report, Teardown};
use crate::error::Error;
use crate::sys::io::Woken;
use crate::sys::wire::{self, Words};
use crate::sys::{self, Fd, channel};

/// A server under its guard. Its descriptor is readable when
/// [`next_report`](Self::next_report) has something to say, and for ever after
/// the last report. Dropping it makes the guard tear down by itself, with the
/// graces.
pub struct Server {
    control: Arc<Fd>,
    label: Label,
    /// Of the server; comes with [`Report::Started`].
    process: Option<Fd>,
    /// The guard, if it is ours to reap.
    guard: Option<Adopted>,
    /// The last report was given.
    ended: bool,
    sweep: Sweep,
}

impl Server {
    pub(super) fn new(label: Label, marker: CString, control: Fd) -> Self {
        Self {
            control: Arc::new(control),
            label,
            process: None,
            guard: None,
            ended: false,
            sweep: Sweep::new(marker),
        }
    }

    /// The descriptor that is readable when there is a report.
    pub fn descriptor(&self) -> Arc<Fd> {
        Arc::clone(&self.control)
    }

    /// What the guard has to say; `None` when that is nothing now, or when the
    /// last report was given. Never waits.
    pub fn next_report(&mut self) -> Option<Report> {
        if self.ended {
            return None;
        }
        let report = self.receive()?;
        if matches!(report, Report::Failed(_) | Report::Gone(_) | Report::Lost) {
            self.ended = true;
        }
        Some(report)
    }

    /// Whether the server itself has ended, as far as can be known before the
    /// guard says how.
    pub fn has_exited(&self) -> bool {
        self.process.as_ref().is_some_and(|process| {
            let now = Some(Instant::now());
            matches!(sys::io::wait_readable([Some(process.as_fd())], now), Ok(Woken::Ready(_)))
        })
    }

    /// Begin a teardown with the graces given at launch. Close stdin, too, and
    /// go on reading stdout.
    pub fn close(&mut self) {
        channel::send(&self.control, &[wire::CLOSE]);
    }

    /// SIGKILL everything now; also during a teardown.
    pub fn kill(&mut self) {
        channel::send(&self.control, &[wire::KILL]);
    }

    /// After the last report: the guard, if its zombie will be this process's.
    /// Dropping the server waits a moment for one that was not taken.
    pub fn take_guard(&mut self) -> Option<Adopted> {
        self.guard.take()
    }

    /// After [`Report::Lost`]: kill the server, then everything that carries
    /// its marker. One scan of /proc; to be called about every 10 ms, until it
    /// answers or the caller's patience ends.
    pub fn sweep(&mut self) -> Option<Teardown> {
        self.sweep.step(self.process.as_ref())
    }

    /// What there is to say of a sweep that may not go on.
    pub fn swept_so_far(&self) -> Teardown {
        self.sweep.so_far()
    }

    /// That the guard could not be executed. Takes nothing that a running
    /// guard has said: that is for the caller.
    pub(super) fn early_failure(&mut self) -> Option<Error> {
        loop {
            let mut message = [0u8; size_of::<Words>()];
            let length = channel::peek(&self.control, &mut message);
            if !Word::is_early(&message[..length]) {
                return None;
            }
            match self.receive_one()? {
                Word::Guard(pid) => self.guard = Adopted::new(pid),
                Word::Report(Report::Failed(error)) => {
                    self.ended = true;
                    return Some(error);
                }
                Word::Report(_) => return None,
            }
        }
    }

    fn receive(&mut self) -> Option<Report> {
        loop {
            match self.receive_one()? {
                Word::Report(report) => return Some(report),
                Word::Guard(pid) => self.guard = Adopted::new(pid),
            }
        }
    }

    fn receive_one(&mut self) -> Option<Word> {
        let mut message = [0u8; size_of::<Words>()];
        loop {
            match channel::receive(&self.control, &mut message) {
                Ok((0, _)) => return Some(Word::Report(Report::Lost)),
                Ok((length, passed)) => {
                    self.process = passed.or(self.process.take());
                    let word = Word::decode(&message[..length], &self.label);
                    if word.is_some() {
                        return word;
                    }
                }
                // The guard ended with a request of ours unread. What it said
                // before is still there, behind this error, which comes once.
                Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => return Some(Word::Report(Report::Lost)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A guard that has said its last word is about to end. Any other one
        // has a teardown before it, and is reaped when that is over.
        if let Some(guard) = self.guard.as_ref().filter(|_| self.ended) {
            guard.wait();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("control", &self.control)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

impl AsRawFd for Server {
    fn as_raw_fd(&self) -> RawFd {
        self.control.as_raw_fd()
    }
}
