//! Who reads. A thread that waits for something reads stdout, or a plain
//! WebSocket, itself: it leads its connection until it has what it came for.
//! Other waiting threads follow: they sleep until they are handed their answer,
//! or the lead. When nobody waits, the runtime reads.
//!
//! The right to read is the [`Input`] itself: see [`super::handover`].

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::deadlines::{GRACE, LATE};
use super::handover::{Readable, StreamEnd};
use super::shared::{End, Life, Shared, State};
use super::upload::Upload;
use crate::error::{Code, Error, Result};
use crate::events::Room;
use crate::message::{Begun, Parsed};
use crate::runtime::{Registration, Source};
use crate::sys::io::{Want, Woken};
use crate::sys::park::Parker;
use crate::transport::Reader;
use crate::transport::stdio::{Filled, LARGE};

/// What comes in, and the runtime's interest in it.
pub(super) struct Input {
    pub reader: Reader,
    pub interest: Registration,
    /// What was parsed and is about to be received, by who has the right to read.
    batch: Vec<Parsed>,
    /// What is known of the message ahead, if it is large.
    begun: Option<Box<Begun>>,
}

/// So many messages are received at once: the state is locked once for all. The
/// rest can wait: there may be enough now for the thread that reads, and it
/// stays in the cache.
const BATCH: usize = 64;

impl Input {
    pub fn new(reader: impl Into<Reader>, interest: Registration) -> Self {
        Self { reader: reader.into(), interest, batch: Vec::new(), begun: None }
    }

    /// Parse messages that have been read, for as many as there is room. Without
    /// any, read one portion first.
    fn read(&mut self, room: Room) -> Result<Filled> {
        if self.held() > 0
            && let held @ Filled::Some(_) = self.read_held(room)?
        {
            return Ok(held);
        }
        let filled = self.reader.fill()?;
        self.parse(room)?;
        if filled == Filled::End
            && let Some(piece) = self.reader.finish()?
        {
            self.batch.push(Parsed::from(piece));
        }
        Ok(filled)
    }

    /// Parse messages that have been read, for as many as there is room.
    fn read_held(&mut self, room: Room) -> Result<Filled> {
        self.parse(room)?;
        Ok(match self.batch.len() {
            0 => Filled::Nothing,
            n => Filled::Some(n),
        })
    }

    #[inline(never)]
    fn parse(&mut self, room: Room) -> Result<()> {
        let mut bytes = 0;
        while self.batch.len() < room.events.min(BATCH)
            && bytes < room.bytes
            && self.reader.held() > 0
        {
            let Some(piece) = self.reader.next_piece()? else {
                self.look_ahead();
                break;
            };
            bytes += piece.size();
            self.batch.push(match self.begun.take() {
                None => piece.into(),
                Some(begun) => begun.parse(piece),
            });
        }
        Ok(())
    }

    /// Read one portion, and give all that has been read to `take`, however much
    /// that is: this is the end.
    pub fn read_last(&mut self, mut take: impl FnMut(Parsed)) -> Result<Filled> {
        self.give_all(&mut take)?;
        let filled = self.reader.fill()?;
        self.give_all(&mut take)?;
        if filled == Filled::End
            && let Some(piece) = self.reader.finish()?
        {
            take(piece.into());
        }
        Ok(filled)
    }

    fn give_all(&mut self, take: &mut impl FnMut(Parsed)) -> Result<()> {
        loop {
            self.parse(Room::ALL)?;
            if self.batch.is_empty() {
                return Ok(());
            }
            self.batch.drain(..).for_each(&mut *take);
        }
    }

    /// Look at what has come of a large message.
    fn look_ahead(&mut self) {
        let bytes = self.reader.unfinished();
        if bytes.len() < LARGE {
            return;
        }
        self.begun.get_or_insert_with(|| Box::new(Begun::new(bytes))).look(bytes);
    }
}

impl Readable for Input {
    fn held(&self) -> usize {
        self.reader.held()
    }

    fn rest(&mut self) {
        self.reader.rest();
        self.batch = Vec::new();
    }

    fn is_armed(&self) -> bool {
        self.interest.is_armed()
    }

    fn arm(&mut self) {
        self.interest.arm();
    }

    fn fired(&mut self) {
        self.interest.fired();
    }

    fn disarm(&mut self) {
        self.interest.disarm();
    }

