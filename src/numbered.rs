//! Things with consecutive numbers, of which each can be taken at any time.

use std::collections::VecDeque;

/// Things in the order of their numbers: 1, 2, 3 and so on. There is room for those
/// that are here, however long one of them stays, and not for those that were.
pub struct Numbered<T> {
    last: i64,
    /// `None` is one that was taken; never the first.
    items: VecDeque<(i64, Option<T>)>,
    /// How many are here.
    count: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { last: 0, items: VecDeque::new(), count: 0 }
    }
}

impl<T> Numbered<T> {
    /// The number that the next one will have.
    pub fn upcoming(&self) -> i64 {
        self.last + 1
    }

    /// Give out a number for something that does not come here.
    pub fn skip(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// Add something, and give it its number.
    #[inline(always)]
    pub fn push(&mut self, thing: T) -> i64 {
        let number = self.skip();
        self.count += 1;
        // Behind one that stays for long.
        if self.items.len() > 2 * self.count + 64 {
            self.tidy();
        }
        self.items.push_back((number, Some(thing)));
        number
    }

    #[cold]
    fn tidy(&mut self) {
        self.items.retain(|(_, thing)| thing.is_some());
    }

    /// Take the oldest.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<T> {
        let (_, thing) = self.items.pop_front()?;
        self.was_taken();
        thing
    }

    /// Take the one with that `number`; `None` when it is not here any more, or never was.
    #[inline]
    pub fn take(&mut self, number: i64) -> Option<T> {
        // Most are taken in order.
        let thing = match self.items.front()? {
            (first, _) if *first == number => self.items.pop_front()?.1,
            _ => self.place(number).and_then(|place| self.items[place].1.take()),
        }?;
        self.was_taken();
        Some(thing)
    }

    #[inline(always)]
    fn was_taken(&mut self) {
        self.count -= 1;
        while let Some((_, None)) = self.items.front() {
            self.items.pop_front();
        }
    }

    /// Take all, the oldest first, with their numbers.
    pub fn take_all(&mut self) -> impl Iterator<Item = (i64, T)> {
        self.count = 0;
        let items = std::mem::take(&mut self.items).into_iter();
        items.filter_map(|(number, thing)| Some((number, thing?)))
    }

    /// The one with that `number`.
    pub fn get(&self, number: i64) -> Option<&T> {
        self.items[self.place(number)?].1.as_ref()
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, number: i64) -> Option<&mut T> {
        let place = self.place(number)?;
        self.items[place].1.as_mut()
    }

    /// All, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().filter_map(|(_, thing)| thing.as_ref())
    }

    /// How many are here.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is here.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where it is, if it is there.
    fn place(&self, number: i64) -> Option<usize> {
        if number < self.items.front()?.0 {
            return None;
        }
        // Mostly nothing is missing behind it.
        let behind = usize::try_from(self.last - number).ok()?;
        match self.items.len().checked_sub(1 + behind) {
            Some(place) if self.items[place].0 == number => Some(place),
            _ => self.items.binary_search_by_key(&number, |(number, _)| *number).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Skip(usize),
        Pop,
        Take(usize),
        TakeAll,
    }

    proptest! {
        #[test]
        fn each_is_taken_once_by_its_number(
            steps in proptest::collection::vec(prop_oneof![
                5 => Just(Step::Push(1)), 1 => Just(Step::Push(100)), 3 => Just(Step::Skip(1)),
                1 => Just(Step::Skip(100)), 5 => Just(Step::Pop),
                9 => (0usize..20).prop_map(Step::Take), 3 => (0usize..400).prop_map(Step::Take),
                1 => Just(Step::TakeAll),
            ], 0..200),
        ) {
            let (mut things, mut model, mut last) = (Numbered::default(), BTreeMap::new(), 0);
            for step in steps {
                prop_assert_eq!(things.upcoming(), last + 1);
                match step {
                    Step::Push(times) => for _ in 0..times {
                        last += 1;
                        model.insert(last, last.to_string());
                        prop_assert_eq!(things.push(last.to_string()), last);
                    },
                    Step::Skip(times) => for _ in 0..times {
                        last += 1;
                        prop_assert_eq!(things.skip(), last);
                    },
                    Step::Pop => {
                        prop_assert_eq!(things.pop(), model.pop_first().map(|(_, thing)| thing));
                    }
                    // Of the latest, of those before them, and some that never were.
                    Step::Take(back) => {
                        let number = last + 9 - back as i64;
                        prop_assert_eq!(things.get(number), model.get(&number));
                        prop_assert_eq!(things.get_mut(number), model.get_mut(&number));
                        prop_assert_eq!(things.take(number), model.remove(&number));
                    }
                    Step::TakeAll => {
                        let all: Vec<_> = std::mem::take(&mut model).into_iter().collect();
                        prop_assert_eq!(things.take_all().collect::<Vec<_>>(), all);
                    }
                }
                prop_assert!(things.iter().eq(model.values()));
                prop_assert_eq!((things.len(), things.is_empty()), (model.len(), model.is_empty()));
                prop_assert!(!matches!(things.items.front(), Some((_, None))));
                prop_assert_eq!(things.is_empty(), things.items.is_empty());
            }
        }
    }

    #[test]
    fn one_that_stays_holds_no_room_for_others() {
        let mut things = Numbered::default();
        let first = things.push(0);
        for n in 1..100_000 {
            let number = things.push(n);
            things.skip();
            assert_eq!(things.take(number), Some(n));
            assert!(things.items.len() < 100);
        }
        assert_eq!(things.take(first), Some(0));
        assert!(things.items.is_empty());
    }
}
