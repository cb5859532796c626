//! What may pay or not.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Whether to try again what costs time and may be in vain, by how it went before.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// How many chances not to take.
    left: AtomicU32,
    /// How many it was after the last try, if that was in vain.
    pause: AtomicU32,
    /// Microseconds that tries have saved, and others have not lost.
    credit: AtomicU32,
}

/// A try that pays saves about so many microseconds: a wake-up of a process.
const SAVED: u32 = 20;

/// What was saved long ago does not count.
const CREDIT_MAX: u32 = 10_000;

/// A try on a busy machine costs a slice of the scheduler's. More than that is another
/// matter: the process was stopped.
const LOST_MAX: u32 = 5_000;

/// After a loss beyond the credit so many calls go without a try for each microsecond: they
/// take several, so it is little beside them.
const CALLS_PER_MICRO: u32 = 4;

/// After many tries in vain. A single one may be chance.
const PAUSE_MAX: u32 = 64;

impl Trial {
    /// One that begins after so many chances.
    pub fn after(chances: u32) -> Self {
        Self { left: AtomicU32::new(chances), ..Self::default() }
    }

    /// Whether to try this time.
    pub fn is_worth_it(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    /// After a try: pause for twice as long as before; for longer if it `lost` more time
    /// than others have saved.
    pub fn was_in_vain(&self, lost: Duration) {
        let pause = (2 * self.pause.load(Ordering::Relaxed)).clamp(1, PAUSE_MAX);
        let lost = u32::try_from(lost.as_micros()).unwrap_or(LOST_MAX).min(LOST_MAX);
        let credit = self.credit.load(Ordering::Relaxed);
        self.pause.store(pause, Ordering::Relaxed);
        self.credit.store(credit.saturating_sub(lost), Ordering::Relaxed);
        let calls = if lost > credit { CALLS_PER_MICRO * lost } else { 0 };
        self.left.store(pause.max(calls), Ordering::Relaxed);
    }

    /// After a try: pause for half as long as before.
    pub fn has_paid(&self) {
        let credit = self.credit.load(Ordering::Relaxed);
        self.credit.store((credit + SAVED).min(CREDIT_MAX), Ordering::Relaxed);
        let pause = self.pause.load(Ordering::Relaxed) / 2;
        self.pause.store(pause, Ordering::Relaxed);
        self.left.store(pause, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_may_have_to_wait() {
        let trial = Trial::after(2);
        let tries = [(); 4].map(|()| trial.is_worth_it());
        assert_eq!(tries, [false, false, true, true]);
    }

    #[test]
    fn what_is_mostly_in_vain_is_rarely_tried_and_what_pays_always() {
        let trial = Trial::default();
        let chances_between = || (0..).take_while(|_| !trial.is_worth_it()).count();
        assert_eq!(chances_between(), 0);
        for pauses in [1, 2, 4, 8, 16, 32, 64, 64] {
            trial.was_in_vain(Duration::ZERO);
            assert_eq!(chances_between(), pauses);
        }
        for pauses in [32, 16, 8, 4, 2, 1, 0, 0] {
            trial.has_paid();
            assert_eq!(chances_between(), pauses);
        }
        trial.was_in_vain(Duration::ZERO);
        assert_eq!(chances_between(), 1);
    }

    #[test]
    fn a_loss_is_weighed_against_what_was_saved() {
        let trial = Trial::default();
        let chances_between = || (0..).take_while(|_| !trial.is_worth_it()).count();
        trial.was_in_vain(Duration::from_millis(3));
        assert_eq!(chances_between(), 12_000);
        (0..200).for_each(|_| trial.has_paid());
        trial.was_in_vain(Duration::from_millis(3));
        assert_eq!(chances_between(), 1);
        trial.was_in_vain(Duration::from_millis(3));
        assert_eq!(chances_between(), 12_000);
        trial.was_in_vain(Duration::from_secs(5));
        assert_eq!(chances_between(), 20_000);
    }
}
