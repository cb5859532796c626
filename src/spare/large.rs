//! The first touch of its pages costs more than all that is done with a large
//! message. So the process keeps the largest buffer that it has done with, for
//! as long as there are such messages.

use std::ops::RangeInclusive;
use std::sync::{Mutex, OnceLock, PoisonError};

/// From here on a buffer is large.
pub const MIN: usize = 1 << 20;

/// A larger one is never kept.
pub const MAX: usize = 256 << 20;

/// The buffer that is not in use.
struct Spare {
    buffer: Vec<u8>,
    /// Whether it was kept since the last look.
    is_fresh: bool,
    is_watched: bool,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare::none());

/// Begins to call [`forget`] every now and then, until that has nothing to do.
static WATCHER: OnceLock<fn()> = OnceLock::new();

/// An empty buffer of one of these sizes, if there is one.
pub fn large(sizes: RangeInclusive<usize>) -> Option<Vec<u8>> {
    if *sizes.start() < MIN { None } else { locked(|spare| spare.take(sizes)) }
}

/// Keep `buffer` for another message.
pub fn keep(buffer: Vec<u8>) {
    // Nothing is kept that nobody would forget.
    let Some(watch) = WATCHER.get() else { return };
    let (other, wants_watcher) = locked(|spare| spare.keep(buffer));
    drop(other);
    if wants_watcher {
        watch();
    }
}

/// Who sees to it that what is kept is forgotten.
pub fn watch_by(watcher: fn()) {
    let _ = WATCHER.set(watcher);
}

/// Free the buffer unless it was kept since the last time. Whether there is
/// none any more.
pub fn forget() -> bool {
    locked(Spare::forget).is_some()
}

fn locked<T>(work: impl FnOnce(&mut Spare) -> T) -> T {
    work(&mut SPARE.lock().unwrap_or_else(PoisonError::into_inner))
}

// What these give out is freed by the caller, without the lock.
impl Spare {
    const fn none() -> Self {
        Self { buffer: Vec::new(), is_fresh: false, is_watched: false }
    }

    /// Keep the larger one. The other one, and whether it must be watched from
    /// now on.
    fn keep(&mut self, mut buffer: Vec<u8>) -> (Vec<u8>, bool) {
        if self.buffer.capacity() < buffer.capacity() {
            std::mem::swap(&mut self.buffer, &mut buffer);
        }
        self.is_fresh = true;
        (buffer, !std::mem::replace(&mut self.is_watched, true))
    }

    fn take(&mut self, sizes: RangeInclusive<usize>) -> Option<Vec<u8>> {
        sizes.contains(&self.buffer.capacity()).then(|| std::mem::take(&mut self.buffer))
    }

    /// The buffer, if it is forgotten now.
    fn forget(&mut self) -> Option<Vec<u8>> {
        if std::mem::take(&mut self.is_fresh) {
            return None;
        }
        self.is_watched = false;
        Some(std::mem::take(&mut self.buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_kept_for_one_that_fits() {
        let mut spare = Spare::none();
        spare.keep(Vec::with_capacity(2 * MIN));
        spare.keep(Vec::with_capacity(MIN));
        assert!(spare.take(3 * MIN..=MAX).is_none());
        assert!(spare.take(MIN / 2..=MIN).is_none(), "far too large");
        assert!(spare.take(MIN..=MAX).is_some_and(|larger| larger.capacity() == 2 * MIN));
        assert!(spare.take(MIN..=MAX).is_none());
    }

    #[test]
    fn a_large_buffer_that_nobody_uses_is_forgotten() {
        let mut spare = Spare::none();
        let (_, wants_watcher) = spare.keep(Vec::with_capacity(MIN));
        assert!(wants_watcher && spare.forget().is_none(), "it was just used");
        let (_, wants_watcher) = spare.keep(Vec::with_capacity(2 * MIN));
        assert!(!wants_watcher && spare.forget().is_none());
        assert!(spare.forget().is_some_and(|large| large.capacity() == 2 * MIN));
        assert!(spare.keep(Vec::with_capacity(MIN)).1, "the watcher has gone");
    }
}
