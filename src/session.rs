//! Which calls are open. An id is pending at most once and never used again,
//! and each call ends exactly once.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;

/// The id of a call: 1, 2, 3 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(i64);

impl CallId {
    /// The id that a host or a peer named; `None` when it cannot be one.
    pub fn new(id: i64) -> Option<Self> {
        (id > 0).then_some(Self(id))
    }

    /// As the number on the wire.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// What is kept for each of some calls. Our ids are consecutive numbers that
/// no peer chooses, so a multiplication is hash enough.
pub type IdMap<V> = HashMap<CallId, V, BuildHasherDefault<IdHasher>>;

/// See [`IdMap`].
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_i64(&mut self, id: i64) {
        // The golden ratio spreads neighbours over the high bits, which the
        // map looks at, too.
        self.0 = id.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The open calls, each with what its owner keeps about it.
pub struct Session<C> {
    last: i64,
    /// In the order of their ids. `None` is one that has ended; never the first.
    calls: VecDeque<(CallId, Option<C>)>,
    open: usize,
}

impl<C> Default for Session<C> {
    fn default() -> Self {
        Self { last: 0, calls: VecDeque::new(), open: 0 }
    }
}

impl<C> Session<C> {
    /// The id that the next call will have.
    pub fn upcoming(&self) -> CallId {
        CallId(self.last + 1)
    }

    /// Open a call.
    pub fn begin(&mut self, call: C) -> CallId {
        let id = self.upcoming();
        self.last = id.get();
        self.open += 1;
        // Behind one that stays open for long.
        if self.calls.len() > 2 * self.open + 64 {
            self.calls.retain(|(_, call)| call.is_some());
        }
        self.calls.push_back((id, Some(call)));
        id
    }

    /// The open call `id`.
    pub fn get_mut(&mut self, id: CallId) -> Option<&mut C> {
        let place = self.place(id)?;
        self.calls[place].1.as_mut()
    }

    /// End the call `id`; `None` when it has ended already, or never was.
    pub fn end(&mut self, id: CallId) -> Option<C> {
        // Most peers answer in order.
        let call = match self.calls.front()? {
            (first, _) if *first == id => self.calls.pop_front().and_then(|(_, call)| call),
            _ => self.place(id).and_then(|place| self.calls[place].1.take()),
        }?;
        self.open -= 1;
        while let Some((_, None)) = self.calls.front() {
            self.calls.pop_front();
        }
        Some(call)
    }

    /// End every call, the oldest first.
    pub fn end_all(&mut self) -> Vec<(CallId, C)> {
        self.open = 0;
        let calls = mem::take(&mut self.calls).into_iter();
        calls.filter_map(|(id, call)| Some((id, call?))).collect()
    }

    /// How many calls are open.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether no call is open.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Whether the call `id` is open.
    pub fn contains(&self, id: CallId) -> bool {
        self.place(id).is_some_and(|place| self.calls[place].1.is_some())
    }

    /// Where `id` is, if it is there.
    fn place(&self, id: CallId) -> Option<usize> {
        if id < self.calls.front()?.0 {
            return None;
        }
        // Mostly nothing is missing behind it.
        let behind = usize::try_from(self.last - id.get()).ok()?;
        match self.calls.len().checked_sub(1 + behind) {
            Some(place) if self.calls[place].0 == id => Some(place),
            _ => self.calls.binary_search_by_key(&id, |(id, _)| *id).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Begin(usize),
        End(usize),
        EndAll,
    }

    proptest! {
        #[test]
        fn each_call_ends_once_and_its_id_never_comes_back(
            steps in proptest::collection::vec(prop_oneof![
                5 => Just(Step::Begin(1)), 1 => Just(Step::Begin(100)),
                9 => (0usize..20).prop_map(Step::End), 3 => (0usize..400).prop_map(Step::End),
                1 => Just(Step::EndAll),
            ], 0..200),
        ) {
            let mut session = Session::default();
            let (mut begun, mut ended) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Begin(times) => (0..times).for_each(|_| {
                        begun.push(session.upcoming());
                        let id = *begun.last().unwrap();
                        assert_eq!(session.begin(id), id);
                    }),
                    // Of the latest, of those before them, and some that never were.
                    Step::End(back) => {
                        let Some(id) = CallId::new(begun.len() as i64 + 9 - back as i64) else {
                            continue;
                        };
                        let open = begun.contains(&id) && !ended.contains(&id);
                        prop_assert_eq!(session.contains(id), open);
                        prop_assert_eq!(session.get_mut(id).copied(), open.then_some(id));
                        prop_assert_eq!(session.end(id), open.then_some(id));
                        ended.extend(open.then_some(id));
                    }
                    Step::EndAll => {
                        let all = session.end_all();
                        prop_assert!(all.iter().all(|(id, call)| id == call));
                        prop_assert!(all.is_sorted());
                        ended.extend(all.into_iter().map(|(id, _)| id));
                    }
                }
                prop_assert_eq!(session.len(), begun.len() - ended.len());
                prop_assert_eq!(session.is_empty(), begun.len() == ended.len());
                prop_assert!(!matches!(session.calls.front(), Some((_, None))));
            }
            prop_assert!(begun.iter().enumerate().all(|(n, id)| id.get() == n as i64 + 1));
        }
    }

    #[test]
    fn a_call_that_stays_open_holds_no_others() {
        let mut session = Session::default();
        let first = session.begin(());
        for _ in 0..100_000 {
            let id = session.begin(());
            assert!(session.end(id).is_some() && session.calls.len() < 100);
        }
        assert!(session.end(first).is_some() && session.calls.is_empty());
    }
}
