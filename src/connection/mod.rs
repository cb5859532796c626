//! One connection, as the host's threads use it.

mod deadlines;
mod drive;
mod event;
mod handover;
mod launch;
mod lead;
mod outbox;
#[cfg(feature = "websocket")]
mod remote;
mod send;
mod shared;
mod trial;
mod upload;
mod wait;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::environments::{Environments, Plan};
use crate::error::{Code, Error, Result};
use crate::message::{Json, Outgoing};
use crate::options::Options;
use crate::session::CallId;
use crate::sys::io::deadline;
use crate::sys::park::Parker;
use crate::sys::{self, fork};
use handover::BellId;
use launch::no_descriptor;
use lead::Lead;
use outbox::Haste;
use shared::{Call, End, Shared};
use upload::Upload;

pub use crate::events::{Arrival, Event, IntField, Kind, TextField};

/// A JSON-RPC connection to a server on a leash.
///
/// Every method may be called from any thread. Dropping it closes it and waits
/// until nothing of the server is left.
pub struct Connection {
    shared: Arc<Shared>,
}

/// Fields of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The server's process id, which is also its process-group id.
    Pid,
    /// Unread events.
    Queued,
    /// Calls without a response.
    Pending,
}

impl Connection {
    /// Connect to the server that `argv` starts, or to the one at the options'
    /// URL, as [`Connection::launch`] does.
    pub fn open(argv: Option<&[&str]>, options: &Options, limit: Option<Duration>) -> Result<Self> {
        sys::fill_standard().map_err(|e| no_descriptor(&e))?;
        match (argv, &options.url) {
            (Some(argv), _) => Self::launch(argv, options, limit),
            #[cfg(feature = "websocket")]
            (None, Some(_)) => Self::dial(options, limit),
            #[cfg(not(feature = "websocket"))]
            (None, Some(_)) => {
                Err(Error::new(Code::Unsupported, "this build was made without WebSocket"))
            }
            (None, None) => {
                Err(Error::new(Code::Invalid, "argv is NULL and LEASH_OPT_URL is not set"))
            }
        }
    }

    /// Connect to the environment `id` of the file at `path`, as
    /// [`Environments`] finds it, with `options` for the rest. Without a limit
    /// the environment's own holds.
    ///
    /// As [`Connection::open`]; `Invalid`: also for the file, the id, and
    /// options that the environment sets. `Unsupported`: it is the host itself.
    pub fn open_environment(
        path: Option<&str>,
        id: Option<&str>,
        options: &Options,
        limit: Option<Duration>,
    ) -> Result<Self> {
        let Plan { argv, options, limit: own } =
            Environments::load(path)?.find(id)?.plan(options)?;
        let argv = argv.as_ref().map(|argv| argv.iter().map(|item| &**item).collect::<Vec<_>>());
        Self::open(argv.as_deref(), &options, Some(limit.unwrap_or(own)))
    }

    /// Launch `argv` and wait up to `limit` until the program was executed.
    /// With a limit of zero return at once; then OPEN or CLOSED is the first
    /// event. `None` is no limit, here and below.
    ///
    /// `Connect`, `Timeout`, `Interrupted`, `Invalid`: nothing is left running.
    pub fn launch(argv: &[&str], options: &Options, limit: Option<Duration>) -> Result<Self> {
        options.check_for_process()?;
        let until = deadline(limit);
        let connection = Self { shared: launch::launch(argv, options)? };
        if limit == Some(Duration::ZERO) {
            return Ok(connection);
        }
        // On failure, dropping the connection waits until nothing is left.
        let late = || Error::new(Code::Timeout, "the server was not started in time");
        connection.wait_open(until, late).inspect_err(|_| {
            connection.shared.begin_closing(End::Abandoned);
        })?;
        Ok(connection)
    }

    /// Dial the options' URL and wait up to `limit` for the connection: name,
    /// TCP, TLS and upgrade together. With a limit of zero return at once; then
    /// OPEN or CLOSED is the first event, the latter after 30 s at most.
    ///
    /// `Connect`, `Timeout`, `Interrupted`, `Invalid`: nothing is left open.
    #[cfg(feature = "websocket")]
    pub fn dial(options: &Options, limit: Option<Duration>) -> Result<Self> {
        options.check_for_url()?;
        let until = deadline(limit);
        let (shared, progress) = remote::dial(options, limit, until)?;
        let connection = Self { shared };
        if limit == Some(Duration::ZERO) {
            return Ok(connection);
        }
        connection.wait_open(until, || progress.timed_out()).inspect_err(|_| {
            connection.shared.begin_closing(End::Abandoned);
        })?;
        Ok(connection)
    }

    /// Send a request. Its response comes by [`Connection::poll`] or
    /// [`Connection::wait`], exactly once. `limit` runs from now.
    ///
    /// `Invalid`, `TooBig`, `Full`, `Closed`, `NoMemory`: nothing was sent.
    pub fn submit(
        &self,
        method: &str,
        params: Option<&[u8]>,
        limit: Option<Duration>,
        tag: i64,
    ) -> Result<CallId> {
        let (id, _) =
            self.request(method, params, tag, Answer::Queued { until: deadline(limit) })?;
        Ok(id)
    }

