//! One event, and what it says.

use std::mem;
use std::ops::Deref;

use super::{Body, Closed, Outcome, Request};
use crate::error::{Code, Error, Result};
use crate::message::Terminated;
use crate::process::{Exit, Stage};
use crate::session::CallId;
use crate::spare::{self, Shelf};

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

/// One thing that arrived.
pub struct Event {
    pub(crate) seq: i64,
    pub(crate) body: Body,
}

// Events come and go with each message.
thread_local!(static SPARE: Shelf<Box<Event>> = const { Shelf::new() });

impl Event {
    /// An event in the memory in which the host will have it. Its number comes when
    /// its place is known.
    // Inlined, so that it is written once, into its place.
    #[inline(always)]
    pub(crate) fn boxed(body: Body) -> Box<Self> {
        let Some(mut event) = spare::take(&SPARE) else { return Box::new(Self { seq: 0, body }) };
        // A spare one is `Open`, which holds nothing; to drop that costs something, too.
        debug_assert!(matches!(event.body, Body::Open));
        mem::forget(mem::replace(&mut event.body, body));
        event
    }

    /// The call that it is the response of.
    pub(super) fn response_of(&self) -> Option<CallId> {
        match self.body {
            Body::Response { call, .. } => Some(call),
            _ => None,
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.body {
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
        match &self.body {
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
        let os = match &self.body {
            Body::Closed(closed) => closed.os_error,
            _ => 0,
        };
        Error::new(code, text).caused_by(os)
    }

    /// A number; `None` when this event has none of that name.
    pub fn int(&self, field: IntField) -> Option<i64> {
        match (&self.body, field) {
            (_, IntField::Seq) => Some(self.seq),
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
        match (&self.body, field) {
            (Body::Request(request), TextField::PeerId) => request.payload.peer_id(),
            (Body::Request(Request { payload, .. }) | Body::Notification(payload), field) => {
                match field {
                    TextField::Method => payload.method(),
                    TextField::Json => payload.json(),
                    TextField::Text | TextField::PeerId => None,
                }
            }
            (Body::Response { outcome, .. }, field) => outcome_text(outcome, field),
            (Body::Stderr { line: text, .. } | Body::Noise(text), TextField::Text) => {
                Some(text.terminated())
            }
            (Body::Closed(closed), TextField::Text) => Some(closed.text.terminated()),
            _ => None,
        }
    }
}

/// An event in the hands of the host. Its memory is used again.
///
/// `Some` until it is dropped.
pub struct Arrival(Option<Box<Event>>);

impl Arrival {
    /// The event alone, whose memory is then the caller's to free, or to give
    /// back by [`Arrival::from`].
    #[inline(always)]
    pub fn into_inner(mut self) -> Box<Event> {
        self.0.take().expect("it was not dropped")
    }
}

impl From<Box<Event>> for Arrival {
    #[inline(always)]
    fn from(event: Box<Event>) -> Self {
        Self(Some(event))
    }
}

impl Deref for Arrival {
    type Target = Event;

    fn deref(&self) -> &Event {
        self.0.as_deref().expect("it was not dropped")
    }
}

impl Drop for Arrival {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(mut event) = self.0.take() {
            event.body = Body::Open;
            spare::put(&SPARE, event);
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

fn closed_int(closed: &Closed, field: IntField) -> Option<i64> {
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
