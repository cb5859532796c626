//! Buffers that are used again. Small ones by their thread, so that a call in
//! the steady state asks the allocator for nothing; and one large one by the
//! whole process.

mod large;

use std::cell::RefCell;
use std::collections::TryReserveError;

pub use large::{forget, large, watch_by};

/// Most answers are shorter. A larger one would waste memory in a full queue.
const SIZE: usize = 128;

/// How many a thread keeps.
const KEPT: usize = 32;

thread_local!(static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) });

/// A copy of `bytes`.
pub fn copy(bytes: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut buffer = Vec::new();
    if bytes.len() <= SIZE {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        buffer = spare.unwrap_or_default();
        buffer.try_reserve_exact(SIZE)?;
    } else {
        buffer.try_reserve_exact(bytes.len())?;
    }
    buffer.extend_from_slice(bytes);
    Ok(buffer)
}

/// Keep `buffer` for another message, if it is of a size that is kept.
pub fn keep(mut buffer: Vec<u8>) {
    buffer.clear();
    match buffer.capacity() {
        SIZE => keep_small(buffer),
        large::MIN..=large::MAX => large::keep(buffer),
        _ => {}
    }
}

fn keep_small(buffer: Vec<u8>) {
    // A thread that is ending keeps nothing.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_copy_is_made_in_a_buffer_that_was_kept() {
        let first = copy(b"abc").unwrap();
        let place = first.as_ptr();
        keep(first);
        let second = copy(b"defg").unwrap();
        assert_eq!((second.as_ptr(), &second[..]), (place, &b"defg"[..]));
    }

    #[test]
    fn a_long_copy_has_its_own_size() {
        let long = copy(&[b'x'; SIZE + 1]).unwrap();
        assert_eq!((long.len(), long.capacity()), (SIZE + 1, SIZE + 1));
        keep(long);
        assert_eq!(copy(b"a").unwrap().capacity(), SIZE);
    }
}