    /// Send a request. What is left of a large one is the caller's to write, if
    /// it waits for the answer.
    fn request<'a>(
        &'a self,
        method: &str,
        params: Option<&'a [u8]>,
        tag: i64,
        answer: Answer<'_, '_>,
    ) -> Result<(CallId, Option<Box<Upload<'a>>>)> {
        let params = params.map(Json::params).transpose()?;
        let protocol = self.shared.protocol;
        let is_initialize = method == "initialize";

        let mut outbox = self.shared.outbox();
        let mut state = self.shared.state();
        let id = state.calls.upcoming();
        let message = Outgoing::request(outbox.buffer(), protocol, id.get(), method, params);
        outbox.check(&message)?;
        state.check_open()?;
        // Whoever has the descriptor waits by it, and the runtime reads.
        let is_alone = state.calls.is_empty() && !state.reading.is_exported;
        let waiter = match &answer {
            Answer::Awaited { by, .. } => Some(BellId::of(by)),
            Answer::Queued { .. } => None,
        };
        state.calls.begin(Call { tag, is_initialize, waiter, stuck: None });
        let mut is_news = false;
        let haste = match answer {
            Answer::Queued { until } => {
                is_news = until.is_some_and(|until| state.add_deadline(until, id));
                if is_alone { Haste::Alone } else { Haste::Corked }
            }
            Answer::Awaited { lead, .. } => {
                // Before the server can answer: the runtime need not wake up.
                lead.try_take(&mut state);
                let others = state.reading.waking();
                if others > 0 && self.shared.gather.is_worth_it() {
                    Haste::Together { others }
                } else {
                    Haste::Awaited
                }
            }
        };
        drop(state);
        let sent = self.shared.send(outbox, message, haste);
        if is_news {
            self.shared.driver.notify_one();
        }
        match sent {
            // The call ended meanwhile, so its response is on its way.
            Err(_) if !self.shared.state().forget(id) => Ok((id, None)),
            sent => sent.map(|upload| (id, upload)),
        }
    }

    /// Send a notification. Errors as for [`Connection::submit`].
    pub fn notify(&self, method: &str, params: Option<&[u8]>) -> Result<()> {
        let params = params.map(Json::params).transpose()?;
        let protocol = self.shared.protocol;
        let mut outbox = self.shared.outbox();
        let message = Outgoing::notification(outbox.buffer(), protocol, method, params);
        outbox.check(&message)?;
        self.shared.state().check_open()?;
        self.shared.send(outbox, message, Haste::Corked).map(drop)
    }

    /// Send what was corked.
    pub fn flush(&self) -> Result<()> {
        self.shared.state().check_open()?;
        self.shared.flush(self.shared.outbox())
    }

    /// Give up on a call. `State`: it has ended already, or never was.
    pub fn cancel(&self, id: CallId) -> Result<()> {
        let cancelled = Error::new(Code::Cancelled, "the call was cancelled");
        if self.shared.give_up(id, &cancelled) {
            return Ok(());
        }
        Err(Error::new(Code::State, "no such call is pending: it has ended, or never was"))
    }

    /// Make one poll, running or next, end with `Interrupted`. Safe in a
    /// signal handler.
    pub fn wake(&self) {
        self.shared.wake();
    }

    /// A descriptor that is readable exactly while [`Connection::poll`] would
    /// not have to wait. It lives as long as the connection.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.update(|state| {
            state.reading.is_exported = true;
            self.shared.pass_on(state);
        });
        self.shared.ready.as_fd()
    }

    /// A field; `None` when it is absent.
    pub fn int(&self, field: Field) -> Option<i64> {
        let state = self.shared.state();
        match field {
            Field::Pid => state.pid.map(i64::from),
            Field::Queued => Some(state.queue.len() as i64),
            Field::Pending => Some(state.calls.len() as i64),
        }
    }

    /// Begin the teardown, if that has not happened, and wait up to `limit`
    /// until nothing is left. It goes on regardless.
    ///
    /// `Timeout`, `Interrupted`; `Left`: some processes may not be killed.
    pub fn close(&self, limit: Option<Duration>) -> Result<()> {
        let until = deadline(limit);
        self.shared.begin_closing(End::Requested);
        match self.wait_closed(until)? {
            None => Err(Error::new(Code::Timeout, "the teardown is still running")),
            Some(0) => Ok(()),
            Some(left) => Err(Error::new(
                Code::Left,
                format!(
                    "{left} processes could not be killed: they are another user's, or slow to die"
                ),
            )),
        }
    }
}

/// Where a response goes.
enum Answer<'a, 's> {
    /// Into the queue of events, at the latest at `until`.
    Queued { until: Option<Instant> },
    /// To a thread that waits for it, keeps the deadline itself, and reads by
    /// `lead` if nobody else does.
    Awaited { by: &'a Arc<Parker>, lead: &'a mut Lead<'s> },
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Its server is the parent's.
        if fork::is_copy() {
            return;
        }
        self.shared.begin_closing(End::Requested);
        while !matches!(self.wait_closed(None), Ok(Some(_))) {
            // A signal handler ran, or no descriptor could be had to sleep on.
            thread::sleep(Duration::from_millis(1));
        }
        // The runtime is between its last change of the state and its end: see
        // that its hold on the descriptor is gone, too.
        let patience = Instant::now() + Duration::from_secs(1);
        while Arc::strong_count(&self.shared) > 1 && Instant::now() < patience {
            thread::yield_now();
        }
    }
}
