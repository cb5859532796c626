//! Which calls are open. An id is pending at most once and never used again,
//! and each call ends exactly once.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

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
///
/// Most calls end soon, so the latest ones have a place each, in order. Who stays
/// open for long moves out of their way.
pub struct Session<C> {
    /// `latest[n]` has the id `first + n`; `None` is one that has ended. The
    /// front is never `None`.
    latest: VecDeque<Option<C>>,
    first: i64,
    /// The open ones before `first`.
    old: IdMap<C>,
    open: usize,
}

/// So many of the latest calls have a place each.
const LATEST_MAX: usize = 256;

impl<C> Default for Session<C> {
    fn default() -> Self {
        Self { latest: VecDeque::new(), first: 1, old: IdMap::default(), open: 0 }
    }
}

impl<C> Session<C> {
    /// The id that the next call will have.
    pub fn upcoming(&self) -> CallId {
        CallId(self.first + self.latest.len() as i64)
    }

    /// Open a call.
    pub fn begin(&mut self, call: C) -> CallId {
        let id = self.upcoming();
        if self.latest.len() == LATEST_MAX {
            self.make_old();
        }
        self.latest.push_back(Some(call));
        self.open += 1;
        id
    }

    #[cold]
    fn make_old(&mut self) {
        let id = CallId(self.first);
        if let Some(call) = self.take_first() {
            self.old.insert(id, call);
        }
    }

    /// Take the first of the latest.
    fn take_first(&mut self) -> Option<C> {
        let first = self.latest.pop_front().flatten();
        self.first += 1;
        while let Some(None) = self.latest.front() {
            self.latest.pop_front();
            self.first += 1;
        }
        first
    }

    /// Where `id` is among the latest.
    fn place(&self, id: CallId) -> Option<usize> {
        usize::try_from(id.get() - self.first).ok().filter(|place| *place < self.latest.len())
    }

    /// The open call `id`.
    pub fn get_mut(&mut self, id: CallId) -> Option<&mut C> {
        match self.place(id) {
            Some(place) => self.latest[place].as_mut(),
            None => self.old.get_mut(&id),
        }
    }

    /// End the call `id`; `None` when it has ended already, or never was.
    pub fn end(&mut self, id: CallId) -> Option<C> {
        let call = match self.place(id) {
            Some(0) => self.take_first(),
            Some(place) => self.latest[place].take(),
            None => self.old.remove(&id),
        }?;
        self.open -= 1;
        Some(call)
    }

    /// End every call, the oldest first.
    pub fn end_all(&mut self) -> Vec<(CallId, C)> {
        let mut calls: Vec<_> = self.old.drain().collect();
        calls.sort_unstable_by_key(|(id, _)| *id);
        self.open = 0;
        while !self.latest.is_empty() {
            let id = CallId(self.first);
            calls.extend(self.take_first().map(|call| (id, call)));
        }
        calls
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
        match self.place(id) {
            Some(place) => self.latest[place].is_some(),
            None => self.old.contains_key(&id),
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
                5 => Just(Step::Begin(1)), 1 => Just(Step::Begin(LATEST_MAX - 3)),
                5 => (0usize..800).prop_map(Step::End), 1 => Just(Step::EndAll),
            ], 0..80),
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
                prop_assert_eq!(session.is_empty(), session.len() == 0);
                prop_assert!(session.latest.len() <= LATEST_MAX);
            }
            prop_assert!(begun.iter().enumerate().all(|(n, id)| id.get() == n as i64 + 1));
        }
    }

    #[test]
    fn a_call_that_stays_open_holds_no_others() {
        let mut session = Session::default();
        let first = session.begin(());
        (0..100_000).for_each(|_| {
            let id = session.begin(());
            session.end(id);
        });
        assert!(session.latest.len() <= LATEST_MAX && session.old.len() == 1);
        assert!(session.end(first).is_some() && session.is_empty());
    }
}
