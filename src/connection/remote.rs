//! The runtime's side of a connection to a URL: it dials, keeps deadlines, and
//! sees the connection to its end. Over TLS it reads and writes all messages;
//! over a plain WebSocket threads of the host do that, too ([`plain`]), until
//! the end.

mod pings;
mod plain;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::drive::at;
use super::launch::no_descriptor;
use super::outbox::Sink;
use super::shared::{End, Life, Shared};
use crate::error::{Code, Error, Result};
use crate::events::{Closed, Text};
use crate::options::Options;
use crate::runtime;
use crate::sys::park::Bell;
use crate::trace::Trace;
use crate::transport::websocket::{
    self, Ending, Incoming, Opcode, Plain, Progress, Socket, Target, Trust, Turn,
};
use pings::Pings;

/// With a limit of zero nobody waits for the dial, and yet it must end.
const DIAL_MAX: Duration = Duration::from_secs(30);

/// After the end, what is still under way is waited for this long at most:
/// many servers never answer a Close, or leave the TCP connection open.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// So many messages are read, if they are there, before a call is late.
const MESSAGES_FIRST: u32 = 1000;

/// The close code of a connection that the host closes.
const NORMAL: u16 = 1000;

/// No Close came, or one without a code (RFC 6455, section 7.1.5).
const NO_CLOSE: u16 = 1006;
const NO_CODE: u16 = 1005;

/// Begin to dial the options' URL, until `until`.
pub(super) fn dial(
    options: &Options,
    limit: Option<Duration>,
    until: Option<Instant>,
) -> Result<(Arc<Shared>, Arc<Progress>)> {
    let trust = Trust {
        ca_file: options.ca_file.as_deref(),
        cert_file: options.cert_file.as_deref(),
        key_file: options.key_file.as_deref(),
    };
    let target = Target::new(
        options.url.as_deref().unwrap_or_default(),
        options.bearer.as_deref(),
        options.headers.iter().map(|header| &**header),
        &trust,
        options.max_message,
    )?;
    let runtime = runtime::get()?;
    let ready = Bell::new().map_err(|e| no_descriptor(&e))?;
    let sink = Sink::Messages(websocket::Queue::default());
    let trace = Trace::from_environment(target.label());
    let shared = Arc::new(Shared::new(options, trace, sink, ready));
    let until = match limit {
        Some(Duration::ZERO) => Some(Instant::now() + DIAL_MAX),
        _ => until,
    };
    let driver = Driver {
        shared: Arc::clone(&shared),
        target,
        grace: options.exit_after,
        pings: Pings::new(options.ping_every),
        has_opened: false,
        cause: None,
        close_code: None,
        is_finished: false,
    };
    let progress = Arc::clone(driver.target.progress());
    runtime.handle().spawn(driver.run(until));
    Ok((shared, progress))
}

struct Driver {
    shared: Arc<Shared>,
    target: Target,
    /// How long a close may take.
    grace: Duration,
    pings: Pings,
    has_opened: bool,
    /// Why it ends by itself.
    cause: Option<Cause>,
    /// What the peer's Close said.
    close_code: Option<u16>,
    is_finished: bool,
}

struct Cause {
    error: Error,
    /// The close code that tells the peer, if it should be told.
    tell: Option<u16>,
    /// Whether the peer has said its last.
    is_last: bool,
}

/// What woke the runtime.
enum Happening {
    Kicked,
    Time,
    Ping,
    Turn(io::Result<Turn>),
}

impl Driver {
    /// See the connection through its life.
    async fn run(mut self, until: Option<Instant>) {
        let opened = self.open(until).await;
        let (socket, ending) = match opened {
            Ok(socket) => match Plain::share(socket, self.shared.trace.clone()) {
                Ok((plain, reader)) => self.see_shared(plain, reader).await,
                Err(socket) => self.see_own(*socket).await,
            },
            Err(error) => {
                self.cause = Some(Cause { error, tell: None, is_last: true });
                (None, Instant::now())
            }
        };
        let end = self.end();
        if let Some(mut socket) = socket {
            self.close(&mut socket, &end, ending).await;
        }
        // Descriptors first: who sees the end must not see them any more.
        self.finish(&end);
    }

    /// See a connection that is the runtime's alone to where its end begins:
    /// the socket, and when that was.
    async fn see_own(&mut self, mut socket: Socket) -> (Option<Socket>, Instant) {
        self.has_opened = true;
        self.shared.opened(None);
        while self.cause.is_none() && !self.is_closing() {
            self.step(&mut socket, None).await;
        }
        (Some(socket), Instant::now())
    }

    /// Whether the host has begun the end.
    fn is_closing(&self) -> bool {
        matches!(self.shared.state().life, Life::Closing(_))
    }

    async fn open(&self, until: Option<Instant>) -> Result<Socket> {
        let ended = {
            let mut dialing = pin!(self.target.dial());
            loop {
                let deadline = self.shared.state().next_deadline();
                tokio::select! {
                    biased;
                    () = self.shared.driver.notified() => {}
                    () = at(deadline) => {}
                    dialed = &mut dialing => break Some(dialed),
                    () = at(until) => break None,
                }
                self.shared.expire(Instant::now());
                if self.is_closing() {
                    let text = format!("the dial of {} was given up", self.target.label());
                    break Some(Err(Error::new(Code::Connect, text)));
                }
            }
        };
        ended.unwrap_or_else(|| Err(self.target.progress().timed_out()))
    }

