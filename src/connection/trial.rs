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
}

impl Trial {
    /// One that begins after so many chances.
    pub fn after(chances: u32) -> Self {
        Self { left: AtomicU32::new(chances), pause: AtomicU32::new(0) }
    }

    /// After many tries in vain. A single one may be chance.
    const PAUSE_MAX: u32 = 64;

    /// A call takes several microseconds: a slice of the scheduler's, which a try may
    /// cost on a busy machine, is less than a tenth of these.
    const CALLS_PER_MICRO: u128 = 4;

    /// Whether to try this time.
    pub fn is_worth_it(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    /// After a try: pause for twice as long as before, and for so long that the time
    /// which was `lost` is not much beside that of the calls meanwhile.
    pub fn was_in_vain(&self, lost: Duration) {
        let pause = self.pause.load(Ordering::Relaxed);
        let pause = (2 * pause).clamp(1, Self::PAUSE_MAX);
        self.pause_for(pause);
        let calls = lost.as_micros().saturating_mul(Self::CALLS_PER_MICRO);
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        self.left.store(pause.max(calls), Ordering::Relaxed);
    }

    /// After a try: pause for half as long as before.
    pub fn has_paid(&self) {
        let pause = self.pause.load(Ordering::Relaxed);
        if pause > 0 {
            self.pause_for(pause / 2);
        }
    }

    fn pause_for(&self, chances: u32) {
        self.pause.store(chances, Ordering::Relaxed);
        self.left.store(chances, Ordering::Relaxed);
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
        trial.was_in_vain(Duration::from_millis(3));
        assert_eq!(chances_between(), 12_000);
        trial.has_paid();
        assert_eq!(chances_between(), 1);
    }
}
