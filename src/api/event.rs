//! What arrives.

use std::fmt;

use crate::connection::{Arrival, IntField, TextField};
use crate::error::{Code, Error, Result};
use crate::events::Body;
use crate::process::Teardown;
use crate::session::CallId;

use super::Call;

/// One thing that arrived. Ignore those of a kind that you do not know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server runs, or was reached.
    Open,
    /// A submitted call ended.
    Response(Call, Outcome),
    /// The server tells something.
    Notification(Notification),
    /// The server wants an answer.
    Request(Request),
    /// The server wrote a line to stderr.
    Stderr {
        /// Without its newline; what is not UTF-8 was replaced.
        line: String,
        /// How many lines before it were lost, because nobody took them.
        dropped: u64,
    },
    /// The beginning of something that is not JSON-RPC, or of an answer that no
    /// call waits for.
    Noise(String),
    /// The connection has ended. Always the last one.
    Closed(Closed),
}

/// How a call ended.
pub type Outcome = std::result::Result<Json, CallError>;

/// Why a call has no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The server answered with a JSON-RPC error.
    Refused(Refusal),
    /// There is no answer.
    Failed(Error),
}

/// The result of a call, as the server wrote it.
pub struct Json(Arrival);

/// A JSON-RPC error that the server answered.
pub struct Refusal(Arrival);

/// Something that the server tells.
pub struct Notification(Arrival);

/// Something that the server wants to be answered. Dropped without an answer
/// it is refused, so that the server does not wait for ever.
pub struct Request(Arrival);

/// How a connection ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Closed {
    /// What ended it; `None` when the host closed it.
    pub error: Option<Error>,
    /// How the teardown of the server's processes went; `None` for a URL.
    pub teardown: Option<Teardown>,
    /// The peer's WebSocket close code (RFC 6455, section 7.4): 1005 when it had
    /// none, 1006 when none came.
    pub close_code: Option<u16>,
    /// Bytes that were read during the teardown and had no place.
    pub discarded: u64,
    /// Lines of stderr that were lost before this.
    pub dropped: u64,
}

impl Json {
    /// The JSON.
    pub fn as_str(&self) -> &str {
        text(&self.0, TextField::Json).unwrap_or("null")
    }
}

impl Refusal {
    /// The error's code; `None` when the server gave none.
    pub fn code(&self) -> Option<i64> {
        self.0.int(IntField::RpcCode)
    }

    /// The error's message.
    pub fn message(&self) -> &str {
        text(&self.0, TextField::Text).unwrap_or_default()
    }

    /// What else the server says about it, as JSON.
    pub fn data(&self) -> Option<&str> {
        text(&self.0, TextField::Json)
    }
}

impl Notification {
    /// The method.
    pub fn method(&self) -> &str {
        text(&self.0, TextField::Method).unwrap_or_default()
    }

    /// The params, as JSON.
    pub fn params(&self) -> Option<&str> {
        text(&self.0, TextField::Json)
    }
}

impl Request {
    /// The method.
    pub fn method(&self) -> &str {
        text(&self.0, TextField::Method).unwrap_or_default()
    }

    /// The params, as JSON.
    pub fn params(&self) -> Option<&str> {
        text(&self.0, TextField::Json)
    }

    /// The server's id for it, as JSON.
    pub fn id(&self) -> &str {
        text(&self.0, TextField::PeerId).unwrap_or("null")
    }

    /// Answer with a result, any JSON. Never blocks.
    ///
    /// `State`: it was answered before. `Invalid`, `TooBig`, `Full`,
    /// `NoMemory`: it was not answered; you may try again. `Closed`.
    pub fn reply(&self, result: &str) -> Result<()> {
        super::check_process()?;
        self.0.reply(Some(result.as_bytes()))
    }

    /// Answer with an error (JSON-RPC 2.0, section 5.1), and any JSON that says
    /// more. Errors as for [`Request::reply`].
    pub fn refuse<'a>(
        &self,
        code: i64,
        message: &str,
        data: impl Into<Option<&'a str>>,
    ) -> Result<()> {
        super::check_process()?;
        self.0.refuse(code, message, data.into().map(str::as_bytes))
    }
}

/// How the call of a RESPONSE ended.
pub(super) fn outcome(event: Arrival) -> Outcome {
    match event.outcome() {
        Ok(()) => Ok(Json(event)),
        Err(error) if error.code() == Code::Rpc => Err(CallError::Refused(Refusal(event))),
        Err(error) => Err(CallError::Failed(error)),
    }
}

impl From<Arrival> for Event {
    fn from(event: Arrival) -> Self {
        match &event.body {
            Body::Open => Self::Open,
            Body::Response { call, .. } => Self::response(*call, event),
            Body::Notification(_) => Self::Notification(Notification(event)),
            Body::Request(_) => Self::Request(Request(event)),
            Body::Stderr { line, dropped } => {
                Self::Stderr { line: line.as_str().to_owned(), dropped: *dropped }
            }
            Body::Noise(text) => Self::Noise(text.as_str().to_owned()),
            Body::Closed(closed) => Self::Closed(Closed {
                error: event.outcome().err(),
                teardown: closed.teardown,
                close_code: closed.close_code,
                discarded: closed.discarded,
                dropped: closed.dropped,
            }),
        }
    }
}

impl Event {
    fn response(call: CallId, event: Arrival) -> Self {
        Self::Response(Call(call), outcome(event))
    }
}

/// Text that was UTF-8 when it came.
fn text(event: &Arrival, field: TextField) -> Option<&str> {
    Some(simdutf8::basic::from_utf8(event.text(field)?.bytes()).expect("checked on arrival"))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

// Payloads may be secret: they are shown by those who ask for them.

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json(..)")
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("code", &self.code()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification").field("method", &self.method()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method()).finish_non_exhaustive()
    }
}
