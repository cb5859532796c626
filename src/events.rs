//! What arrived, and the queue where it waits. Bounded; nothing in it is lost
//! but lines of stderr, and those are counted.

mod event;
mod queue;

pub use event::{Arrival, Event, IntField, Kind, TextField};
pub use queue::{Limits, Queue, Room};

use crate::error::{Code, Error, Result};
use crate::framing::between_characters;
use crate::message::{Outgoing, Payload, Protocol, Terminated};
use crate::process::Teardown;
use crate::session::CallId;

/// What an event is. Each kind holds what only it has.
pub(crate) enum Body {
    Open,
    Response { call: CallId, tag: i64, outcome: Outcome },
    Notification(Payload),
    Request(Request),
    Stderr { line: Text, dropped: u64 },
    Noise(Text),
    Closed(Box<Closed>),
}

/// What the peer wants an answer to.
pub(crate) struct Request {
    pub payload: Payload,
    /// Who answers it; `None` until the host has it.
    pub responder: Option<Box<dyn Responder>>,
}

/// Answers one request, once.
pub(crate) trait Responder: Send + Sync {
    /// Send the `message` that is made for the request, whose id is `id`.
    ///
    /// `State`: already answered. `TooBig`, `Full`, `Closed`, `NoMemory`: not
    /// answered; it may be tried again.
    fn answer<'a>(&self, id: &str, message: &dyn Fn(Protocol, &str) -> Outgoing<'a>) -> Result<()>;

    /// Refuse it, unless it was answered: nobody can any more.
    fn give_up(&self, id: &str);
}

impl Request {
    /// Its id, as raw JSON.
    pub fn id(&self) -> Option<&str> {
        std::str::from_utf8(self.payload.peer_id()?.bytes()).ok()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let (Some(responder), Some(id)) = (&self.responder, self.id()) {
            responder.give_up(id);
        }
    }
}

/// How a call ended.
pub(crate) enum Outcome {
    Result(Payload),
    Refused(Payload),
    // Rare, so that the others are small: they go through many hands.
    Failed(Box<Failure>),
}

/// Why a call has no answer.
pub(crate) struct Failure {
    pub code: Code,
    pub text: Text,
}

/// How a connection ended.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    /// `None`: the host closed it.
    pub status: Option<Code>,
    pub text: Text,
    /// `None`: it had no process.
    pub teardown: Option<Teardown>,
    /// Bytes read during teardown that had no place.
    pub discarded: u64,
    /// Lines of stderr lost before this.
    pub dropped: u64,
    pub close_code: Option<u16>,
    /// The `errno` behind it, or 0.
    pub os_error: i32,
}

/// Text of ours for C: UTF-8 with a NUL behind it and none inside.
#[derive(Debug)]
pub(crate) struct Text(Box<[u8]>);

impl Text {
    /// Whatever is not text becomes U+FFFD.
    pub fn new(bytes: &[u8]) -> Self {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if text.contains('\0') {
            text = text.replace('\0', "\u{FFFD}");
        }
        text.push('\0');
        Self(text.into_bytes().into())
    }

    /// The same of at most the first `max` bytes, not ending inside of a
    /// character.
    pub fn beginning(bytes: &[u8], max: usize) -> Self {
        if bytes.len() <= max {
            return Self::new(bytes);
        }
        Self::new(&bytes[..between_characters(bytes, max)])
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.terminated().bytes()).expect("a Text is UTF-8")
    }

    pub fn terminated(&self) -> Terminated<'_> {
        Terminated::new(&self.0).expect("a Text ends in NUL")
    }

    fn size(&self) -> usize {
        self.0.len()
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new(b"")
    }
}

impl Outcome {
    /// Of a call that ends because of `error`.
    pub(crate) fn failed(error: &Error) -> Self {
        let text = Text::new(error.text().as_bytes());
        Self::Failed(Box::new(Failure { code: error.code(), text }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &Text) -> &str {
        std::str::from_utf8(text.terminated().bytes()).unwrap()
    }

    #[test]
    fn text_has_no_nul_and_no_broken_character() {
        assert_eq!(show(&Text::new(b"a\0b\xffc")), "a\u{FFFD}b\u{FFFD}c");
        assert_eq!(show(&Text::beginning("a\u{e9}b".as_bytes(), 2)), "a");
        assert_eq!(show(&Text::beginning("a\u{e9}b".as_bytes(), 3)), "a\u{e9}");
        assert_eq!(show(&Text::beginning(&[0x80; 9], 8)), "\u{FFFD}".repeat(8));
    }
}
