//! Events in the order of their arrival, of which one can also be taken out of
//! order: the response that a thread waits for.

use std::collections::VecDeque;

use super::{Body, Closed, Event, Text};
use crate::numbered::Numbered;
use crate::session::{CallId, IdMap};

/// The unread events of a connection.
///
/// Messages and noise are bounded by two limits. Lines of stderr have the room
/// that those leave: when it is needed, the oldest line goes, and the next one
/// says how many went. OPEN, CLOSED and responses always have a place.
pub struct Queue {
    limits: Limits,
    unread: Numbered<Box<Event>>,
    /// Unread responses, by their call, once somebody has asked for one of them.
    responses: Option<IdMap<i64>>,
    /// Unread lines of stderr, by their number.
    stderr: VecDeque<i64>,
    /// Lines lost since the last one that is still here.
    lost: u64,
    messages: Load,
    lines: Load,
    over: bool,
}

/// When reading stops.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes.
    pub bytes: usize,
}

/// What a queue has room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Events.
    pub events: usize,
    /// Bytes.
    pub bytes: usize,
}

#[derive(Clone, Copy, Default)]
struct Load {
    events: usize,
    bytes: usize,
}

impl Room {
    /// For nothing.
    pub const NONE: Self = Self { events: 0, bytes: 0 };

