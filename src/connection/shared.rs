//! What the host's threads and the runtime share of one connection.
//!
//! Two locks, always taken in this order, and neither is held across a system
//! call that can block: `outbox` (what goes out), `state` (everything else). A
//! plain WebSocket has a third ([`crate::transport::websocket::Plain`]), which is
//! taken with neither of them.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::deadlines::Deadlines;
use super::handover::{BellId, Reading};
use super::lead::Input;
use super::outbox::{Outbox, Sink};
use super::trial::Trial;
use crate::error::{Code, Error, Result};
use crate::events::{Body, Closed, Event, Limits, Outcome, Queue, Request, Text};
use crate::message::{Frame, Kind, Outgoing, Parsed, Protocol};
use crate::options::Options;
use crate::session::{CallId, Session};
use crate::sys::park::{Bell, Parker};
use crate::trace::Trace;
use crate::transport::stdio;

/// So much may wait for room at the end: what a server had written before it went.
const PAST_LIMITS_MAX: usize = 1 << 20;

const _: () = assert!(PAST_LIMITS_MAX >= stdio::WIDEST);

/// So many portions are read, if they are there, before a call is late. A pipe holds
/// fewer; who floods shall not hold up a deadline.
const PORTIONS_FIRST: u32 = 16;

/// How much of an unwanted message is shown.
const NOISE_MAX: usize = 4096;

/// One connection.
pub(super) struct Shared {
    pub protocol: Protocol,
    pub trace: Trace,
    outbox: Mutex<Outbox>,
    state: Mutex<State>,
    /// Wakes the runtime's side: something changed that it must look at.
    pub driver: Notify,
    /// Whether a leader looks for its answer before it sleeps.
    pub spin: Trial,
    /// Whether a thread that sends waits for what others are about to send.
    pub gather: Trial,
    /// Whether we owe the peer so much that it must read first.
    is_overdrawn: AtomicBool,
    /// Whether messages wait for a flush.
    is_corked: AtomicBool,
    /// Readable while a poll would not have to wait, from the moment that
    /// somebody looks at it.
    pub ready: Bell,
    /// Polls that must end with `Interrupted`.
    wakes: AtomicU32,
    /// Those of them for which the bell has been rung. A poll takes only these: what rang
    /// after that would be muted by nobody.
    rung_wakes: AtomicU32,
}

/// What changes during a connection's life.
pub(super) struct State {
    pub life: Life,
    pub has_opened: bool,
    pub pid: Option<i32>,
    pub calls: Session<Call>,
    /// Responses for which a thread is waiting.
    answers: Vec<(CallId, Box<Event>)>,
    pub queue: Queue,
    /// What was read and waits for room: a batch, and what came with it; and what
    /// came at the end. While there is any the queue is full.
    backlog: VecDeque<Parsed>,
    /// The end, while that is not empty.
    closed: Option<Closed>,
    deadlines: Deadlines,
    pub reading: Reading<Input, Parker>,
    /// Threads that sleep until `ready` is readable.
    pub sleepers: usize,
    /// Since when no event was taken, while the queue is full.
    stalled: Option<Instant>,
    /// How many bytes were taken in at the end although the queue was full.
    past_limits: usize,
    /// Bytes that came after that.
    discarded: u64,
    /// Threads that wait for a change of `life`.
    watchers: Vec<Arc<Parker>>,
    is_ready: bool,
    /// Whether the runtime wants to hear of room in the queue: it alone reads, or
    /// it counts the time of pings.
    pub is_held_up: bool,
}

/// The state, for as long as one thread has it. Whom it wakes hears of it when
/// the state is free again.
///
/// `Some` until it is dropped.
pub(super) struct Locked<'a>(Option<MutexGuard<'a, State>>);

impl Locked<'_> {
    #[inline(never)]
    fn ring(&mut self) {
        let parkers = self.reading.take_rings();
        self.0 = None;
        Parker::ring_all(&parkers);
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    #[inline(always)]
    fn deref(&self) -> &State {
        self.0.as_deref().expect("it was not dropped")
    }
}

impl DerefMut for Locked<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_deref_mut().expect("it was not dropped")
    }
}

impl Drop for Locked<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.reading.has_rings() {
            self.ring();
        }
    }
}

/// The life of a connection: it moves down this list, and never up.
#[derive(Debug)]
pub(super) enum Life {
    /// The server is being started.
    Opening,
    /// Messages go in and out.
    Open,
    /// It is being torn down. Pending calls have ended.
    Closing(End),
    /// Nothing of it is left, but events that were not taken.
    Closed {
        /// Why it never opened, if so.
        failed: Option<Error>,
        /// Processes that could not be killed.
        left: u32,
    },
}

