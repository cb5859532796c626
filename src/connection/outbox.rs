//! What we send, under the connection's send lock.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Code, Error, Result};
use crate::message::Outgoing;
use crate::options::Options;
use crate::spare;
use crate::sys::Fd;
use crate::trace::Trace;
use crate::transport::stdio::{self, Rest};
#[cfg(feature = "websocket")]
use crate::transport::websocket;

/// The way out: limits, corking, and the transport's sink behind them.
pub struct Outbox {
    sink: Sink,
    max_message: usize,
    send_bytes: usize,
    cork: bool,
    /// Whether messages were collected since the last flush.
    is_corked: bool,
    /// Whether the runtime waits for the end of a write.
    is_awaited: bool,
    /// While a thread gives others time to add messages to its own, and writes all then:
    /// until when they do. It may not get to run for long.
    gathering: Option<Instant>,
    /// How many were added to the last one.
    added: usize,
    /// Where the next message is made.
    buffer: Vec<u8>,
    trace: Trace,
}

/// What becomes of a message.
pub enum Begun<'a> {
    /// It is kept, for others to write.
    Kept,
    /// It is to be written, and to be given back ([`Outbox::wrote`]).
    Writing(Writing<'a>),
    /// It is kept for a moment, in which `others` may add theirs, and then to be written
    /// ([`Outbox::end_gathering`]).
    Gathering { others: usize },
}

impl<'a> From<Option<Writing<'a>>> for Begun<'a> {
    fn from(writing: Option<Writing<'a>>) -> Self {
        writing.map_or(Self::Kept, Self::Writing)
    }
}

/// With each message that others add, a write and a wake-up of the server are saved.
/// That is worth so much time.
pub fn worth_of(added: usize) -> Duration {
    Duration::from_micros(20 * added as u64)
}

/// When a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    Now,
    /// Now, too, and whoever sends it waits for the answer.
    Awaited,
    /// The same, and with what others send in a moment: so many threads have their
    /// answers, and most likely call again.
    Together {
        others: usize,
    },
    /// With the next ones, where the host asked for that; otherwise now: most
    /// likely it is waited for in a moment.
    Alone,
    /// With the next ones, where the host asked for that, or where each one
    /// would cost much.
    Corked,
}

/// Where messages go.
pub enum Sink {
    /// The server's stdin: bytes, written by whoever sends.
    Pipe(stdio::Sink),
    /// Whole messages; over TLS for the runtime alone.
    #[cfg(feature = "websocket")]
    Messages(websocket::Queue),
}

/// Output on its way: the right to write, and what. It goes back to the outbox.
pub enum Writing<'a> {
    /// To the server's stdin.
    Pipe(stdio::Writing<'a>),
    /// To a plain WebSocket.
    #[cfg(feature = "websocket")]
    Messages(websocket::Writing),
}

impl Writing<'_> {
    /// Write as much as fits. Never blocks. How much a pipe took.
    #[inline(always)]
    pub fn write(&mut self) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(),
            #[cfg(feature = "websocket")]
            Self::Messages(messages) => {
                messages.write();
                Ok(0)
            }
        }
    }
}

/// Corked output goes at this size even without a flush.
const CORKED_MAX: usize = 64 * 1024;

/// A larger buffer is not kept for the next message.
const BUFFER_MAX: usize = 64 * 1024;

/// A larger message does not wait for others: it would have to be copied.
const GATHERED_MAX: usize = 4096;

/// What the library sends by itself may go this far over the host's limit;
/// then reading stops, so that the peer cannot make us owe it more.
const RESERVE: usize = 1 << 20;

impl Outbox {
    /// An outbox that sends to `sink`.
    pub fn new(sink: Sink, options: &Options, trace: Trace) -> Self {
        let Options { max_message, send_bytes, cork, .. } = *options;
        Self {
            sink,
            max_message,
            send_bytes,
            cork,
            is_corked: false,
            is_awaited: false,
            gathering: None,
            added: 0,
            buffer: Vec::new(),
            trace,
        }
    }

