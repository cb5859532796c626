//! One event in the hands of the host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::outbox::Haste;
use super::shared::Shared;
use crate::error::{Code, Error, Result};
use crate::events::{self, Body, Outcome};
use crate::message::{self, Json, Outgoing, Terminated};
use crate::process::{Exit, Stage};
use crate::sys::fork;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The transport is up.
    Open,
    /// A call ended.
    Response,
    /// The peer tells something.
    Notification,
    /// The peer wants an answer.
    Request,
    /// A line of the server's stderr.
    Stderr,
    /// Something that is not JSON-RPC, or an answer that no call waits for.
    Noise,
    /// The connection ended. Always the last one.
    Closed,
}

/// Numbers that an event may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntField {
    /// See [`Event::status`].
    Call,
    /// What the host gave with the call.
    Tag,
    /// Arrival number, from 1.
    Seq,
    /// The code of a JSON-RPC error.
    RpcCode,
    /// The server's exit status.
    ExitCode,
    /// The signal that killed the server.
    ExitSignal,
    /// Lines of stderr lost just before.
    Dropped,
    /// How far the teardown had to go: 0 exited, 1 SIGTERM, 2 SIGKILL.
    Stage,
    /// Processes that were alive when SIGKILL was sent.
    Killed,
    /// WebSocket close code.
    CloseCode,
    /// Processes that could not be killed.
    Left,
    /// Bytes read during teardown that had no place.
    Discarded,
    /// The `errno` behind the connection's end.
    OsError,
}

/// Texts that an event may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextField {
    /// Of a request or notification.
    Method,
    /// Params, result, or the data of an error.
    Json,
    /// A line, or the message of an error.
    Text,
    /// The id of a request, as raw JSON.
    PeerId,
}

/// One thing that arrived. A request that is dropped without an answer is
/// refused, so that the peer does not wait for ever.
pub struct Event {
    inner: events::Event,
    owner: Weak<Shared>,
    is_answered: AtomicBool,
}

impl Event {
    pub(super) fn new(inner: events::Event, owner: &Arc<Shared>) -> Self {
        let owner = match inner.body {
            Body::Request(_) => Arc::downgrade(owner),
            _ => Weak::new(),
        };
        Self { inner, owner, is_answered: AtomicBool::new(false) }
    }

    pub(crate) fn body(&self) -> &Body {
        &self.inner.body
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.inner.body {
            Body::Open => Kind::Open,
            Body::Response { .. } => Kind::Response,
            Body::Notification(_) => Kind::Notification,
            Body::Request(_) => Kind::Request,
            Body::Stderr { .. } => Kind::Stderr,
            Body::Noise(_) => Kind::Noise,
            Body::Closed(_) => Kind::Closed,
        }
    }

    /// How a call or the connection ended: `Ok` for a result, and for a
    /// connection that the host closed. `None` for other kinds.
    pub fn status(&self) -> Option<std::result::Result<(), Code>> {
        match &self.inner.body {
            Body::Response { outcome: Outcome::Result(_), .. } => Some(Ok(())),
            Body::Response { outcome: Outcome::Refused(_), .. } => Some(Err(Code::Rpc)),
            Body::Response { outcome: Outcome::Failed(failure), .. } => Some(Err(failure.code)),
            Body::Closed(closed) => Some(closed.status.map_or(Ok(()), Err)),
            _ => None,
        }
    }

