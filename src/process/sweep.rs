//! When the guard itself was killed: find the server's descendants by the
//! marker in their environment. Best effort: who clears its environment is not
//! found.

use std::ffi::CString;
use std::fs;
use std::io;

use super::{Stage, Teardown};
use crate::sys::{self, Fd, pidfd};

/// How many scans in a row must find nobody: one alone may be overtaken by a
/// process that forks.
const CLEAN: u32 = 2;

/// A sweep in progress.
pub struct Sweep {
    marker: CString,
    clean: u32,
    killed: u32,
    /// Who the last scan met.
    met: u32,
}

/// What one scan found.
#[derive(Default)]
struct Scan {
    killed: u32,
    refused: u32,
}

impl Sweep {
    pub fn new(marker: CString) -> Self {
        Self { marker, clean: 0, killed: 0, met: 0 }
    }

    /// One scan.
    pub fn step(&mut self, server: Option<&Fd>) -> Option<Teardown> {
        if let Some(server) = server {
            // It may have ended, and its pidfd can meet nobody else.
            let _ = pidfd::kill(server);
        }
        let scan = self.scan();
        // A process that SIGKILL has reached keeps its environment for a
        // moment, and is met again: only the most at once is a count.
        self.killed = self.killed.max(scan.killed);
        self.met = scan.killed + scan.refused;
        self.clean = if scan.killed == 0 { self.clean + 1 } else { 0 };
        (self.clean >= CLEAN).then(|| self.so_far())
    }

    /// What there is to say when it may not go on: whom the last scan met is
    /// taken to be left.
    pub fn so_far(&self) -> Teardown {
        Teardown {
            exit: None,
            stage: if self.killed > 0 { Stage::Kill } else { Stage::Exited },
            killed: self.killed,
            left: self.met,
        }
    }

    fn scan(&self) -> Scan {
        let mut scan = Scan::default();
        let own = std::process::id();
        let processes = sys::fill_standard().and_then(|()| fs::read_dir("/proc"));
        let Ok(processes) = processes else { return scan };
        for process in processes {
            let pid = process.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok());
            match pid.filter(|pid| *pid != own).and_then(|pid| self.kill_if_marked(pid)) {
                Some(Ok(())) => scan.killed += 1,
                Some(Err(e)) if e.raw_os_error() == Some(libc::EPERM) => scan.refused += 1,
                _ => {}
            }
        }
        scan
    }

    fn kill_if_marked(&self, pid: u32) -> Option<io::Result<()>> {
        // First look without a descriptor: almost nobody is marked.
        if !self.is_marked(pid) {
            return None;
        }
        let process = pidfd::open(i32::try_from(pid).ok()?).ok()?;
        // Look again: from here on the number cannot change hands unnoticed.
        self.is_marked(pid).then(|| pidfd::kill(&process))
    }

    fn is_marked(&self, pid: u32) -> bool {
        let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        env.split(|byte| *byte == 0).any(|entry| entry == self.marker.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn who_was_met_last_is_left_until_nobody_is() {
        let name = crate::sys::random_name();
        let mut sleeper = Command::new("sleep");
        let child = sleeper.arg("300").env("LEASH_ID", &name).stdin(Stdio::null()).spawn();
        let mut child = child.unwrap();
        let mut sweep = Sweep::new(CString::new(format!("LEASH_ID={name}")).unwrap());
        let patience = Instant::now() + Duration::from_secs(20);
        // In the middle of its exec it has no environment.
        while !sweep.is_marked(child.id()) {
            assert!(Instant::now() < patience);
        }
        assert_eq!(sweep.step(None), None);
        assert_eq!((sweep.so_far().killed, sweep.so_far().left), (1, 1));
        child.wait().unwrap();
        let end = loop {
            assert!(Instant::now() < patience);
            if let Some(end) = sweep.step(None) {
                break end;
            }
        };
        assert_eq!((end.stage, end.killed, end.left), (Stage::Kill, 1, 0));
    }
}