    fn want_tick(&self) {
        self.interest.tick();
    }
}

/// What a look at the state found.
pub(super) enum Look<T> {
    /// What the thread came for.
    Found(T),
    /// Nothing yet; it wants to sleep until then.
    Nothing { until: Option<Instant> },
}

/// A thread that waits.
#[derive(Clone, Copy)]
pub(super) struct Sleeper<'a> {
    /// The thread's own.
    pub parker: &'a Arc<Parker>,
    /// Whether it comes for events, and not just for an answer.
    pub wants_events: bool,
    pub eagerness: Eagerness,
}

/// How a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eagerness {
    /// Until what it wants is there.
    Patient,
    /// The same, but that will be at once, most likely.
    Spin,
    /// Not at all. When the host looks at the descriptor instead of waiting,
    /// the runtime has read what there is.
    Glance,
}

/// What a waiting thread does next.
enum Step<T> {
    Leave(T),
    Read,
    Sleep { until: Option<Instant> },
    Again,
}

/// A thread that was woken reads so often, if there is something, before it looks at the
/// clock: each time one portion, or [`BATCH`] messages of it. A pipe holds no more.
const READS_FIRST: u32 = 72;

/// After a request the leader looks for the answer again and again for this
/// long before it sleeps: a fast server costs no wake-up then.
const SPIN: Duration = Duration::from_micros(50);

/// The right to read, or none, in the hands of one thread.
pub(super) struct Lead<'a> {
    shared: &'a Shared,
    input: Option<Box<Input>>,
    /// What there is room for: at least as much when it is received.
    room: Room,
    /// Whether nobody else waited when it was taken.
    is_alone: bool,
}

impl<'a> Lead<'a> {
    /// Hold nothing yet.
    pub fn none(shared: &'a Shared) -> Self {
        Self { shared, input: None, room: Room::NONE, is_alone: false }
    }

    /// Take the right to read, if it is free and reading is allowed.
    pub fn try_take(&mut self, state: &mut State) {
        if self.input.is_none() && self.shared.may_lead(state) {
            self.input = state.reading.take();
            self.room = state.queue.room();
            self.is_alone = state.reading.is_nobody_asleep();
        }
    }

    /// Let the state receive what was read.
    fn receive(&mut self, state: &mut State) {
        let Some(input) = &mut self.input else { return };
        if let Some(last) = input.batch.pop() {
            // Mostly there is one.
            if !input.batch.is_empty() {
                input.batch.drain(..).for_each(|parsed| state.receive(parsed));
            }
            state.receive(last);
        }
        self.room = state.queue.room();
    }

    /// Put the right to read back, and pass it on.
    pub fn put_back(&mut self, state: &mut State) {
        self.receive(state);
        if let Some(input) = self.input.take() {
            state.reading.put_back(input);
        }
        self.shared.pass_on(state);
    }

    /// Whether it holds the right to read.
    pub fn leads(&self) -> bool {
        self.input.is_some()
    }

    /// Read what is there, one portion at most. It is still to be received.
    pub fn read(&mut self) -> Filled {
        self.read_by(Input::read)
    }

    fn read_by(&mut self, read: impl FnOnce(&mut Input, Room) -> Result<Filled>) -> Filled {
        let Some(input) = &mut self.input else { return Filled::Nothing };
        let read = read(input, self.room);
        if input.reader.has_left_work() {
            self.shared.driver.notify_one();
        }
        match read {
            Ok(_) if input.reader.is_over() => self.end(StreamEnd::Closed),
            Ok(Filled::End) => self.end(StreamEnd::Closed),
            Ok(filled) => filled,
            Err(error) => self.end(StreamEnd::Broken(error)),
        }
    }

    /// The same, right after a request was written.
    fn read_first(&mut self) -> Filled {
        if self.is_alone && self.shared.spin.is_worth_it() {
            return self.read_soon();
        }
        self.read()
    }

    /// The same, again and again for a while. Mostly it is there the first time, where
    /// the server shares the core: what wakes up goes before who has just written.
    fn read_soon(&mut self) -> Filled {
        let filled = self.read();
        if filled != Filled::Nothing {
            return filled;
        }
        let begun = Instant::now();
        loop {
            thread::yield_now();
            let time = begun.elapsed();
            let filled = self.read();
            if time >= SPIN {
                // Even when it is there: to sleep for it would have taken less.
                self.shared.spin.was_in_vain(time - SPIN);
                return filled;
            }
            if filled != Filled::Nothing {
                self.shared.spin.has_paid();
                return filled;
            }
        }
    }

