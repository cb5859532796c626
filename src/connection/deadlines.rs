//! When open calls must end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::session::CallId;

/// The deadlines of calls, of which some may have ended long ago.
#[derive(Default)]
pub struct Deadlines(BinaryHeap<Reverse<(Instant, CallId)>>);

impl Deadlines {
    /// Add one. Whether it is now the first.
    pub fn add(&mut self, at: Instant, call: CallId) -> bool {
        let first = self.next().is_none_or(|first| at < first);
        self.0.push(Reverse((at, call)));
        first
    }

    /// The first one.
    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Take one that has passed.
    pub fn take(&mut self, now: Instant) -> Option<CallId> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse((_, call))| call)
    }

    /// Forget those of ended calls once they are most of all.
    pub fn tidy(&mut self, open: usize, is_open: impl Fn(CallId) -> bool) {
        if self.0.len() > 2 * open + 64 {
            self.0.retain(|Reverse((_, call))| is_open(*call));
        }
    }
}