    /// A buffer to make a message in.
    pub fn buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// The message was sent, or will not be: its buffer is for the next one.
    pub fn recycle(&mut self, message: Outgoing<'_>) {
        let buffer = message.into_buffer();
        // A peer can make it as long as the id of a request.
        if buffer.capacity() <= BUFFER_MAX {
            self.buffer = buffer;
        } else {
            spare::keep(buffer);
        }
    }

    /// Check that a message of the host's may be sent now.
    pub fn check(&self, message: &Outgoing<'_>) -> Result<()> {
        let length = message.length();
        if length > self.max_message {
            return Err(too_big("LEASH_OPT_MAX_MESSAGE", self.max_message));
        }
        if length > self.send_bytes {
            return Err(too_big("LEASH_OPT_SEND_BYTES", self.send_bytes));
        }
        if self.sink.unsent() + length > self.send_bytes {
            return Err(Error::new(
                Code::Full,
                "the send buffer is full: the server does not read as fast as you send",
            ));
        }
        Ok(())
    }

    /// Begin to send a message, behind what was sent before it. It is in these `parts`.
    pub fn send<'a>(
        &mut self,
        message: &Outgoing<'_>,
        parts: &'a [&'a [u8]; 3],
        haste: Haste,
    ) -> Result<Begun<'a>> {
        self.trace.sent(message);
        if let Some(until) = self.gathering {
            // Who does not wait for an answer does not wait for others either.
            let is_call = matches!(haste, Haste::Awaited | Haste::Together { .. });
            let joins = is_call && Instant::now() < until;
            self.sink.hold(message)?;
            self.added += 1;
            return Ok(if joins { Begun::Kept } else { self.end_gathering().1.into() });
        }
        if let Haste::Together { others } = haste
            && self.sink.unsent() == 0
            && message.length() <= GATHERED_MAX
        {
            self.sink.hold(message)?;
            self.gathering = Some(Instant::now() + worth_of(others));
            self.added = 0;
            return Ok(Begun::Gathering { others });
        }
        let may_wait = self.cork && matches!(haste, Haste::Alone | Haste::Corked);
        if !may_wait && !self.is_corked {
            if haste == Haste::Corked && self.sink.is_dear() {
                return self.sink.hold(message).map(|()| Begun::Kept);
            }
            return Ok(self.sink.send(message, parts)?.into());
        }
        self.sink.hold(message)?;
        self.is_corked = may_wait && self.sink.unsent() < CORKED_MAX;
        Ok(self.resume().into())
    }

    /// Begin to write what was gathered, unless that has happened, and how many messages
    /// others have added to it.
    pub fn end_gathering(&mut self) -> (usize, Option<Writing<'static>>) {
        self.gathering = None;
        (self.added, self.resume())
    }

    /// Begin to send a message that stays with the caller, who writes it
    /// ([`Rest::write`]) and gives it back ([`Outbox::end`]). `None`: something
    /// else was sent before it.
    pub fn lend(&mut self, message: &Outgoing<'_>) -> Result<Option<Rest>> {
        let Some(pipe) = self.sink.pipe() else { return Ok(None) };
        let rest = pipe.lend(message.parts())?;
        if rest.is_some() {
            self.trace.sent(message);
        }
        Ok(rest)
    }

    /// Begin to send what was corked.
    pub fn flush(&mut self) -> Result<Option<Writing<'static>>> {
        self.is_corked = false;
        self.gathering = None;
        self.sink.flush()
    }

    /// Begin to write what is kept and not corked.
    pub fn resume(&mut self) -> Option<Writing<'static>> {
        if self.is_corked || self.gathering.is_some() { None } else { self.sink.resume() }
    }

    /// Take back what was being written. Whether all of it went.
    #[inline(always)]
    pub fn wrote(&mut self, writing: Writing<'_>, written: io::Result<usize>) -> Result<bool> {
        self.sink.wrote(writing, written)
    }

    /// Some of the rest of a message was written.
    pub fn wrote_some(&mut self, n: usize) {
        if let Some(pipe) = self.sink.pipe() {
            pipe.wrote_some(n);
        }
    }

    /// Take back the rest of `message`.
    pub fn end(&mut self, rest: Rest, message: &Outgoing<'_>) {
        if let Some(pipe) = self.sink.pipe() {
            pipe.end(rest, message.parts());
        }
    }

    /// Whether somebody writes, or will in a moment.
    fn is_writing(&self) -> bool {
        self.gathering.is_some() || self.sink.is_writing()
    }

    /// Whether some output waits for room, and not for a flush or for whoever
    /// is writing.
    pub fn is_waiting(&self) -> bool {
        self.sink.unsent() > 0 && !self.is_corked && !self.is_writing()
    }

    /// Whether all has been written; if not, whoever writes shall tell the
    /// runtime when it is done.
    pub fn is_done(&mut self) -> bool {
        self.is_awaited = self.is_writing();
        self.sink.unsent() == 0
    }

    /// Whether the runtime has to see to what is left.
    pub fn is_runtimes(&mut self) -> bool {
        let is_done = !self.is_writing() && std::mem::take(&mut self.is_awaited);
        is_done || self.is_waiting() || !self.sink.is_open()
    }

    /// Whether some output waits for a flush.
    pub fn is_corked(&self) -> bool {
        self.is_corked
    }

    /// Whether even the library's own reserve is used up.
    pub fn is_overdrawn(&self) -> bool {
        self.sink.unsent() > self.send_bytes.saturating_add(RESERVE)
    }

    /// The sink behind it.
    pub fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }
}

