//! Which calls are open. An id is pending at most once and never used again,
//! and each call ends exactly once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::numbered::Numbered;

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
pub struct Session<C>(Numbered<C>);

impl<C> Default for Session<C> {
    fn default() -> Self {
        Self(Numbered::default())
    }
}

impl<C> Session<C> {
    /// The id that the next call will have.
    pub fn upcoming(&self) -> CallId {
        CallId(self.0.upcoming())
    }

    /// Open a call.
    pub fn begin(&mut self, call: C) -> CallId {
        CallId(self.0.push(call))
    }

    /// The open call `id`.
    pub fn get_mut(&mut self, id: CallId) -> Option<&mut C> {
        self.0.get_mut(id.get())
    }

    /// End the call `id`; `None` when it has ended already, or never was.
    pub fn end(&mut self, id: CallId) -> Option<C> {
        self.0.take(id.get())
    }

    /// End every call, the oldest first.
    pub fn end_all(&mut self) -> Vec<(CallId, C)> {
        self.0.take_all().map(|(id, call)| (CallId(id), call)).collect()
    }

    /// How many calls are open.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no call is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the call `id` is open.
    pub fn contains(&self, id: CallId) -> bool {
        self.0.get(id.get()).is_some()
    }
}