    /// Wait for the next thing to happen, until `until`, and deal with it.
    async fn step(&mut self, socket: &mut Socket, until: Option<Instant>) {
        self.feed(socket);
        match self.next(socket, until).await {
            Happening::Kicked | Happening::Time => self.expire(socket).await,
            Happening::Ping => self.ping(socket),
            Happening::Turn(Ok(turn)) => self.turned(socket, turn),
            Happening::Turn(Err(e)) => self.cannot_send(socket, &e),
        }
    }

    /// End the calls whose deadline has passed. What came before that is read first.
    async fn expire(&mut self, socket: &mut Socket) {
        let now = Instant::now();
        if !self.shared.is_any_over(now, false) {
            return;
        }
        // The runtime may have looked at its clock without looking at its sockets.
        tokio::task::yield_now().await;
        for _ in 0..MESSAGES_FIRST {
            if self.cause.is_some() {
                return;
            }
            let may_read = self.may_read();
            match poll_fn(|cx| Poll::Ready(socket.poll(cx, may_read))).await {
                Poll::Ready(Ok(turn)) => self.turned(socket, turn),
                Poll::Ready(Err(e)) => self.cannot_send(socket, &e),
                Poll::Pending => break,
            }
        }
        self.shared.end_overdue(now);
    }

    fn turned(&mut self, socket: &Socket, turn: Turn) {
        match turn {
            Turn::Sent => self.settle(socket),
            Turn::Received(incoming) => self.take_in(incoming),
            Turn::Ended(ending) => self.ended(ending),
        }
    }

    async fn next(&mut self, socket: &mut Socket, until: Option<Instant>) -> Happening {
        let may_read = self.may_read();
        let ping = if may_read {
            self.pings.due(socket)
        } else {
            self.pings.stop();
            None
        };
        let deadline = self.shared.state().next_deadline();
        let until = until.into_iter().chain(deadline).min();
        tokio::select! {
            biased;
            () = self.shared.driver.notified() => Happening::Kicked,
            () = at(until) => Happening::Time,
            turn = poll_fn(|cx| socket.poll(cx, may_read)) => Happening::Turn(turn),
            // Last: what is here already may be the pong.
            () = at(ping) => Happening::Ping,
        }
    }

    /// A full queue stops reading, and so does a peer that makes us owe it
    /// more than it reads. From the end on nothing stops it but the end.
    fn may_read(&self) -> bool {
        match &self.cause {
            Some(cause) => !cause.is_last,
            None if self.is_closing() => true,
            None => self.shared.may_read(),
        }
    }

    /// Start to send what waits.
    fn feed(&mut self, socket: &mut Socket) {
        while socket.takes_more() {
            let message = {
                let mut outbox = self.shared.outbox();
                if !outbox.is_waiting() {
                    return;
                }
                outbox.sink().messages().and_then(websocket::Queue::take)
            };
            let Some(message) = message else { return };
            if let Err(e) = socket.start(Opcode::Text, message) {
                return self.cannot_send(socket, &e);
            }
        }
    }

    /// What was taken has been sent.
    fn settle(&self, socket: &Socket) {
        let mut outbox = self.shared.outbox();
        if let Some(queue) = outbox.sink().messages() {
            queue.sent(socket.sent());
        }
        self.shared.note(&outbox);
    }

    /// The peer takes nothing any more; it may still have said something.
    fn cannot_send(&mut self, socket: &mut Socket, e: &io::Error) {
        socket.break_off();
        let error = self.lost(e);
        self.cause.get_or_insert(Cause { error, tell: None, is_last: false });
    }

    fn ping(&mut self, socket: &mut Socket) {
        if self.pings.is_missing() {
            return self.missed_pings();
        }
        self.pinging();
        if let Err(e) = socket.start_ping() {
            self.cannot_send(socket, &e);
        }
    }

    fn missed_pings(&mut self) {
        let label = self.target.label();
        let text = format!("{label} answered no ping for two periods of LEASH_OPT_PING_EVERY");
        let error = Error::new(Code::Closed, text);
        self.cause.get_or_insert(Cause { error, tell: None, is_last: true });
    }

    fn pinging(&mut self) {
        self.pings.sent();
        self.shared.trace.note(|| "-> ping".to_owned());
    }

    /// Take in one message, or what else came.
    fn take_in(&mut self, incoming: Incoming) {
        let piece = match incoming {
            Incoming::Data(opcode, bytes) => opcode.piece(bytes),
            Incoming::Pong => return self.pings.answered(),
            Incoming::Close(code) => return self.closed_by_peer(code),
        };
        self.shared.trace.received(&piece);
        self.shared.take_in(piece.into());
    }