impl Sink {
    #[cfg_attr(not(feature = "websocket"), expect(unused_variables))]
    fn send<'a>(
        &mut self,
        message: &Outgoing<'_>,
        parts: &'a [&'a [u8]; 3],
    ) -> Result<Option<Writing<'a>>> {
        match self {
            Self::Pipe(pipe) => Ok(pipe.send(parts)?.map(Writing::Pipe)),
            #[cfg(feature = "websocket")]
            Self::Messages(queue) => Ok(queue.send(&message.unframed())?.map(Writing::Messages)),
        }
    }

    // Not inlined: it is much, and in four places.
    #[inline(never)]
    fn hold(&mut self, message: &Outgoing<'_>) -> Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.hold(message.parts()),
            #[cfg(feature = "websocket")]
            Self::Messages(queue) => queue.push(&message.unframed()),
        }
    }

    fn flush(&mut self) -> Result<Option<Writing<'static>>> {
        match self {
            Self::Pipe(pipe) => Ok(pipe.flush()?.map(Writing::Pipe)),
            #[cfg(feature = "websocket")]
            Self::Messages(_) => Ok(self.resume()),
        }
    }

    fn resume(&mut self) -> Option<Writing<'static>> {
        match self {
            Self::Pipe(pipe) => pipe.resume().map(Writing::Pipe),
            #[cfg(feature = "websocket")]
            Self::Messages(queue) => queue.resume().map(Writing::Messages),
        }
    }

    #[inline(always)]
    fn wrote(&mut self, writing: Writing<'_>, written: io::Result<usize>) -> Result<bool> {
        match (self, writing) {
            (Self::Pipe(pipe), Writing::Pipe(writing)) => pipe.wrote(writing, written),
            #[cfg(feature = "websocket")]
            (Self::Messages(queue), Writing::Messages(writing)) => queue.wrote(writing),
            // A sink takes back what it gave.
            #[cfg(feature = "websocket")]
            _ => Ok(true),
        }
    }

    fn is_writing(&self) -> bool {
        match self {
            Self::Pipe(pipe) => pipe.is_writing(),
            #[cfg(feature = "websocket")]
            Self::Messages(queue) => queue.is_writing(),
        }
    }

    /// Whether each write costs so much that the runtime had better gather
    /// messages that nobody waits for.
    fn is_dear(&self) -> bool {
        match self {
            Self::Pipe(_) => false,
            #[cfg(feature = "websocket")]
            Self::Messages(_) => true,
        }
    }

    fn unsent(&self) -> usize {
        match self {
            Self::Pipe(pipe) => pipe.unsent(),
            #[cfg(feature = "websocket")]
            Self::Messages(queue) => queue.unsent(),
        }
    }

    /// Whether the server still takes messages, as far as is known.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Pipe(pipe) => pipe.is_open(),
            #[cfg(feature = "websocket")]
            Self::Messages(queue) => queue.is_open(),
        }
    }

    /// The descriptor of a pipe, to learn when there is room again. It must be
    /// given back (dropped) for stdin to close.
    pub fn descriptor(&self) -> Option<Arc<Fd>> {
        match self {
            Self::Pipe(pipe) => pipe.descriptor(),
            #[cfg(feature = "websocket")]
            Self::Messages(_) => None,
        }
    }

    /// Send no more; what was not sent is gone.
    pub fn close(&mut self) {
        match self {
            Self::Pipe(pipe) => pipe.close(),
            #[cfg(feature = "websocket")]
            Self::Messages(queue) => queue.close(),
        }
    }

    fn pipe(&mut self) -> Option<&mut stdio::Sink> {
        match self {
            Self::Pipe(pipe) => Some(pipe),
            #[cfg(feature = "websocket")]
            Self::Messages(_) => None,
        }
    }

    /// The messages, if there are such.
    #[cfg(feature = "websocket")]
    pub fn messages(&mut self) -> Option<&mut websocket::Queue> {
        match self {
            Self::Pipe(_) => None,
            Self::Messages(queue) => Some(queue),
        }
    }
}

