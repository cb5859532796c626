//! Memory that is used again. What comes and goes with each message by its
//! thread, so that a call in the steady state asks the allocator for nothing; and
//! a few large buffers by the whole process.

mod large;

use std::cell::RefCell;
use std::thread::LocalKey;

pub use large::{MIN, forget, large, watch_by};

/// What a thread keeps of one kind of things that come and go with each
/// message.
pub struct Shelf<T>(RefCell<Vec<T>>);

impl<T> Shelf<T> {
    /// As many as are taken in at once.
    const KEPT: usize = 64;

    /// An empty one.
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }
}

/// Take something from the calling thread's `shelf`.
#[inline]
pub fn take<T>(shelf: &'static LocalKey<Shelf<T>>) -> Option<T> {
    shelf.try_with(|shelf| shelf.0.borrow_mut().pop()).ok().flatten()
}

/// Put something onto the calling thread's `shelf`, or drop it.
#[inline]
pub fn put<T>(shelf: &'static LocalKey<Shelf<T>>, thing: T) {
    // A thread that is ending keeps nothing.
    let _ = shelf.try_with(|shelf| {
        let mut things = shelf.0.borrow_mut();
        if things.len() < Shelf::<T>::KEPT {
            things.push(thing);
        }
    });
}

/// Most answers are at most this long. What is kept for a larger one would waste
/// memory in a full queue.
pub const SMALL: usize = 128;

/// Keep `buffer` for another large message, if it is large.
pub fn keep(mut buffer: Vec<u8>) {
    if (large::MIN..=large::MAX).contains(&buffer.capacity()) {
        buffer.clear();
        large::keep(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local!(static SHELF: Shelf<usize> = const { Shelf::new() });

    #[test]
    fn a_shelf_keeps_some() {
        (0..100).for_each(|thing| put(&SHELF, thing));
        let kept: Vec<_> = std::iter::from_fn(|| take(&SHELF)).collect();
        assert_eq!(kept, (0..Shelf::<usize>::KEPT).rev().collect::<Vec<_>>());
    }
}