/// Why a connection ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The host closed it.
    Requested,
    /// The host gave up opening it.
    Abandoned,
    /// It ended by itself.
    Failed(Error),
}

/// An open call.
pub(super) struct Call {
    pub tag: i64,
    /// MCP and LSP forbid to cancel it.
    pub is_initialize: bool,
    /// The thread that waits for its response.
    pub waiter: Option<BellId>,
    /// Since when threads have waited for it behind a full queue, also one
    /// after the other.
    pub stuck: Option<Instant>,
}

impl Shared {
    pub fn new(options: &Options, trace: Trace, sink: Sink, ready: Bell) -> Self {
        let outbox = Outbox::new(sink, options, trace.clone());
        let queue = Queue::new(Limits { events: options.queue_events, bytes: options.queue_bytes });
        let state = State {
            life: Life::Opening,
            has_opened: false,
            pid: None,
            calls: Session::default(),
            answers: Vec::new(),
            queue,
            backlog: VecDeque::new(),
            closed: None,
            deadlines: Deadlines::default(),
            reading: Reading::none(),
            sleepers: 0,
            stalled: None,
            past_limits: 0,
            discarded: 0,
            watchers: Vec::new(),
            is_ready: false,
            is_held_up: false,
        };
        Self {
            protocol: options.protocol,
            trace,
            outbox: Mutex::new(outbox),
            state: Mutex::new(state),
            driver: Notify::new(),
            // The first call most likely meets a server that is still starting.
            spin: Trial::after(1),
            gather: Trial::default(),
            is_overdrawn: AtomicBool::new(false),
            is_corked: AtomicBool::new(false),
            ready,
            wakes: AtomicU32::new(0),
            rung_wakes: AtomicU32::new(0),
        }
    }