fn too_big(limit: &str, bytes: usize) -> Error {
    Error::new(Code::TooBig, format!("the message is over {limit} ({bytes} bytes)"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::message::Protocol;

    fn outbox() -> (Outbox, io::PipeReader) {
        let (server, stdin) = io::pipe().unwrap();
        let sink = Sink::Pipe(stdio::Sink::new(Fd::from(OwnedFd::from(stdin))));
        let options = Options { cork: true, ..Options::default() };
        (Outbox::new(sink, &options, Trace::default()), server)
    }

    fn notification(method: &str) -> Outgoing<'static> {
        Outgoing::notification(Vec::new(), Protocol::default(), method, None)
    }

    fn send(outbox: &mut Outbox, method: &str, haste: Haste) -> &'static str {
        let message = notification(method);
        match outbox.send(&message, &message.parts(), haste).unwrap() {
            Begun::Kept => "kept",
            Begun::Gathering { .. } => "gathering",
            Begun::Writing(mut writing) => {
                let written = writing.write();
                outbox.wrote(writing, written).unwrap();
                "written"
            }
        }
    }

    /// Whatever else is asked of the outbox meanwhile: nothing goes, and the runtime
    /// hears of it only when it waits for that.
    #[test]
    fn what_others_send_goes_with_what_gathers_and_in_order() {
        let (mut outbox, mut server) = outbox();
        let together = Haste::Together { others: 100_000 };
        assert_eq!(send(&mut outbox, "first", together), "gathering");
        assert_eq!(send(&mut outbox, "second", together), "kept");
        assert_eq!(send(&mut outbox, "third", Haste::Awaited), "kept");
        assert!(outbox.lend(&notification("large")).unwrap().is_none());
        assert!(outbox.resume().is_none());
        assert!(!outbox.is_waiting() && !outbox.is_runtimes() && !outbox.is_done());

        let (added, writing) = outbox.end_gathering();
        let mut writing = writing.unwrap();
        let written = writing.write();
        assert!(outbox.wrote(writing, written).unwrap());
        assert!(added == 2 && outbox.is_runtimes() && outbox.is_done());
        drop(outbox);
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        let at = ["first", "second", "third"].map(|method| text.find(method).unwrap());
        assert!(at.is_sorted() && text.lines().count() == 3, "{text}");
    }

    #[test]
    fn others_write_what_gathers_when_it_is_time() {
        type Case = (usize, fn(&mut Outbox) -> &'static str);
        let flush = |outbox: &mut Outbox| outbox.flush().unwrap().map_or("kept", |_| "written");
        let cases: [Case; 4] = [
            (2, |outbox| {
                let until = Instant::now() + worth_of(2);
                while Instant::now() < until {}
                send(outbox, "second", Haste::Awaited)
            }),
            (100_000, |outbox| send(outbox, "second", Haste::Now)),
            (100_000, |outbox| send(outbox, "second", Haste::Corked)),
            (100_000, flush),
        ];
        for (others, end) in cases {
            let (mut outbox, _server) = outbox();
            assert_eq!(send(&mut outbox, "first", Haste::Together { others }), "gathering");
            assert_eq!(end(&mut outbox), "written");
            assert!(outbox.end_gathering().1.is_none());
        }
    }
}
