//! Where the host's threads wait: never longer than the caller chose, and not
//! beyond a signal handler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handover::BellId;
use super::lead::{Eagerness, Lead, Look, Sleeper, interrupted, no_sleep};
use super::shared::{Life, STALL_MAX, State, timeout};
use super::upload::Upload;
use super::{Answer, Connection, event};
use crate::error::{Code, Error, Result};
use crate::events::{Arrival, Event};
use crate::session::CallId;
use crate::sys::io::{Woken, deadline};
use crate::sys::park::{self, Parker};

impl Connection {
    /// Take the next event; `None` when `limit` passes.
    ///
    /// `Closed`: the last one was taken. `Interrupted`: a signal handler ran,
    /// or [`Connection::wake`] was called.
    #[inline(always)]
    pub fn poll(&self, limit: Option<Duration>) -> Result<Option<Arrival>> {
        self.uncork();
        // In one go, through no other hands: most of what floods in is there.
        match self.shared.update(|state| self.shared.take_at_once(state)) {
            Some(event) => Ok(Some(self.hand_out(event))),
            None => self.wait_for_event(limit),
        }
    }

    /// [`Connection::poll`] when nothing was there.
    #[inline(never)]
    fn wait_for_event(&self, limit: Option<Duration>) -> Result<Option<Arrival>> {
        let mut patience = Patience::new(limit);
        let parker = park::parker().map_err(|e| no_sleep(&e))?;
        let is_glance = limit == Some(Duration::ZERO);
        let eagerness = if is_glance { Eagerness::Glance } else { Eagerness::Patient };
        let sleeper = Sleeper { parker: &parker, wants_events: true, eagerness };
        let event = self.shared.wait_for(
            Lead::none(&self.shared),
            None,
            sleeper,
            |state, is_late| {
                if self.shared.take_wake(state) {
                    let woken = Error::new(Code::Interrupted, "leash_wake was called");
                    return Look::Found(Err(woken));
                }
                if let Some(event) = state.take_next() {
                    return Look::Found(Ok(Some(event)));
                }
                if state.queue.is_over() {
                    return Look::Found(Err(Error::new(Code::Closed, "the last event was taken")));
                }
                if is_late {
                    return Look::Found(Ok(None));
                }
                Look::Nothing { until: patience.end() }
            },
        )??;
        Ok(event.map(|event| self.hand_out(event)))
    }

    /// Wait for the response of a submitted call; `None` when `limit` passes:
    /// the call goes on.
    ///
    /// `State`: unknown, taken already, or another thread waits for it. `Full`:
    /// the answer may sit behind unread events. `Interrupted`.
    pub fn wait(&self, id: CallId, limit: Option<Duration>) -> Result<Option<Arrival>> {
        let patience = Patience::new(limit);
        let parker = park::parker().map_err(|e| no_sleep(&e))?;
        self.uncork();
        if let Some(event) = self.shared.update(|state| claim(state, id, &parker))? {
            return Ok(Some(self.hand_out(event)));
        }
        let mut release = |state: &mut State| {
            if let Some(call) = state.calls.get_mut(id) {
                call.waiter = None;
            }
        };
        let lead = Lead::none(&self.shared);
        let event = self.answer(lead, None, id, patience, &parker, &mut release)?;
        Ok(event.map(|event| self.hand_out(event)))
    }

    /// Send a request and wait for its response, which no poll will see. The
    /// response may say that the peer refused.
    ///
    /// The errors of [`Connection::submit`] and [`Connection::wait`]; the call
    /// is given up then. `Timeout`: no answer came in `limit`.
    pub fn call(
        &self,
        method: &str,
        params: Option<&[u8]>,
        limit: Option<Duration>,
    ) -> Result<Arrival> {
        let patience = Patience::new(limit);
        let parker = park::parker().map_err(|e| no_sleep(&e))?;
        let mut lead = Lead::none(&self.shared);
        let awaited = Answer::Awaited { by: &parker, lead: &mut lead };
        let (id, upload) = self.request(method, params, 0, awaited)?;
        let mut cancel = None;
        let mut give_up = |state: &mut State| {
            cancel = state.calls.end(id).filter(|call| !call.is_initialize).map(|_| id);
        };
        let answer = self.answer(lead, upload, id, patience, &parker, &mut give_up);
        cancel.into_iter().for_each(|id| self.shared.tell_cancel(id));
        match answer? {
            Some(event) => Ok(self.hand_out(event)),
            None => Err(timeout()),
        }
    }

