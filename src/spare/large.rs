//! The first touch of its pages costs more than all that is done with a large
//! message. So the process keeps a few buffers that it has done with, each for as
//! long as there are messages that use it.

use std::mem;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// From here on a buffer is large.
pub const MIN: usize = 1 << 20;

/// All that are kept together are no larger.
pub const MAX: usize = 256 << 20;

/// So many are kept: messages come in a few sizes, and several at a time.
const MOST: usize = 4;

/// The buffers that are not in use.
struct Spare {
    /// In the order in which they were kept.
    buffers: Vec<Kept>,
    is_watched: bool,
}

struct Kept {
    buffer: Vec<u8>,
    /// Whether it was kept since the last look.
    is_fresh: bool,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare::none());

/// Begins to call [`forget`] every now and then, until that has nothing to do.
static WATCHER: OnceLock<fn()> = OnceLock::new();

/// An empty buffer of one of these sizes, if there is one: the smallest.
pub fn large(sizes: RangeInclusive<usize>) -> Option<Vec<u8>> {
    if *sizes.start() < MIN { None } else { locked(|spare| spare.take(sizes)) }
}

/// Keep `buffer` for another message.
pub fn keep(buffer: Vec<u8>) {
    // Nothing is kept that nobody would forget.
    let Some(watch) = WATCHER.get() else { return };
    let wants_watcher = locked(|spare| spare.keep(buffer));
    while let Some(oldest) = locked(Spare::surplus) {
        drop(oldest);
    }
    if wants_watcher {
        watch();
    }
}

/// Who sees to it that what is kept is forgotten.
pub fn watch_by(watcher: fn()) {
    let _ = WATCHER.set(watcher);
}

/// Free what was not kept since the last time. Whether nothing is left.
pub fn forget() -> bool {
    while let Some(stale) = locked(Spare::stale) {
        drop(stale);
    }
    locked(Spare::look)
}

fn locked<T>(work: impl FnOnce(&mut Spare) -> T) -> T {
    work(&mut lock())
}

// Not inlined, to be there once: it is rare.
#[inline(never)]
fn lock() -> MutexGuard<'static, Spare> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

// What these give out is freed by the caller, without the lock.
impl Spare {
    const fn none() -> Self {
        Self { buffers: Vec::new(), is_watched: false }
    }

    /// Keep one more. Whether what is kept must be watched from now on.
    fn keep(&mut self, buffer: Vec<u8>) -> bool {
        self.buffers.push(Kept { buffer, is_fresh: true });
        !mem::replace(&mut self.is_watched, true)
    }

    /// One that there is no room for.
    fn surplus(&mut self) -> Option<Vec<u8>> {
        let size: usize = self.buffers.iter().map(|kept| kept.buffer.capacity()).sum();
        (self.buffers.len() > MOST || size > MAX).then(|| self.buffers.remove(0).buffer)
    }

    fn take(&mut self, sizes: RangeInclusive<usize>) -> Option<Vec<u8>> {
        let capacity = |place: &usize| self.buffers[*place].buffer.capacity();
        let places = 0..self.buffers.len();
        let fitting = places.filter(|place| sizes.contains(&capacity(place)));
        let place = fitting.min_by_key(capacity)?;
        Some(self.buffers.remove(place).buffer)
    }

    /// One that was not kept since the last look.
    fn stale(&mut self) -> Option<Vec<u8>> {
        let place = self.buffers.iter().position(|kept| !kept.is_fresh)?;
        Some(self.buffers.remove(place).buffer)
    }

    /// Look what is kept. Whether nothing is, so that nobody need watch it.
    fn look(&mut self) -> bool {
        self.buffers.iter_mut().for_each(|kept| kept.is_fresh = false);
        self.is_watched = !self.buffers.is_empty();
        !self.is_watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Spare {
        /// What is kept, in units of `MIN`, in the order of `take`.
        fn sizes(&mut self) -> Vec<usize> {
            let taken = std::iter::from_fn(|| self.take(0..=usize::MAX));
            taken.map(|buffer| buffer.capacity() / MIN).collect()
        }
    }

    fn spare_of(sizes: &[usize]) -> Spare {
        let mut spare = Spare::none();
        for size in sizes {
            spare.keep(Vec::with_capacity(size * MIN));
            while spare.surplus().is_some() {}
        }
        spare
    }

    #[test]
    fn the_smallest_buffer_that_fits_is_used_again() {
        let mut spare = spare_of(&[8, 1, 3]);
        assert!(spare.take(9 * MIN..=MAX).is_none());
        assert!(spare.take(MIN / 2..=MIN - 1).is_none(), "far too large");
        assert!(spare.take(2 * MIN..=MAX).is_some_and(|it| it.capacity() == 3 * MIN));
        assert!(spare.take(2 * MIN..=MAX).is_some_and(|it| it.capacity() == 8 * MIN));
        assert_eq!(spare.sizes(), [1]);
    }

    #[test]
    fn a_few_buffers_are_kept_and_the_last_ones_first() {
        assert_eq!(spare_of(&[5, 4, 3, 2, 1]).sizes(), [1, 2, 3, 4]);
        assert_eq!(spare_of(&[9, 200, 50, 2]).sizes(), [2, 50, 200]);
        assert_eq!(spare_of(&[1, 255, 2]).sizes(), [2]);
        assert_eq!(spare_of(&[1, 256]).sizes(), [256]);
    }

    #[test]
    fn a_large_buffer_that_nobody_uses_is_forgotten() {
        let mut spare = Spare::none();
        assert!(spare.keep(Vec::with_capacity(MIN)), "it wants to be watched");
        assert!(spare.stale().is_none() && !spare.look(), "it was just used");
        assert!(!spare.keep(Vec::with_capacity(2 * MIN)));
        assert!(spare.stale().is_some_and(|stale| stale.capacity() == MIN));
        assert!(spare.stale().is_none() && !spare.look(), "the other one is in use");
        assert!(spare.stale().is_some_and(|stale| stale.capacity() == 2 * MIN));
        assert!(spare.look() && spare.stale().is_none());
        assert!(spare.keep(Vec::with_capacity(MIN)), "the watcher has gone");
    }
}