    /// The send lock.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.outbox)
    }

    /// The state, to read it or to change what no poll waits for.
    pub fn state(&self) -> Locked<'_> {
        Locked(Some(lock(&self.state)))
    }

    /// Change the state, and make `ready` say what is true afterwards.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        self.tell_readiness(&mut state);
        result
    }

    fn tell_readiness(&self, state: &mut State) {
        if !state.reading.is_exported && state.sleepers == 0 {
            return;
        }
        let is_ready = state.has_next() || self.wakes.load(Ordering::SeqCst) > 0;
        match (state.is_ready, is_ready) {
            (false, true) => self.ready.ring(),
            (true, false) => {
                self.ready.mute();
                // A wake that came in between may have rung what was muted.
                if self.wakes.load(Ordering::SeqCst) > 0 {
                    self.ready.ring();
                }
            }
            _ => {}
        }
        state.is_ready = is_ready;
    }

    /// Make one poll end with `Interrupted`. Async-signal-safe: no lock.
    pub fn wake(&self) {
        // Before it rings, so that nobody mutes what this rings.
        if change(&self.wakes, |wakes| wakes.checked_add(1)) {
            self.ready.ring();
            change(&self.rung_wakes, |rung| rung.checked_add(1));
        }
    }

    /// Take one wake, if there is one. The caller holds the state's lock, and
    /// tells readiness before it lets go.
    pub fn take_wake(&self, state: &mut State) -> bool {
        let one_less = |wakes: u32| wakes.checked_sub(1);
        let taken = change(&self.rung_wakes, one_less) && change(&self.wakes, one_less);
        // `wake` rang the bell without saying so in `is_ready`.
        state.is_ready |= taken;
        taken
    }

    /// Take the next event if there is one, and nobody called for a poll's end.
    #[inline(always)]
    pub fn take_at_once(&self, state: &mut State) -> Option<Box<Event>> {
        if self.wakes.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let was_full = state.queue.is_full();
        let event = state.take_next()?;
        if was_full {
            // There may be room again.
            self.pass_on(state);
        }
        Some(event)
    }

    /// The server runs.
    pub fn opened(&self, pid: Option<i32>) {
        self.trace.note(|| match pid {
            Some(pid) => format!("open, pid {pid}"),
            None => "open".to_owned(),
        });
        self.update(|state| {
            state.pid = pid;
            match state.life {
                Life::Opening => state.life = Life::Open,
                // What it says on its way out comes behind OPEN, too.
                Life::Closing(End::Requested) => {}
                _ => return,
            }
            state.has_opened = true;
            state.queue.push(Event::boxed(Body::Open));
            state.ring_watchers();
            self.pass_on(state);
        });
    }

    /// Take in what came at the end, when a full queue no longer stops reading: as
    /// much as a pipe holds waits for room, and of the rest only answers count.
    pub fn take_in(&self, parsed: Parsed) {
        self.update(|state| {
            if !state.queue.is_full() {
                state.receive(parsed);
            } else if state.past_limits < PAST_LIMITS_MAX {
                state.past_limits += parsed.size();
                state.backlog.push_back(parsed);
            } else {
                state.discarded += state.receive_answers(parsed) as u64;
            }
        });
    }

    /// End the calls whose deadline has passed, and tell the peer. What came before that
    /// is read first: nobody may have looked.
    pub fn expire(&self, now: Instant) {
        if !self.is_any_over(now, true) {
            return;
        }
        for _ in 0..PORTIONS_FIRST {
            self.state().reading.let_runtime_look();
            if !self.read_for_runtime() {
                break;
            }
        }
        self.end_overdue(now);
    }

    /// Whether the deadline of a call has passed, and who reads, if `others` do, had time
    /// to do so.
    pub fn is_any_over(&self, now: Instant, others: bool) -> bool {
        let state = &mut *self.state();
        let State { deadlines, calls, reading, .. } = state;
        deadlines.are_over(now, others && reading.is_taken(), |id| calls.contains(id))
    }

    /// End the calls whose deadline has passed, and tell the peer.
    pub fn end_overdue(&self, now: Instant) {
        let expired = self.update(|state| {
            let mut expired = Vec::new();
            while let Some(id) = state.deadlines.take(now) {
                if state.calls.contains(id) {
                    expired.push((id, state.end(id, &timeout())));
                }
            }
            expired
        });
        for (id, cancel) in expired {
            self.trace.note(|| format!("call {} had no answer in time", id.get()));
            cancel.into_iter().for_each(|cancel| self.tell_cancel(cancel));
        }
    }

    /// End one call because of `error`. `false`: it has ended already.
    pub fn give_up(&self, id: CallId, error: &Error) -> bool {
        let ended = self.update(|state| {
            let was_open = state.calls.get_mut(id).is_some();
            (was_open, state.end(id, error))
        });
        if ended.0 {
            self.trace.note(|| format!("call {} given up: {error}", id.get()));
        }
        ended.1.into_iter().for_each(|cancel| self.tell_cancel(cancel));
        ended.0
    }

    /// Tell the peer that nobody waits for `id` any more.
    pub fn tell_cancel(&self, id: CallId) {
        if let Some(cancel) = Outgoing::cancel(self.protocol, id.get()) {
            self.send_own(cancel);
        }
    }

    /// Note what others want to know of the outbox without its lock.
    pub fn note(&self, outbox: &Outbox) {
        self.is_overdrawn.store(outbox.is_overdrawn(), Ordering::Relaxed);
        self.is_corked.store(outbox.is_corked(), Ordering::Relaxed);
    }

    /// Whether the peer must read before we do.
    pub fn is_overdrawn(&self) -> bool {
        self.is_overdrawn.load(Ordering::Relaxed)
    }

    /// Whether messages wait for a flush: surely those of the calling thread.
    pub fn is_corked(&self) -> bool {
        self.is_corked.load(Ordering::Relaxed)
    }

    /// Begin to end the connection: no call is pending afterwards. Does nothing
    /// when that has begun already.
    pub fn begin_closing(&self, end: End) {
        let reason = match &end {
            End::Requested | End::Abandoned => closed_by_host(),
            End::Failed(error) => {
                Error::new(Code::Closed, format!("the connection ended: {error}"))
            }
        };
        let has_begun = self.update(|state| {
            let begins = matches!(state.life, Life::Opening | Life::Open);
            if begins {
                state.life = Life::Closing(end);
                state.end_all(&reason);
                state.ring_watchers();
                self.drain(state);
            }
            begins
        });
        if has_begun {
            self.trace.note(|| format!("closing: {reason}"));
        }
        self.driver.notify_one();
    }

    /// Nothing is left of it. The last change of its life.
    pub fn finish(&self, mut closed: Closed, failed: Option<Error>) {
        let left = closed.teardown.map_or(0, |teardown| teardown.left);
        self.trace.note(|| "closed".to_owned());
        closed.os_error = failed.as_ref().map_or(0, Error::os_error);
        self.update(|state| {
            closed.discarded = state.discarded;
            state.end_all(&closed_by_host());
            state.life = Life::Closed { failed, left };
            state.closed = Some(closed);
            state.refill();
            state.ring_watchers();
        });
    }

    /// End the connection because of a panic in its driver. Nobody may wait for
    /// ever.
    pub fn break_off(&self) {
        let error = Error::new(Code::Internal, "a bug in libleash ended the connection");
        self.begin_closing(End::Failed(error.clone()));
        self.outbox().sink().close();
        let text = Text::new(error.text().as_bytes());
        let closed = Closed { status: Some(Code::Internal), text, ..Closed::default() };
        self.finish(closed, Some(error));
    }
}