    /// Sleep until the response of `id` is there. If it does not come,
    /// `release` says what becomes of the call, in the same moment.
    fn answer(
        &self,
        lead: Lead<'_>,
        upload: Option<Box<Upload<'_>>>,
        id: CallId,
        mut patience: Patience,
        parker: &Arc<Parker>,
        // Not generic: this is much code, and there are two of them.
        release: &mut dyn FnMut(&mut State),
    ) -> Result<Option<Box<Event>>> {
        // The lead is there only right after the request.
        let is_soon = lead.leads() && upload.is_none();
        let eagerness = if is_soon { Eagerness::Spin } else { Eagerness::Patient };
        let sleeper = Sleeper { parker, wants_events: false, eagerness };
        let slept = self.shared.wait_for(lead, upload, sleeper, |state, is_late| {
            if let Some(event) = state.take_answer(id) {
                return Look::Found(Ok(Some(event)));
            }
            let until = patience.end();
            let stall = state.stalled_for(id).map(|since| since + STALL_MAX);
            // First: waits that are over at once may go on for ever, one after the other.
            if is_late && is_past(stall) {
                release(state);
                return Look::Found(Err(stalled()));
            }
            if is_late && is_past(until) {
                release(state);
                return Look::Found(Ok(None));
            }
            Look::Nothing { until: first(until, stall) }
        });
        slept.unwrap_or_else(|interrupted| {
            self.shared.update(|state| match state.take_answer(id) {
                Some(event) => Ok(Some(event)),
                None => {
                    release(state);
                    Err(interrupted)
                }
            })
        })
    }

    /// Wait until it has opened; `late` is the error when `until` passes.
    pub(super) fn wait_open(
        &self,
        until: Option<Instant>,
        late: impl FnOnce() -> Error,
    ) -> Result<()> {
        let opened = self.watch(until, |state| match &state.life {
            // Whatever came after it opened is told by its events, even when
            // this thread wakes up so late that it is over.
            _ if state.has_opened => Some(Ok(())),
            Life::Closed { failed: Some(error), .. } => Some(Err(error.clone())),
            _ => None,
        })?;
        opened.unwrap_or_else(|| Err(late()))
    }

    /// Wait until nothing is left, and give the number of processes that are
    /// left all the same; `None` when `until` passes.
    pub(super) fn wait_closed(&self, until: Option<Instant>) -> Result<Option<u32>> {
        self.watch(until, |state| match &state.life {
            Life::Closed { left, .. } => Some(*left),
            _ => None,
        })
    }

    /// Sleep until `look` sees what it waits for in the connection's life.
    fn watch<T>(
        &self,
        until: Option<Instant>,
        look: impl Fn(&State) -> Option<T>,
    ) -> Result<Option<T>> {
        if let Some(seen) = look(&self.shared.state()) {
            return Ok(Some(seen));
        }
        let parker = park::parker().map_err(|e| no_sleep(&e))?;
        loop {
            {
                let mut state = self.shared.state();
                if let Some(seen) = look(&state) {
                    return Ok(Some(seen));
                }
                if is_past(until) {
                    return Ok(None);
                }
                state.add_watcher(&parker);
            }
            if parker.sleep(until) == Woken::Signal {
                return Err(interrupted());
            }
        }
    }

    /// Send what was corked: who waits has nothing to add. That it could not
    /// be sent is told by the connection's end.
    fn uncork(&self) {
        if self.shared.is_corked() {
            let _ = self.shared.flush(self.shared.outbox());
        }
    }

    fn hand_out(&self, event: Box<Event>) -> Arrival {
        event::hand_out(event, &self.shared)
    }
}

/// How long a wait may last. Its end is reckoned when it is first asked for:
/// most waits are over before, and the clock costs more than they do.
struct Patience {
    limit: Option<Duration>,
    end: Option<Option<Instant>>,
}

impl Patience {
    fn new(limit: Option<Duration>) -> Self {
        Self { limit, end: None }
    }

    fn end(&mut self) -> Option<Instant> {
        *self.end.get_or_insert_with(|| deadline(self.limit))
    }
}

/// Make the calling thread the one that gets the response of `id`, or take the
/// response when it has come.
fn claim(state: &mut State, id: CallId, parker: &Arc<Parker>) -> Result<Option<Box<Event>>> {
    if let Some(event) = state.take_response(id) {
        return Ok(Some(event));
    }
    match state.calls.get_mut(id) {
        Some(call) if call.waiter.is_none() => {
            call.waiter = Some(BellId::of(parker));
            Ok(None)
        }
        Some(_) => Err(Error::new(Code::State, "another thread waits for this call")),
        None => Err(Error::new(Code::State, "no such call: its response was taken, or never was")),
    }
}

fn is_past(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until <= Instant::now())
}

fn first(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

fn stalled() -> Error {
    let text = "the answer may sit behind unread events: take some with leash_poll";
    Error::new(Code::Full, text)
}
