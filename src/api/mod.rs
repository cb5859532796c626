//! The library as a Rust program sees it.

mod event;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::connection::{self, Field};
use crate::error::{Code, Error, Result};
use crate::options::Options;
use crate::session::CallId;
use crate::sys::fork;

pub use event::{CallError, Closed, Event, Json, Notification, Outcome, Refusal, Request};

/// A JSON-RPC connection to a server on a leash.
///
/// Every method may be called from any thread. Dropping it closes it and waits
/// until nothing of the server is left, at most the options' `exit_after` and
/// `kill_after` and one second.
///
/// JSON is text: it is checked on the way in, and arrives byte for byte as the
/// peer wrote it. A limit is a [`Duration`], or `None` for no limit.
///
/// In a forked copy of the process every method fails with [`Code::Forked`],
/// and dropping does nothing.
pub struct Connection(connection::Connection);

/// A call that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call(CallId);

impl Connection {
    /// Start the server that `argv` names, and wait up to `limit` until it was
    /// executed. `argv[0]` is looked up in PATH; there is no shell.
    ///
    /// With a limit of zero it returns at once, and [`Event::Open`] or
    /// [`Event::Closed`] is the first event.
    ///
    /// `Connect`: it cannot be started; `Timeout`; `Interrupted`: a signal
    /// handler ran; `Invalid`: argv, or an option that is for a URL. Nothing is
    /// left running then.
    pub fn launch<A: AsRef<str>>(
        argv: impl IntoIterator<Item = A>,
        options: &Options,
        limit: impl Into<Option<Duration>>,
    ) -> Result<Self> {
        check_process()?;
        let argv: Vec<A> = argv.into_iter().collect();
        let argv: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
        connection::Connection::open(Some(&argv), options, limit.into()).map(Self)
    }

    /// Connect to a server that listens at a `ws://` or `wss://` URL, within
    /// `limit`. Nothing of the URL but scheme, host and port ever appears in an
    /// error.
    ///
    /// As [`Connection::launch`]; `Unsupported`: the crate was built without its
    /// feature `websocket`.
    pub fn dial(url: &str, options: &Options, limit: impl Into<Option<Duration>>) -> Result<Self> {
        check_process()?;
        let options = options.clone().url(url)?;
        connection::Connection::open(None, &options, limit.into()).map(Self)
    }