    fn end(&mut self, end: StreamEnd) -> Filled {
        let shared = self.shared;
        // What came before it counts.
        shared.update(|state| self.receive(state));
        self.input = None;
        shared.reading_ended(end);
        Filled::End
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(|input| input.reader.as_fd())
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if !self.leads() {
            return;
        }
        if thread::panicking() {
            // What it was doing to the reader is unknown.
            let error = Error::new(Code::Internal, "a bug in libleash ended the connection");
            self.shared.reading_ended(StreamEnd::Broken(error));
        } else {
            self.shared.update(|state| self.put_back(state));
        }
    }
}

impl Shared {
    /// Sleep until `look` finds what the calling thread came for, and read
    /// meanwhile, unless somebody else does, and write what is left of
    /// `upload`. `look` is told whether the time that it gave is over.
    ///
    /// `Interrupted`: a signal handler ran.
    pub fn wait_for<T>(
        &self,
        mut lead: Lead<'_>,
        mut upload: Option<Box<Upload<'_>>>,
        sleeper: Sleeper<'_>,
        mut look: impl FnMut(&mut State, bool) -> Look<T>,
    ) -> Result<T> {
        let is_soon = sleeper.eagerness == Eagerness::Spin;
        let mut may_sleep = is_soon && lead.read_first() == Filled::Nothing;
        // Since the last sleep.
        let mut reads = 0;
        let mut grace = None;
        let mut is_asleep = false;
        let mut is_late = false;
        let mut has_looked = false;
        loop {
            let step = self.update(|state| {
                if std::mem::take(&mut is_asleep) {
                    state.wakes_up(sleeper);
                }
                lead.receive(state);
                let until = match look(state, is_late) {
                    Look::Found(found) => {
                        lead.put_back(state);
                        return Step::Leave(found);
                    }
                    Look::Nothing { until } => until,
                };
                if !self.may_lead(state) {
                    lead.put_back(state);
                }
                if sleeper.eagerness != Eagerness::Glance || !state.reading.is_exported {
                    lead.try_take(state);
                }
                let wants_to_read = lead.leads() && !may_sleep;
                // Whoever runs late after it was woken has what came in time.
                if wants_to_read && reads < READS_FIRST {
                    reads += 1;
                    return Step::Read;
                }
                // Most waits end with the first sleep, which keeps the time by itself.
                let is_first = !std::mem::replace(&mut has_looked, true);
                is_late = match (sleeper.eagerness, until) {
                    (Eagerness::Glance, _) => true,
                    (_, Some(until)) if !is_first => {
                        let now = Instant::now();
                        let follows = !lead.leads() && state.reading.is_taken();
                        if follows && !sleeper.wants_events && until + LATE < now {
                            // Whoever reads may run as late.
                            grace.get_or_insert(now + GRACE);
                        }
                        later(until, grace) <= now
                    }
                    _ => false,
                };
                if is_late {
                    return Step::Again;
                }
                if wants_to_read {
                    return Step::Read;
                }
                state.goes_to_sleep(sleeper);
                is_asleep = true;
                Step::Sleep { until: until.map(|until| later(until, grace)) }
            });
            match step {
                Step::Leave(found) => return Ok(found),
                Step::Read => may_sleep = lead.read() == Filled::Nothing,
                Step::Again => {}
                Step::Sleep { until } => {
                    may_sleep = false;
                    reads = 0;
                    self.sleep(&lead, &mut upload, sleeper, until).inspect_err(|_| {
                        self.update(|state| {
                            state.wakes_up(sleeper);
                            // It may have been chosen to lead just now.
                            lead.put_back(state);
                            if sleeper.wants_events {
                                // The signal's handler may have called for just this.
                                self.take_wake(state);
                            }
                        });
                    })?;
                }
            }
        }
    }

