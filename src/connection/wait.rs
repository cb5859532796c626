//! Where the host's threads sleep. Always in poll(2), so that a signal handler
//! ends the sleep, and never without a bound that the caller chose.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::{Life, STALL_MAX, State, timeout};
use super::{Answer, Connection, Event};
use crate::error::{Code, Error, Result};
use crate::events;
use crate::session::CallId;
use crate::sys::io::{Woken, deadline, wait_readable};
use crate::sys::park::{self, Bell};

/// What a look at the queue found.
enum Look {
    Event(events::Event),
    Woken,
    Over,
    Nothing,
    Sleep,
}

impl Connection {
    /// Take the next event; `None` when `limit` passes.
    ///
    /// `Closed`: the last one was taken. `Interrupted`: a signal handler ran,
    /// or [`Connection::wake`] was called.
    pub fn poll(&self, limit: Option<Duration>) -> Result<Option<Event>> {
        let until = deadline(limit);
        self.uncork();
        loop {
            match self.look(until) {
                Look::Event(event) => return Ok(Some(self.event(event))),
                Look::Woken => return Err(interrupted("leash_wake was called")),
                Look::Over => return Err(Error::new(Code::Closed, "the last event was taken")),
                Look::Nothing => return Ok(None),
                Look::Sleep => {}
            }
            let woken = wait_readable(&[self.shared.ready.as_fd()], until);
            self.shared.state().sleepers -= 1;
            if woken.map_err(|e| no_sleep(&e))? == Woken::Signal {
                return Err(interrupted("a signal handler ran"));
            }
        }
    }

    fn look(&self, until: Option<Instant>) -> Look {
        let mut has_room = false;
        let look = self.shared.update(|state| {
            if self.shared.take_wake(state) {
                return Look::Woken;
            }
            let was_full = state.queue.is_full();
            if let Some(event) = state.take_next() {
                has_room = was_full && !state.queue.is_full();
                return Look::Event(event);
            }
            if state.queue.is_over() {
                return Look::Over;
            }
            if is_past(until) {
                return Look::Nothing;
            }
            state.sleepers += 1;
            Look::Sleep
        });
        if has_room {
            // Reading had stopped.
            self.shared.driver.notify_one();
        }
        look
    }

    /// Wait for the response of a submitted call; `None` when `limit` passes:
    /// the call goes on.
    ///
    /// `State`: unknown, taken already, or another thread waits for it. `Full`:
    /// the answer may sit behind unread events. `Interrupted`.
    pub fn wait(&self, id: CallId, limit: Option<Duration>) -> Result<Option<Event>> {
        let until = deadline(limit);
        let bell = park::parker().map_err(|e| no_sleep(&e))?;
        self.uncork();
        if let Some(event) = self.shared.update(|state| claim(state, id, &bell))? {
            return Ok(Some(self.event(event)));
        }
        let release = |state: &mut State| {
            if let Some(call) = state.calls.get_mut(id) {
                call.waiter = None;
            }
        };
        let event = self.answer(id, until, &bell, release)?;
        Ok(event.map(|event| self.event(event)))
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
    ) -> Result<Event> {
        let until = deadline(limit);
        let bell = park::parker().map_err(|e| no_sleep(&e))?;
        let id = self.request(method, params, 0, Answer::Awaited { by: Arc::clone(&bell) })?;
        let mut cancel = None;
        let answer = self.answer(id, until, &bell, |state| {
            cancel = state.calls.end(id).filter(|call| !call.is_initialize).map(|_| id);
        });
        cancel.into_iter().for_each(|id| self.shared.tell_cancel(id));
        match answer? {
            Some(event) => Ok(self.event(event)),
            None => Err(timeout()),
        }
    }

    /// Sleep until the response of `id` is there. If it does not come,
    /// `release` says what becomes of the call, in the same moment.
    fn answer(
        &self,
        id: CallId,
        until: Option<Instant>,
        bell: &Arc<Bell>,
        release: impl FnOnce(&mut State),
    ) -> Result<Option<events::Event>> {
        let slept = self.sleep_for(id, until, bell);
        self.shared.update(|state| {
            state.remove_waiter(bell);
            if let Some(event) = state.answers.remove(&id) {
                return Ok(Some(event));
            }
            release(state);
            slept.map(|()| None)
        })
    }

    /// Sleep until the response of `id` is there, or until `until`.
    fn sleep_for(&self, id: CallId, until: Option<Instant>, bell: &Bell) -> Result<()> {
        let begun = Instant::now();
        loop {
            let stall = {
                let state = self.shared.state();
                if state.answers.contains_key(&id) || is_past(until) {
                    return Ok(());
                }
                state.stalled().map(|since| since.max(begun) + STALL_MAX)
            };
            if is_past(stall) {
                return Err(Error::new(
                    Code::Full,
                    "the answer may sit behind unread events: take some with leash_poll",
                ));
            }
            let woken = wait_readable(&[bell.as_fd()], first(until, stall));
            match woken.map_err(|e| no_sleep(&e))? {
                Woken::Ready => bell.mute(),
                Woken::Timeout => {}
                Woken::Signal => return Err(interrupted("a signal handler ran")),
            }
        }
    }

    pub(super) fn wait_open(&self, until: Option<Instant>) -> Result<()> {
        let opened = self.watch(until, |state| match &state.life {
            // Whatever came after it opened is told by its events, even when
            // this thread wakes up so late that it is over.
            _ if state.has_opened => Some(Ok(())),
            Life::Closed { failed: Some(error), .. } => Some(Err(error.clone())),
            _ => None,
        })?;
        opened
            .unwrap_or_else(|| Err(Error::new(Code::Timeout, "the server was not started in time")))
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
        let bell = park::parker().map_err(|e| no_sleep(&e))?;
        loop {
            {
                let mut state = self.shared.state();
                if let Some(seen) = look(&state) {
                    return Ok(Some(seen));
                }
                if is_past(until) {
                    return Ok(None);
                }
                state.add_watcher(&bell);
            }
            match wait_readable(&[bell.as_fd()], until).map_err(|e| no_sleep(&e))? {
                Woken::Ready => bell.mute(),
                Woken::Timeout => {}
                Woken::Signal => return Err(interrupted("a signal handler ran")),
            }
        }
    }

    /// Send what was corked: who waits has nothing to add. That it could not
    /// be sent is told by the connection's end.
    fn uncork(&self) {
        let mut outbox = self.shared.outbox();
        if outbox.is_corked() {
            let sent = outbox.flush();
            self.shared.release(outbox, &sent);
        }
    }

    fn event(&self, event: events::Event) -> Event {
        Event::new(event, &self.shared)
    }
}

/// Make the calling thread the one that gets the response of `id`, or take the
/// response when it has come.
fn claim(state: &mut State, id: CallId, bell: &Arc<Bell>) -> Result<Option<events::Event>> {
    if let Some(event) = state.take_response(id) {
        return Ok(Some(event));
    }
    match state.calls.get_mut(id) {
        Some(call) if call.waiter.is_none() => {
            call.waiter = Some(Arc::clone(bell));
            state.add_waiter(bell);
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

fn interrupted(why: &'static str) -> Error {
    Error::new(Code::Interrupted, why)
}

fn no_sleep(e: &std::io::Error) -> Error {
    Error::os(Code::NoMemory, "cannot get a descriptor to wait on", e)
}