    /// Connect to the server `id` of the `environments.toml` at `path`, in
    /// codex's format. Without an id, to its default; without a path, to the URL in
    /// `CODEX_EXEC_SERVER_URL`; without a limit, within the time that the file
    /// gives.
    ///
    /// As [`Connection::launch`]; `Invalid`: also for the file, the id, and for
    /// options that the file gives. `Unsupported`: it is `local`, the host itself.
    pub fn open_environment<'a>(
        path: impl Into<Option<&'a str>>,
        id: impl Into<Option<&'a str>>,
        options: &Options,
        limit: impl Into<Option<Duration>>,
    ) -> Result<Self> {
        check_process()?;
        let (path, id, limit) = (path.into(), id.into(), limit.into());
        connection::Connection::open_environment(path, id, options, limit).map(Self)
    }

    /// Call the server and wait for its answer, the result.
    ///
    /// [`CallError::Refused`]: it answered with an error. Otherwise `Timeout`,
    /// `Closed`, `Full` (the answer may sit behind unread events),
    /// `Interrupted`, or an error of [`Connection::submit`].
    pub fn call<'a>(
        &self,
        method: &str,
        params: impl Into<Option<&'a str>>,
        limit: impl Into<Option<Duration>>,
    ) -> Outcome {
        let params = params.into().map(str::as_bytes);
        event::outcome(self.inner()?.call(method, params, limit.into())?)
    }

    /// Send a call whose answer comes later, exactly once: as
    /// [`Event::Response`], or by [`Connection::wait`]. When `limit` passes, the
    /// call ends with `Timeout`. Never blocks.
    ///
    /// `Invalid`: the params are not a JSON array or object, or the limit is
    /// zero; `TooBig`; `Full`: too much is unsent; `Closed`; `NoMemory`.
    /// Nothing was sent then.
    pub fn submit<'a>(
        &self,
        method: &str,
        params: impl Into<Option<&'a str>>,
        limit: impl Into<Option<Duration>>,
    ) -> Result<Call> {
        let limit = limit.into();
        if limit == Some(Duration::ZERO) {
            return Err(Error::new(Code::Invalid, "a call with no time has no answer"));
        }
        let params = params.into().map(str::as_bytes);
        self.inner()?.submit(method, params, limit, 0).map(Call)
    }

    /// Wait for the answer of a submitted call; `None` when `limit` passes. The
    /// call goes on then.
    ///
    /// `State`: the answer was taken, or another thread waits for it; `Full`;
    /// `Interrupted`.
    pub fn wait(&self, call: Call, limit: impl Into<Option<Duration>>) -> Result<Option<Outcome>> {
        let response = self.inner()?.wait(call.0, limit.into())?;
        Ok(response.map(event::outcome))
    }

    /// Give up on a call, and tell the server if the protocol can. Its outcome
    /// is `Cancelled`.
    ///
    /// `State`: it has ended already.
    pub fn cancel(&self, call: Call) -> Result<()> {
        self.inner()?.cancel(call.0)
    }

    /// Tell the server something. Never blocks; errors as for
    /// [`Connection::submit`].
    pub fn notify<'a>(&self, method: &str, params: impl Into<Option<&'a str>>) -> Result<()> {
        self.inner()?.notify(method, params.into().map(str::as_bytes))
    }

    /// Send what the option `cork` has collected.
    pub fn flush(&self) -> Result<()> {
        self.inner()?.flush()
    }

    /// Take the next event; `None` when `limit` passes. Events that nobody takes
    /// stop the server after a while: nothing is lost.
    ///
    /// `Closed`: the last one was taken. `Interrupted`: a signal handler ran, or
    /// somebody called [`Connection::wake`].
    pub fn poll(&self, limit: impl Into<Option<Duration>>) -> Result<Option<Event>> {
        Ok(self.inner()?.poll(limit.into())?.map(Event::from))
    }

    /// The events to come, [`Event::Closed`] being the last.
    pub fn events(&self) -> impl Iterator<Item = Result<Event>> + '_ {
        std::iter::from_fn(|| match self.poll(None) {
            Err(error) if error.code() == Code::Closed => None,
            next => next.transpose(),
        })
    }

    /// Make one poll, running or next, end with `Interrupted`. Safe in a signal
    /// handler.
    pub fn wake(&self) {
        if let Ok(inner) = self.inner() {
            inner.wake();
        }
    }

    /// The server's process id, which is also its process-group id.
    pub fn pid(&self) -> Option<u32> {
        self.0.int(Field::Pid)?.try_into().ok()
    }

    /// Tear the connection down and wait up to `limit` until nothing of the
    /// server is left. It goes on regardless; the events that are there, and
    /// [`Event::Closed`], can still be taken.
    ///
    /// `Timeout`, `Interrupted`; `Left`: some processes may not be killed.
    pub fn close(&self, limit: impl Into<Option<Duration>>) -> Result<()> {
        self.inner()?.close(limit.into())
    }

    fn inner(&self) -> Result<&connection::Connection> {
        check_process().map(|()| &self.0)
    }
}

/// Readable exactly while [`Connection::poll`] would not have to wait: for event
/// loops. From the first use on, the library reads whenever no thread waits.
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }
}

fn check_process() -> Result<()> {
    match fork::is_copy() {
        true => Err(Error::new(
            Code::Forked,
            "this process was forked from the one that uses libleash: exec first, or connect there",
        )),
        false => Ok(()),
    }
}