    fn sleep(
        &self,
        lead: &Lead<'_>,
        upload: &mut Option<Box<Upload<'_>>>,
        sleeper: Sleeper<'_>,
        until: Option<Instant>,
    ) -> Result<()> {
        let events = sleeper.wants_events.then_some(self.ready.as_fd());
        let input = lead.descriptor();
        let output = upload.as_ref().and_then(|upload| upload.descriptor());
        if events.or(input).or(output).is_none() {
            return match sleeper.parker.sleep(until) {
                Woken::Signal => Err(interrupted()),
                Woken::Ready(_) | Woken::Timeout => Ok(()),
            };
        }
        let wants = [None, events.map(Want::Read), input.map(Want::Read), output.map(Want::Write)];
        match sleeper.parker.sleep_beside(wants, until).map_err(|e| no_sleep(&e))? {
            Woken::Ready([_, _, _, has_room]) => {
                if let Some(upload) = upload.as_mut().filter(|_| has_room) {
                    upload.write();
                }
                Ok(())
            }
            Woken::Timeout => Ok(()),
            Woken::Signal => Err(interrupted()),
        }
    }

    /// Whether there is room for what could be read. While there is none, the
    /// runtime will be told of it.
    #[cfg(feature = "websocket")]
    pub fn may_read(&self) -> bool {
        let mut state = self.state();
        let may_read = !state.queue.is_full() && !self.is_overdrawn();
        state.is_held_up = !may_read;
        may_read
    }

    /// Whether a thread of the host may read, or the runtime in its place.
    fn may_lead(&self, state: &State) -> bool {
        let is_open = matches!(state.life, Life::Open) && !state.reading.is_draining();
        is_open && !state.queue.is_full() && !self.is_overdrawn()
    }

    /// If the right to read is free, see that somebody takes it: a thread that
    /// sleeps, or else the runtime.
    pub fn pass_on(&self, state: &mut State) {
        let may_lead = self.may_lead(state);
        let has_room = may_lead && std::mem::take(&mut state.is_held_up);
        if state.reading.pass_on(may_lead) || has_room {
            self.driver.notify_one();
        }
    }

    /// From now on only the runtime reads.
    pub fn drain(&self, state: &mut State) {
        state.reading.drain();
        self.pass_on(state);
    }

    /// Reading has ended: the runtime has to see to the rest.
    fn reading_ended(&self, end: StreamEnd) {
        self.state().reading.finish(end);
        self.driver.notify_one();
    }

    /// Read one portion if it is the runtime's turn, and receive all of it. Whether
    /// there was one.
    pub fn read_for_runtime(&self) -> bool {
        let mut lead = Lead::none(self);
        self.update(|state| {
            lead.input = state.reading.take_for_runtime(self.may_lead(state));
            lead.room = state.queue.room();
        });
        let mut filled = lead.read();
        let found_some = filled != Filled::Nothing;
        while let Filled::Some(_) = filled {
            self.update(|state| lead.receive(state));
            filled = lead.read_by(Input::read_held);
        }
        self.update(|state| {
            let Some(input) = lead.input.take() else { return };
            let may_lead = self.may_lead(state);
            if state.reading.put_back_for_runtime(input, found_some, may_lead) {
                self.driver.notify_one();
            }
        });
        found_some
    }
}

impl Source for Shared {
    fn readable(&self) {
        self.state().reading.fired();
        self.driver.notify_one();
    }

    fn tick(&self) -> bool {
        let mut state = self.state();
        let may_lead = self.may_lead(&state);
        let (wants_more, is_runtimes_turn) = state.reading.tick(may_lead);
        if is_runtimes_turn {
            self.driver.notify_one();
        }
        wants_more
    }

    fn broken(&self) {
        let text = "a bug in libleash ended the connection";
        self.begin_closing(End::Failed(Error::new(Code::Internal, text)));
    }
}

impl State {
    fn goes_to_sleep(&mut self, sleeper: Sleeper<'_>) {
        self.reading.goes_to_sleep(sleeper.parker);
        self.sleepers += usize::from(sleeper.wants_events);
    }

    fn wakes_up(&mut self, sleeper: Sleeper<'_>) {
        self.reading.wakes_up(sleeper.parker);
        self.sleepers -= usize::from(sleeper.wants_events);
    }
}

fn later(until: Instant, grace: Option<Instant>) -> Instant {
    grace.map_or(until, |grace| until.max(grace))
}

pub(super) fn interrupted() -> Error {
    Error::new(Code::Interrupted, "a signal handler ran")
}

pub(super) fn no_sleep(e: &std::io::Error) -> Error {
    Error::os(Code::NoMemory, "cannot get a descriptor to wait on", e)
}
