//! How the host gets an event, and answers a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::outbox::Haste;
use super::shared::Shared;
use crate::error::{Code, Error, Result};
use crate::events::{Arrival, Body, Event, Responder};
use crate::message::{Json, Outgoing, Protocol};
use crate::sys::fork;

/// Give `event` to the host. A request can be answered from now on.
#[inline(always)]
pub(super) fn hand_out(mut event: Box<Event>, owner: &Arc<Shared>) -> Arrival {
    if let Body::Request(request) = &mut event.body {
        request.responder = Some(Unanswered::of(owner));
    }
    event.into()
}

impl Event {
    /// Answer a request; `None` answers null.
    ///
    /// `State`: not a request, or already answered. `Invalid`, `TooBig`,
    /// `Full`, `Closed`: not answered; it may be tried again.
    pub fn reply(&self, result: Option<&[u8]>) -> Result<()> {
        let result = result.map(|result| Json::value(result, "result")).transpose()?;
        self.answer(&|protocol, id| Outgoing::reply(protocol, id, result))
    }

    /// Refuse a request. Errors as for [`Event::reply`].
    pub fn refuse(&self, code: i64, text: &str, data: Option<&[u8]>) -> Result<()> {
        let data = data.map(|data| Json::value(data, "data")).transpose()?;
        let message = |protocol, id: &str| Outgoing::refusal(protocol, id, code, text, data);
        self.answer(&message)
    }

    fn answer<'a>(&self, message: &dyn Fn(Protocol, &str) -> Outgoing<'a>) -> Result<()> {
        if let Body::Request(request) = &self.body
            && let (Some(responder), Some(id)) = (&request.responder, request.id())
        {
            return responder.answer(id, message);
        }
        Err(Error::new(Code::State, "only a LEASH_EVENT_REQUEST can be answered"))
    }
}

/// A request that the host has, and may not have answered. When it never does, the
/// request is refused, so that the peer does not wait for ever.
struct Unanswered {
    owner: Weak<Shared>,
    is_answered: AtomicBool,
}

impl Unanswered {
    // Not inlined: requests are rare, and every event comes by.
    #[inline(never)]
    fn of(owner: &Arc<Shared>) -> Box<dyn Responder> {
        Box::new(Self { owner: Arc::downgrade(owner), is_answered: AtomicBool::new(false) })
    }
}

impl Responder for Unanswered {
    fn answer<'a>(&self, id: &str, message: &dyn Fn(Protocol, &str) -> Outgoing<'a>) -> Result<()> {
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

    fn give_up(&self, id: &str) {
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
