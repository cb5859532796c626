//! Which calls are open. An id is pending at most once and never used again,
//! and each call ends exactly once.

use std::collections::HashMap;
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
pub struct Session<C> {
    last: i64,
    pending: IdMap<C>,
}

impl<C> Default for Session<C> {
    fn default() -> Self {
        Self { last: 0, pending: IdMap::default() }
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
        self.pending.insert(id, call);
        id
    }

    /// The open call `id`.
    pub fn get_mut(&mut self, id: CallId) -> Option<&mut C> {
        self.pending.get_mut(&id)
    }

    /// End the call `id`; `None` when it has ended already, or never was.
    pub fn end(&mut self, id: CallId) -> Option<C> {
        self.pending.remove(&id)
    }

    /// End every call, the oldest first.
    pub fn end_all(&mut self) -> Vec<(CallId, C)> {
        let mut calls: Vec<_> = self.pending.drain().collect();
        calls.sort_unstable_by_key(|(id, _)| *id);
        calls
    }

    /// How many calls are open.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether no call is open.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether the call `id` is open.
    pub fn contains(&self, id: CallId) -> bool {
        self.pending.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Begin,
        End(i64),
        EndAll,
    }

    proptest! {
        #[test]
        fn each_call_ends_once_and_its_id_never_comes_back(
            steps in proptest::collection::vec(prop_oneof![
                5 => Just(Step::Begin), 5 => (-1i64..40).prop_map(Step::End), 1 => Just(Step::EndAll),
            ], 0..80),
        ) {
            let mut session = Session::default();
            let (mut begun, mut ended) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Begin => begun.push(session.begin(())),
                    Step::End(id) => {
                        let Some(id) = CallId::new(id) else { continue };
                        let open = begun.contains(&id) && !ended.contains(&id);
                        prop_assert_eq!(session.end(id).is_some(), open);
                        ended.extend(open.then_some(id));
                    }
                    Step::EndAll => ended.extend(session.end_all().into_iter().map(|(id, ())| id)),
                }
                prop_assert_eq!(session.len(), begun.len() - ended.len());
            }
            prop_assert!(begun.iter().enumerate().all(|(n, id)| id.get() == n as i64 + 1));
        }
    }
}