    fn closed_by_peer(&mut self, code: Option<u16>) {
        self.close_code = Some(code.unwrap_or(NO_CODE));
        let label = self.target.label();
        let text = match code {
            // Not its reason: that is the peer's text.
            Some(code) => format!("{label} closed the connection: {code}{}", meaning(code)),
            None => format!("{label} closed the connection"),
        };
        let error = Error::new(Code::Closed, text);
        self.cause.get_or_insert(Cause { error, tell: None, is_last: false });
    }

    fn ended(&mut self, ending: Ending) {
        let label = self.target.label();
        let (error, tell) = match ending {
            Ending::Broken(error, code) => (error, Some(code)),
            Ending::Lost(e) => (self.lost(&e), None),
            Ending::Closed | Ending::Eof => {
                let text = format!("{label} closed the TCP connection without a WebSocket close");
                (Error::new(Code::Closed, text), None)
            }
        };
        let cause = self.cause.get_or_insert(Cause { error, tell, is_last: true });
        cause.is_last = true;
    }

    fn lost(&self, e: &io::Error) -> Error {
        Error::os(Code::Closed, format!("lost the connection to {}", self.target.label()), e)
    }

    /// Fix why it ends; the host's own close counts if it came first.
    fn end(&mut self) -> End {
        if let Some(cause) = &self.cause {
            self.shared.begin_closing(End::Failed(cause.error.clone()));
        }
        match &self.shared.state().life {
            Life::Closing(end) => end.clone(),
            _ => End::Abandoned,
        }
    }

    /// The closing handshake, as far as the peer plays along.
    async fn close(&mut self, socket: &mut Socket, end: &End, begun: Instant) {
        let soon = begun + LAST_WORDS.min(self.grace);
        self.pings = Pings::new(Duration::ZERO);
        match (&self.cause, end) {
            (None, End::Requested) => self.close_politely(socket, begun + self.grace).await,
            (None, _) => {}
            (Some(Cause { tell: Some(code), .. }), _) => {
                let _ = socket.start_close(*code);
                self.turn_until(socket, soon, |socket| !socket.is_sending()).await;
                let _ = tokio::time::timeout_at(soon.into(), socket.linger()).await;
            }
            // It closed, or is lost: answer, and read what is already there.
            (Some(_), _) => self.turn_until(socket, soon, |_| false).await,
        }
    }

    /// Send what is queued, then a Close, and wait for the peer's.
    async fn close_politely(&mut self, socket: &mut Socket, until: Instant) {
        // What was corked goes, too.
        let _ = self.shared.flush(self.shared.outbox());
        let shared = Arc::clone(&self.shared);
        let is_sent = |socket: &Socket| !socket.is_sending() && shared.outbox().is_done();
        self.turn_until(socket, until, is_sent).await;
        if self.cause.is_some() || !is_sent(socket) {
            return;
        }
        // What the library itself would send could only come behind the Close.
        self.shared.outbox().sink().close();
        if socket.start_close(NORMAL).is_ok() {
            self.turn_until(socket, until, |_| false).await;
        }
    }

    /// Go on until `is_done`, the peer has said its last, or `until` passes. A
    /// peer that has closed gets little time to close TCP, too.
    async fn turn_until(
        &mut self,
        socket: &mut Socket,
        mut until: Instant,
        is_done: impl Fn(&Socket) -> bool,
    ) {
        let mut has_closed = false;
        while Instant::now() < until && !is_done(socket) {
            let is_last = self.cause.as_ref().is_some_and(|cause| cause.is_last);
            if is_last && !socket.is_sending() {
                return;
            }
            if self.close_code.is_some() && !has_closed {
                has_closed = true;
                until = until.min(Instant::now() + LAST_WORDS);
            }
            self.step(socket, Some(until)).await;
        }
    }

    fn finish(mut self, end: &End) {
        let (status, text) = match end {
            End::Requested => (None, "the connection was closed".to_owned()),
            End::Abandoned => (Some(Code::Connect), "the dial was given up".to_owned()),
            End::Failed(error) => (Some(error.code()), error.text().to_owned()),
        };
        let closed = Closed {
            status,
            text: Text::new(text.as_bytes()),
            close_code: self.has_opened.then(|| self.close_code.unwrap_or(NO_CLOSE)),
            ..Closed::default()
        };
        let failed = match end {
            End::Failed(error) => Some(error.clone()),
            End::Requested | End::Abandoned => None,
        };
        self.is_finished = true;
        let shared = Arc::clone(&self.shared);
        shared.outbox().sink().close();
        drop(self);
        shared.finish(closed, failed);
    }
}

impl Drop for Driver {
    /// Reached unfinished only by a panic. Nobody may wait for ever.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        self.shared.break_off();
    }
}

/// RFC 6455, section 7.4.1, and the registry that it founded.
fn meaning(code: u16) -> &'static str {
    match code {
        1000 => " (normal)",
        1001 => " (going away)",
        1002 => " (protocol error)",
        1003 => " (unsupported data)",
        1007 => " (text that is not UTF-8)",
        1008 => " (policy violation)",
        1009 => " (message too big)",
        1010 => " (extension required)",
        1011 => " (internal error)",
        1012 => " (service restart)",
        1013 => " (try again later)",
        1014 => " (bad gateway)",
        _ => "",
    }
}