    /// For everything.
    pub const ALL: Self = Self { events: usize::MAX, bytes: usize::MAX };
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            unread: Numbered::default(),
            responses: None,
            stderr: VecDeque::new(),
            lost: 0,
            messages: Load::default(),
            lines: Load::default(),
            over: false,
        }
    }

    /// How many events are unread.
    pub fn len(&self) -> usize {
        self.unread.len()
    }

    /// Whether no event is unread.
    pub fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Whether reading must stop.
    pub fn is_full(&self) -> bool {
        let room = self.room();
        room.events == 0 || room.bytes == 0
    }

    /// How much may come before it is full. A single message may be larger.
    pub fn room(&self) -> Room {
        Room {
            events: self.limits.events.saturating_sub(self.messages.events),
            bytes: self.limits.bytes.saturating_sub(self.messages.bytes),
        }
    }

    /// Whether the last event has been taken.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Add what arrived.
    #[inline(always)]
    pub fn push(&mut self, event: Box<Event>) {
        let seq = self.unread.upcoming();
        if let Some(call) = event.response_of()
            && let Some(responses) = &mut self.responses
        {
            responses.insert(call, seq);
        }
        self.append(event);
        if !self.stderr.is_empty() {
            self.make_room();
        }
    }

    /// Give its number to an event that does not go through the queue.
    #[inline(always)]
    pub fn pass(&mut self, event: &mut Event) {
        event.seq = self.unread.skip();
    }

    /// Add a line of stderr, or lose one.
    pub(crate) fn push_stderr(&mut self, line: Text) {
        let dropped = std::mem::take(&mut self.lost);
        self.append(Event::boxed(Body::Stderr { line, dropped }));
        self.make_room();
    }

    /// Add the last event. It says how many lines of stderr were lost behind
    /// the last one that is here.
    pub(crate) fn push_closed(&mut self, mut closed: Closed) {
        closed.dropped = std::mem::take(&mut self.lost);
        self.append(Event::boxed(Body::Closed(Box::new(closed))));
    }

    /// Take the oldest event.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Box<Event>> {
        let event = self.unread.pop()?;
        self.taken(&event);
        Some(event)
    }

    /// Take the response of `call`.
    pub fn take_response(&mut self, call: CallId) -> Option<Box<Event>> {
        let responses = self.responses.get_or_insert_with(|| {
            let unread = self.unread.iter();
            unread.filter_map(|event| Some((event.response_of()?, event.seq))).collect()
        });
        let seq = *responses.get(&call)?;
        self.take(seq)
    }

    #[inline(always)]
    fn append(&mut self, mut event: Box<Event>) {
        event.seq = self.unread.upcoming();
        if matches!(event.body, Body::Stderr { .. }) {
            self.stderr.push_back(event.seq);
        }
        if let Some((load, size)) = self.load(&event.body) {
            load.events += 1;
            load.bytes += size;
        }
        self.unread.push(event);
    }

    fn take(&mut self, seq: i64) -> Option<Box<Event>> {
        let event = self.unread.take(seq)?;
        self.taken(&event);
        Some(event)
    }

    /// See to it that `event` is no longer counted.
    #[inline(always)]
    fn taken(&mut self, event: &Event) {
        if let Some((load, size)) = self.load(&event.body) {
            load.events -= 1;
            load.bytes -= size;
        }
        match &event.body {
            Body::Response { call, .. } => {
                if let Some(responses) = &mut self.responses {
                    responses.remove(call);
                }
            }
            // Lines go in their order, whoever takes them.
            Body::Stderr { .. } => drop(self.stderr.pop_front()),
            Body::Closed(_) => self.over = true,
            _ => {}
        }
    }

    /// Where an event counts against the limits, and how many bytes it counts.
    #[inline(always)]
    fn load(&mut self, body: &Body) -> Option<(&mut Load, usize)> {
        match body {
            Body::Open | Body::Closed(_) | Body::Response { .. } => None,
            Body::Notification(payload) => Some((&mut self.messages, payload.size())),
            Body::Request(request) => Some((&mut self.messages, request.payload.size())),
            Body::Noise(text) => Some((&mut self.messages, text.size())),
            Body::Stderr { line, .. } => Some((&mut self.lines, line.size())),
        }
    }

    /// Drop the oldest lines of stderr while there is more than the limits
    /// allow. A single event has a place, whatever its size.
    fn make_room(&mut self) {
        while self.is_over_limits() {
            let Some(oldest) = self.stderr.front().copied() else { return };
            let Some(line) = self.take(oldest) else { return };
            let Body::Stderr { dropped, .. } = line.body else { return };
            self.carry(dropped + 1);
        }
    }

    fn is_over_limits(&self) -> bool {
        let events = self.messages.events + self.lines.events;
        let bytes = self.messages.bytes + self.lines.bytes;
        events > 1 && (events > self.limits.events || bytes > self.limits.bytes)
    }

    /// Count lost lines on the line behind the gap.
    fn carry(&mut self, lost: u64) {
        let behind = self.stderr.front().copied();
        match behind.and_then(|seq| self.unread.get_mut(seq)).map(|event| &mut **event) {
            Some(Event { body: Body::Stderr { dropped, .. }, .. }) => *dropped += lost,
            _ => self.lost += lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, Outcome};
    use super::*;
    use crate::error::Code;
    use proptest::prelude::*;

    fn queue(events: usize, bytes: usize) -> Queue {
        Queue::new(Limits { events, bytes })
    }

    fn noise(size: usize) -> Box<Event> {
        Event::boxed(Body::Noise(Text::new(&vec![b'x'; size])))
    }

    fn response(id: i64) -> Box<Event> {
        let outcome =
            Outcome::Failed(Box::new(Failure { code: Code::Closed, text: Text::new(b"") }));
        Event::boxed(Body::Response { call: CallId::new(id).unwrap(), tag: 0, outcome })
    }

    fn lines(queue: &mut Queue) -> Vec<(i64, u64)> {
        std::iter::from_fn(|| queue.pop())
            .filter_map(|event| match event.body {
                Body::Stderr { dropped, .. } => Some((event.seq, dropped)),
                Body::Closed(closed) => Some((event.seq, closed.dropped)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn it_is_full_at_either_limit() {
        let mut few = queue(2, 1000);
        few.push(noise(1));
        assert!(!few.is_full());
        few.push(noise(1));
        assert!(few.is_full());
        few.pop();
        assert!(!few.is_full());

        let mut small = queue(9, 10);
        small.push(noise(100));
        assert!(small.is_full(), "one message of any size has a place");
    }

    #[test]
    fn the_oldest_lines_of_stderr_go_first_and_are_counted() {
        let mut queue = queue(3, 1000);
        (0..5).for_each(|_| queue.push_stderr(Text::new(b"line")));
        assert_eq!(lines(&mut queue), [(3, 2), (4, 0), (5, 0)]);
    }

    #[test]
    fn stderr_never_stops_reading_and_gives_way_to_messages() {
        let mut queue = queue(3, 1000);
        (0..9).for_each(|_| queue.push_stderr(Text::new(b"line")));
        assert!(!queue.is_full());
        (0..3).for_each(|_| queue.push(noise(1)));
        assert!(queue.is_full());
        queue.push_stderr(Text::new(b"line"));
        assert_eq!(queue.len(), 3);
        queue.push_closed(Closed::default());
        assert_eq!(lines(&mut queue).iter().map(|(_, dropped)| dropped).sum::<u64>(), 10);
        assert!(queue.is_over());
    }

    /// What a host has seen of a queue.
    #[derive(Default)]
    struct Seen {
        last: i64,
        events: usize,
        lines: u64,
        calls: Vec<i64>,
    }

    impl Seen {
        fn note(&mut self, event: Event) {
            assert!(event.seq > self.last);
            self.last = event.seq;
            match event.body {
                Body::Stderr { dropped, .. } => self.lines += 1 + dropped,
                Body::Response { call, .. } => {
                    self.calls.retain(|id| *id != call.get());
                    self.events += 1;
                }
                _ => self.events += 1,
            }
        }
    }

    proptest! {
        #[test]
        fn events_keep_their_order_and_none_is_lost(
            steps in proptest::collection::vec(0u8..7, 0..200),
        ) {
            let mut queue = queue(4, 100_000);
            let (mut pushed, mut lines, mut next, mut seen) = (0, 0, 1, Seen::default());
            for step in steps {
                match step {
                    0 => { queue.push(noise(9)); pushed += 1; }
                    1 => { queue.push(response(next)); seen.calls.push(next); next += 1; pushed += 1; }
                    2 => { queue.push_stderr(Text::new(b"x")); lines += 1; }
                    3 => { queue.pass(&mut Event::boxed(Body::Open)); }
                    4 if !seen.calls.is_empty() => {
                        let id = seen.calls.remove(seen.calls.len() / 2);
                        let event = queue.take_response(CallId::new(id).unwrap());
                        let call = event.and_then(|event| event.response_of());
                        prop_assert_eq!(call, CallId::new(id));
                        seen.events += 1;
                    }
                    _ => queue.pop().into_iter().for_each(|event| seen.note(*event)),
                }
            }
            while let Some(event) = queue.pop() {
                seen.note(*event);
            }
            prop_assert_eq!((pushed, lines), (seen.events, seen.lines + queue.lost));
            prop_assert!(queue.is_empty() && queue.stderr.is_empty());
        }
    }
}