impl State {
    /// Whether a poll would give an event, or say that there will be none.
    pub fn has_next(&self) -> bool {
        !self.queue.is_empty() || self.queue.is_over()
    }

    /// Whether a call or notification may be sent.
    pub fn check_open(&self) -> Result<()> {
        match &self.life {
            Life::Opening | Life::Open => Ok(()),
            Life::Closing(End::Failed(error)) | Life::Closed { failed: Some(error), .. } => {
                Err(Error::new(Code::Closed, format!("the connection has ended: {error}")))
            }
            _ => Err(closed_by_host()),
        }
    }

    /// Take the next event.
    pub fn take_next(&mut self) -> Option<Box<Event>> {
        let event = self.queue.pop();
        // The end, too: a panic may have cost what it waited behind.
        if !self.backlog.is_empty() || self.closed.is_some() {
            self.refill();
        }
        self.note_taken();
        event
    }

    /// Take the response of `id`, for which the calling thread waits.
    pub fn take_answer(&mut self, id: CallId) -> Option<Box<Event>> {
        let at = self.answers.iter().position(|(other, _)| *other == id)?;
        Some(self.answers.swap_remove(at).1)
    }

    /// Take the response of `id`, which no thread waited for when it came.
    pub fn take_response(&mut self, id: CallId) -> Option<Box<Event>> {
        self.queue.take_response(id)
    }

    #[inline(always)]
    fn note_taken(&mut self) {
        self.stalled = self.queue.is_full().then(Instant::now);
    }

    /// Since when the queue has been full, nobody took an event, and somebody
    /// waits for the response of `id`.
    pub fn stalled_for(&mut self, id: CallId) -> Option<Instant> {
        let stalled = self.stalled?;
        let call = self.calls.get_mut(id)?;
        // A stall that began before the first wait begins with it.
        Some(stalled.max(*call.stuck.get_or_insert_with(Instant::now)))
    }

    #[inline(always)]
    fn note_added(&mut self) {
        if self.stalled.is_none() && self.queue.is_full() {
            self.stalled = Some(Instant::now());
            // Who waits for an answer has a second from now.
            self.reading.wake_all();
        }
    }

    /// Take in what a piece of the stream held.
    #[inline(always)]
    pub fn receive(&mut self, parsed: Parsed) {
        match parsed {
            Parsed::One(frame) if self.backlog.is_empty() => self.receive_one(frame),
            parsed => {
                self.backlog.push_back(parsed);
                self.refill();
            }
        }
    }

    /// Take in what waits for room, for as much as there is. Of a batch each part
    /// needs its own.
    #[inline(never)]
    fn refill(&mut self) {
        while !self.queue.is_full()
            && let Some(first) = self.backlog.pop_front()
        {
            match first {
                Parsed::One(frame) => self.receive_one(frame),
                Parsed::Noise(noise) => self.noise(&noise.0),
                Parsed::Batch(mut batch) => {
                    let Some(part) = batch.next() else { continue };
                    self.backlog.push_front(Parsed::Batch(batch));
                    self.backlog.push_front(part);
                }
            }
        }
        if self.backlog.is_empty()
            && let Some(closed) = self.closed.take()
        {
            self.queue.push_closed(closed);
        }
    }

    /// Take in the answers that calls wait for, although the queue is full. How many
    /// bytes were something else, and are gone.
    fn receive_answers(&mut self, parsed: Parsed) -> usize {
        let size = parsed.size();
        match parsed {
            Parsed::Batch(batch) if !self.calls.is_empty() => {
                batch.map(|part| self.receive_answers(part)).sum()
            }
            Parsed::One(frame) if self.is_awaited(&frame) => {
                self.receive_one(frame);
                0
            }
            _ => size,
        }
    }