    /// How a call or the connection ended, as an error with the text of this event.
    #[inline]
    pub fn outcome(&self) -> Result<()> {
        match self.status() {
            Some(Err(code)) => Err(self.failure(code)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn failure(&self, code: Code) -> Error {
        let text = self.text(TextField::Text).map(|text| String::from_utf8_lossy(text.bytes()));
        let text = text.unwrap_or("the peer answered with an error".into()).into_owned();
        let os = match &self.inner.body {
            Body::Closed(closed) => closed.os_error,
            _ => 0,
        };
        Error::new(code, text).caused_by(os)
    }

    /// A number; `None` when this event has none of that name.
    pub fn int(&self, field: IntField) -> Option<i64> {
        match (&self.inner.body, field) {
            (_, IntField::Seq) => Some(self.inner.seq),
            (Body::Response { call, .. }, IntField::Call) => Some(call.get()),
            (Body::Response { tag, .. }, IntField::Tag) => Some(*tag),
            (Body::Response { outcome: Outcome::Refused(payload), .. }, IntField::RpcCode) => {
                payload.error_code()
            }
            (Body::Stderr { dropped, .. }, IntField::Dropped) => Some(*dropped as i64),
            (Body::Closed(closed), field) => closed_int(closed, field),
            _ => None,
        }
    }

    /// A text; `None` when this event has none of that name.
    #[inline]
    pub fn text(&self, field: TextField) -> Option<Terminated<'_>> {
        match (&self.inner.body, field) {
            (Body::Notification(payload) | Body::Request(payload), TextField::Method) => {
                payload.method()
            }
            (Body::Notification(payload) | Body::Request(payload), TextField::Json) => {
                payload.json()
            }
            (Body::Request(payload), TextField::PeerId) => payload.peer_id(),
            (Body::Response { outcome, .. }, field) => outcome_text(outcome, field),
            (Body::Stderr { line: text, .. } | Body::Noise(text), TextField::Text) => {
                Some(text.terminated())
            }
            (Body::Closed(closed), TextField::Text) => Some(closed.text.terminated()),
            _ => None,
        }
    }

    /// Answer a request; `None` answers null.
    ///
    /// `State`: not a request, or already answered. `Invalid`, `TooBig`,
    /// `Full`, `Closed`: not answered; it may be tried again.
    pub fn reply(&self, result: Option<&[u8]>) -> Result<()> {
        let result = result.map(|result| Json::value(result, "result")).transpose()?;
        self.answer(|protocol, id| Outgoing::reply(protocol, id, result))
    }

    /// Refuse a request. Errors as for [`Event::reply`].
    pub fn refuse(&self, code: i64, text: &str, data: Option<&[u8]>) -> Result<()> {
        let data = data.map(|data| Json::value(data, "data")).transpose()?;
        self.answer(|protocol, id| Outgoing::refusal(protocol, id, code, text, data))
    }

    fn answer<'a>(
        &self,
        message: impl FnOnce(message::Protocol, &str) -> Outgoing<'a>,
    ) -> Result<()> {
        let Some(id) = self.peer_id() else {
            return Err(Error::new(Code::State, "only a LEASH_EVENT_REQUEST can be answered"));
        };
        let closed = || Error::new(Code::Closed, "the connection was closed");
        let shared = self.owner.upgrade().ok_or_else(closed)?;
        let message = message(shared.protocol, id);
        let outbox = shared.outbox();
        // Under the send lock, so that of two threads one gets `State`.
        if self.is_answered.load(Ordering::Relaxed) {
            return Err(Error::new(Code::State, "the request has been answered"));
        }
        shared.state().check_open()?;
        outbox.check(&message)?;
        self.is_answered.store(true, Ordering::Relaxed);
        let sent = shared.send(outbox, message, Haste::Now).map(drop);
        self.is_answered.store(sent.is_ok(), Ordering::Relaxed);
        sent
    }

    fn peer_id(&self) -> Option<&str> {
        let Body::Request(payload) = &self.inner.body else { return None };
        std::str::from_utf8(payload.peer_id()?.bytes()).ok()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let Some(id) = self.peer_id() else { return };
        if fork::is_copy() || self.is_answered.load(Ordering::Relaxed) {
            return;
        }
        let Some(shared) = self.owner.upgrade() else { return };
        if shared.state().check_open().is_ok() {
            let text = "the client did not answer";
            shared.send_own(Outgoing::refusal(shared.protocol, id, -32603, text, None));
        }
    }
}

fn outcome_text(outcome: &Outcome, field: TextField) -> Option<Terminated<'_>> {
    match (outcome, field) {
        (Outcome::Result(payload) | Outcome::Refused(payload), TextField::Json) => payload.json(),
        (Outcome::Refused(payload), TextField::Text) => payload.error_message(),
        (Outcome::Failed(failure), TextField::Text) => Some(failure.text.terminated()),
        _ => None,
    }
}

fn closed_int(closed: &events::Closed, field: IntField) -> Option<i64> {
    let teardown = closed.teardown;
    match field {
        IntField::ExitCode => match teardown?.exit? {
            Exit::Code(code) => Some(i64::from(code)),
            Exit::Signal(_) => None,
        },
        IntField::ExitSignal => match teardown?.exit? {
            Exit::Code(_) => None,
            Exit::Signal(signal) => Some(i64::from(signal)),
        },
        IntField::Stage => Some(match teardown?.stage {
            Stage::Exited => 0,
            Stage::Term => 1,
            Stage::Kill => 2,
        }),
        IntField::Killed => Some(i64::from(teardown?.killed)),
        IntField::Left => Some(i64::from(teardown?.left)),
        IntField::Discarded => Some(closed.discarded as i64),
        IntField::Dropped => Some(closed.dropped as i64),
        IntField::CloseCode => closed.close_code.map(i64::from),
        IntField::OsError => (closed.os_error != 0).then(|| i64::from(closed.os_error)),
        IntField::Call | IntField::Tag | IntField::Seq | IntField::RpcCode => None,
    }
}
