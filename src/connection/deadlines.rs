//! When open calls must end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::session::CallId;

/// The deadlines of calls, of which some may have ended long ago.
#[derive(Default)]
pub struct Deadlines {
    calls: BinaryHeap<Reverse<(Instant, CallId)>>,
    /// When whoever keeps them looks again, if not before.
    next_look: Option<Instant>,
    /// When whoever looked late gave time to who reads, for deadlines before that.
    grace: Option<Instant>,
}

/// Who looks so late did not run when it should have, and others neither: an answer may
/// have come in time, and not have been read.
pub const LATE: Duration = Duration::from_millis(10);

/// Then whoever reads has so much time to do so.
pub const GRACE: Duration = Duration::from_millis(50);

impl Deadlines {
    /// Add one. Whether whoever keeps them has to be told, to look in time.
    pub fn add(&mut self, at: Instant, call: CallId) -> bool {
        self.calls.push(Reverse((at, call)));
        let is_in_time = self.next_look.is_some_and(|look| look <= at);
        if !is_in_time {
            self.next_look = Some(at);
        }
        !is_in_time
    }

    /// When to look again: at the first one, or when the time is over that is left to
    /// whoever reads.
    pub fn next_look(&mut self) -> Option<Instant> {
        self.next_look = self.grace.map(|given| given + GRACE).or(self.first());
        self.next_look
    }

    /// Whether some of open calls have passed. Who looks late gives whoever `reads` time
    /// first, once.
    pub fn are_over(
        &mut self,
        now: Instant,
        reads: bool,
        is_open: impl Fn(CallId) -> bool,
    ) -> bool {
        while self.calls.peek().is_some_and(|Reverse((_, call))| !is_open(*call)) {
            self.calls.pop();
        }
        let Some(first) = self.first().filter(|first| *first <= now) else {
            self.grace = None;
            return false;
        };
        if !reads || now - first <= LATE {
            self.grace = None;
            return true;
        }
        match self.grace {
            Some(given) if first <= given => given + GRACE <= now,
            _ => {
                self.grace = Some(now);
                false
            }
        }
    }

    fn first(&self) -> Option<Instant> {
        self.calls.peek().map(|Reverse((at, _))| *at)
    }

    /// Take one that has passed.
    pub fn take(&mut self, now: Instant) -> Option<CallId> {
        if self.first().is_none_or(|at| at > now) {
            self.grace = None;
            return None;
        }
        self.calls.pop().map(|Reverse((_, call))| call)
    }

    /// Forget those of ended calls once they are most of all.
    pub fn tidy(&mut self, open: usize, is_open: impl Fn(CallId) -> bool) {
        if self.calls.len() > 2 * open + 64 {
            self.calls.retain(|Reverse((_, call))| is_open(*call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_keeps_them_is_told_of_those_that_it_would_miss() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let call = |id| CallId::new(id).unwrap();
        let mut deadlines = Deadlines::default();
        assert!(deadlines.add(after(5), call(1)));
        assert!(!deadlines.add(after(6), call(2)), "told already");
        assert_eq!(deadlines.next_look(), Some(after(5)));
        assert!(deadlines.add(after(4), call(3)));
        assert_eq!(deadlines.next_look(), Some(after(4)));

        // A look for nothing costs less than to be told of each one.
        deadlines.calls.clear();
        assert!(!deadlines.add(after(7), call(4)));
        assert_eq!(deadlines.take(after(6)), None);
        assert_eq!(deadlines.next_look(), Some(after(7)));
        assert_eq!(deadlines.take(after(7)), Some(call(4)));
        assert_eq!(deadlines.next_look(), None);
        assert!(deadlines.add(after(9), call(5)));
    }

    #[test]
    fn who_looks_late_gives_others_time_to_read_once() {
        let begin = Instant::now();
        let [ended, call] = [1, 2].map(|id| CallId::new(id).unwrap());
        let mut deadlines = Deadlines::default();
        let are_over =
            |deadlines: &mut Deadlines, at, reads| deadlines.are_over(at, reads, |id| id != ended);
        assert!(!are_over(&mut deadlines, begin, true));
        let late = begin + Duration::from_secs(1);
        for (at, reads) in [(begin, true), (begin + LATE, true), (late, false)] {
            deadlines.add(begin - Duration::from_secs(1), ended);
            deadlines.add(begin, call);
            assert!(are_over(&mut deadlines, at, reads));
            assert_eq!(deadlines.take(at), Some(call));
            assert_eq!(deadlines.take(at), None);
        }
        for _ in 0..2 {
            deadlines.add(begin, call);
            assert!(!are_over(&mut deadlines, late, true) && !are_over(&mut deadlines, late, true));
            assert_eq!(deadlines.next_look(), Some(late + GRACE));
            assert!(are_over(&mut deadlines, late + GRACE, true));
            assert_eq!(deadlines.take(late + GRACE), Some(call));
            assert_eq!(deadlines.take(late + GRACE), None);
            assert_eq!(deadlines.next_look(), None);
        }
    }

    /// The one before may have been answered in that time.
    #[test]
    fn who_looks_late_again_gives_time_again() {
        let begin = Instant::now();
        let [first, second] = [1, 2].map(|id| CallId::new(id).unwrap());
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        deadlines.add(begin, first);
        assert!(!deadlines.are_over(after(1), true, |_| true));
        deadlines.add(after(2), second);
        assert!(!deadlines.are_over(after(3), true, |id| id != first));
        assert!(deadlines.are_over(after(3) + GRACE, true, |id| id != first));
    }
}