    fn is_awaited(&self, frame: &Frame) -> bool {
        let (Kind::Result(Some(id)) | Kind::Failure(Some(id))) = frame.kind() else { return false };
        CallId::new(id).is_some_and(|id| self.calls.contains(id))
    }

    // All of it in one place, without a way through other hands: each message comes by.
    #[inline(never)]
    fn receive_one(&mut self, frame: Frame) {
        let kind = frame.kind();
        let mut waiter = None;
        let body = match kind {
            Kind::Request => Body::Request(Request { payload: frame.open(), responder: None }),
            Kind::Notification => Body::Notification(frame.open()),
            Kind::Result(id) | Kind::Failure(id) => {
                let Some((call, ended)) = self.end_by(id) else {
                    return self.noise(&frame.into_bytes());
                };
                waiter = ended.waiter;
                let payload = frame.open();
                let is_result = matches!(kind, Kind::Result(_));
                let outcome = if is_result { Outcome::Result } else { Outcome::Refused }(payload);
                Body::Response { call, tag: ended.tag, outcome }
            }
        };
        self.add(body, waiter);
    }

    /// End the call that an answer with this id is for, if there is one.
    #[inline(always)]
    fn end_by(&mut self, id: Option<i64>) -> Option<(CallId, Call)> {
        let id = CallId::new(id?)?;
        Some((id, self.calls.end(id)?))
    }

    /// Add what came from the server outside of messages, or unasked.
    #[inline(never)]
    pub fn noise(&mut self, bytes: &[u8]) {
        self.add_rare(Body::Noise(Text::beginning(bytes, NOISE_MAX)), None);
    }

    #[inline(never)]
    fn add_rare(&mut self, body: Body, waiter: Option<BellId>) {
        self.add(body, waiter);
    }

    /// Add an event to the queue, or give it to the thread that waits for it.
    #[inline(always)]
    fn add(&mut self, body: Body, waiter: Option<BellId>) {
        let mut event = Event::boxed(body);
        if let (Body::Response { call, .. }, Some(waiter)) = (&event.body, waiter) {
            let call = *call;
            self.queue.pass(&mut event);
            self.answers.push((call, event));
            return self.reading.wake(waiter);
        }
        self.queue.push(event);
        self.note_added();
    }

    /// End one call, if it is open. `Some`: the peer may be told.
    fn end(&mut self, id: CallId, error: &Error) -> Option<CallId> {
        let call = self.calls.end(id)?;
        let tell = !call.is_initialize;
        self.fail(id, call, error);
        tell.then_some(id)
    }

    #[inline(never)]
    fn fail(&mut self, id: CallId, call: Call, error: &Error) {
        let Call { tag, waiter, .. } = call;
        let outcome = Outcome::failed(error);
        self.add_rare(Body::Response { call: id, tag, outcome }, waiter);
    }

    fn end_all(&mut self, error: &Error) {
        for (id, call) in self.calls.end_all() {
            self.fail(id, call, error);
        }
    }

    /// Take back a call that was never sent. `false`: it has ended meanwhile.
    pub fn forget(&mut self, id: CallId) -> bool {
        self.calls.end(id).is_some()
    }

    /// End the call `id` at `at`. Whether the runtime has to be told.
    pub fn add_deadline(&mut self, at: Instant, id: CallId) -> bool {
        let Self { deadlines, calls, .. } = self;
        deadlines.tidy(calls.len(), |id| calls.contains(id));
        deadlines.add(at, id)
    }

    /// When the runtime, which asks for it, has to look at deadlines again.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        self.deadlines.next_look()
    }

    /// Ring `watcher` when `life` changes, once.
    pub fn add_watcher(&mut self, watcher: &Arc<Parker>) {
        if !self.watchers.iter().any(|other| Arc::ptr_eq(other, watcher)) {
            self.watchers.push(Arc::clone(watcher));
        }
    }

    fn ring_watchers(&mut self) {
        self.reading.ring_too(&mut self.watchers);
    }
}

/// Whether there was something to change.
fn change(counter: &AtomicU32, by: impl FnMut(u32) -> Option<u32>) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, by).is_ok()
}

/// A panic elsewhere must not become a second one here: whoever panicked has
/// left the connection to its end ([`super::drive`]).
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn timeout() -> Error {
    Error::new(Code::Timeout, "no answer came in time")
}

fn closed_by_host() -> Error {
    Error::new(Code::Closed, "the connection was closed")
}

/// How long an unread queue may stand between a thread and its answer.
pub(super) const STALL_MAX: Duration = Duration::from_secs(1);
