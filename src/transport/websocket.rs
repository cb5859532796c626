//! A WebSocket: whole messages in and out (RFC 6455, by tungstenite).

mod direct;
mod plain;
mod queue;
mod stream;
mod target;
mod tcp;
mod tls;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_util::{Sink as _, Stream as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Bytes, Message, Utf8Bytes};

use crate::error::{Code, Error, Result};
use crate::framing::Piece;
use crate::sys::Fd;
use stream::Stream;

pub use plain::{Plain, Reader, Writing};
pub use queue::Queue;
pub use target::{Progress, Target};
pub use tls::Trust;

/// A longer message goes in fragments: many servers take no longer frame.
const FRAME_MAX: usize = 16 << 20;

/// The fragments of such a message have this size. They are copied once more
/// on their way, so that smaller is cheaper.
const FRAGMENT: usize = 1 << 20;

/// Messages are collected up to this size before they are flushed.
const BATCH: usize = 64 * 1024;

/// tungstenite clears its read buffer before each read: a large one costs more
/// than the reads it saves.
const READ_BUFFER: usize = 8 * 1024;

/// Room for what tungstenite sends by itself, behind a frame that is stuck.
/// Then it drops pongs: a peer that reads nothing gets none.
const CONTROL_MAX: usize = 256 * 1024;

/// While the runtime does not watch a socket: so many pings and pongs at a time.
const CONTROLS: u32 = 64;

/// An open WebSocket. Needs the runtime's context, unless it has left it.
pub struct Socket {
    web: WebSocketStream<Stream>,
    /// The rest of a message that goes in fragments.
    rest: Option<(Bytes, Data)>,
    /// How much was given to `web` since the last flush.
    batch: usize,
    /// Whether something was given to `web` that is not flushed yet.
    is_sending: bool,
    /// Bytes of all messages that were started, and of those that were sent.
    started: u64,
    sent: u64,
    has_broken_off: bool,
    reads_next: bool,
    limits: Limits,
}

/// What a message may be, coming in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    message: usize,
    /// What memory could be had for one frame.
    frame: usize,
}

/// What kind of data a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl Opcode {
    /// A message as it is taken in: JSON is text.
    pub fn piece(self, bytes: Vec<u8>) -> Piece<'static> {
        match self {
            Self::Text => Piece::Message(bytes.into()),
            Self::Binary => Piece::Noise(bytes.into()),
        }
    }
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Data(Opcode, Vec<u8>),
    /// An answer to [`Socket::start_ping`], or an unasked one.
    Pong,
    /// The peer closes, with this code. What it sends after that is ignored.
    Close(Option<u16>),
}

/// What happened.
#[derive(Debug)]
pub enum Turn {
    /// All that was started has been handed to the kernel.
    Sent,
    /// Something came in.
    Received(Incoming),
    /// Nothing will come in any more.
    Ended(Ending),
}

/// What [`Socket::receive_now`] found.
#[derive(Debug)]
pub enum Received {
    /// Something came in.
    Turn(Turn),
    /// Pings or pongs, and there may be more of something.
    Some,
    /// Nothing that is whole.
    Nothing,
}

/// How the stream of messages ended.
#[derive(Debug)]
pub enum Ending {
    /// After a Close of the peer.
    Closed,
    /// Without one: the peer closed its side of the TCP connection.
    Eof,
    /// The TCP connection broke.
    Lost(io::Error),
    /// What follows cannot be read: why, and the close code that says so.
    Broken(Error, u16),
}

impl Limits {
    /// Messages up to `max` bytes, as far as there is memory. tungstenite
    /// reserves the whole frame when it has seen the length, and a length that
    /// cannot be had would end the process.
    pub fn new(max: usize) -> Self {
        let mut frame = max;
        while frame > FRAME_MAX && Vec::<u8>::new().try_reserve_exact(frame).is_err() {
            frame /= 2;
        }
        Self { message: max, frame }
    }

    fn config(self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(self.message))
            .max_frame_size(Some(self.frame))
            .max_write_buffer_size(FRAME_MAX + BATCH + CONTROL_MAX)
    }
}

impl Socket {
    fn new(mut web: WebSocketStream<Stream>, limits: Limits) -> Self {
        web.get_mut().accepted();
        Self {
            web,
            rest: None,
            batch: 0,
            is_sending: false,
            started: 0,
            sent: 0,
            has_broken_off: false,
            reads_next: false,
            limits,
        }
    }

    /// Whether another message may be started before the last ones are sent.
    pub fn takes_more(&self) -> bool {
        self.rest.is_none() && self.batch < BATCH && !self.has_broken_off
    }

    /// Whether something was started that is not sent yet.
    pub fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// Start to send a message; [`Socket::poll`] goes on with it. Only while
    /// [`Socket::takes_more`].
    pub fn start(&mut self, opcode: Opcode, payload: Vec<u8>) -> io::Result<()> {
        debug_assert!(self.takes_more());
        self.started += payload.len() as u64;
        let payload = Bytes::from(payload);
        let data = match opcode {
            Opcode::Text => Data::Text,
            Opcode::Binary => Data::Binary,
        };
        if payload.len() > FRAME_MAX {
            self.is_sending = true;
            self.rest = Some((payload, data));
            return Ok(());
        }
        self.give(Message::Frame(Frame::message(payload, OpCode::Data(data), true)))
    }

    /// Start to send a ping.
    pub fn start_ping(&mut self) -> io::Result<()> {
        self.give(Message::Ping(Bytes::new()))
    }

    /// Start to close. Nothing can be sent after it.
    pub fn start_close(&mut self, code: u16) -> io::Result<()> {
        self.rest = None;
        let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::default() };
        self.give(Message::Close(Some(frame)))
    }

    /// Send no more: the peer does not take it.
    pub fn break_off(&mut self) {
        self.has_broken_off = true;
        self.is_sending = false;
        self.rest = None;
    }

    /// How many bytes of messages the kernel has, since the beginning.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many bytes the peer has sent: a sign of life also in the middle of
    /// a frame.
    pub fn bytes_read(&self) -> u64 {
        self.web.get_ref().bytes_read()
    }

    /// How many bytes the kernel has taken: while something waits to be sent,
    /// this grows if the peer reads.
    pub fn bytes_written(&self) -> u64 {
        self.web.get_ref().bytes_written()
    }

    /// Send what was started, and receive if `may_read`. An error is one of
    /// sending; there may still be something to receive.
    pub fn poll(&mut self, cx: &mut Context<'_>, may_read: bool) -> Poll<io::Result<Turn>> {
        // A flood in one direction must not hold up the other.
        self.reads_next = !self.reads_next;
        if may_read
            && self.reads_next
            && let Poll::Ready(turn) = self.poll_receive(cx)
        {
            return Poll::Ready(Ok(turn));
        }
        if self.is_sending
            && let Poll::Ready(sent) = self.poll_send(cx)
        {
            return Poll::Ready(sent.map(|()| Turn::Sent));
        }
        if may_read && !self.reads_next {
            return self.poll_receive(cx).map(Ok);
        }
        Poll::Pending
    }

    /// Read and forget until the peer closes its side, so that the last frame
    /// is not lost to a reset.
    pub async fn linger(&mut self) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let stream = self.web.get_mut();
        let _ = stream.shutdown().await;
        let mut buffer = vec![0; READ_BUFFER];
        while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
    }

    /// Let the runtime watch it no more: from now on it is sent and received by
    /// [`Socket::send_now`] and [`Socket::receive_now`]. Its descriptor; `None`:
    /// it stays as it is, being TLS, or broken.
    pub fn leave_runtime(&mut self) -> Option<Arc<Fd>> {
        self.web.get_mut().leave_runtime()
    }

    /// Let the runtime watch it again. Needs its context.
    pub fn join_runtime(&mut self) -> io::Result<()> {
        self.web.get_mut().join_runtime()
    }

    /// Send what was started, of a message in fragments the next one. Whether
    /// there was room for that.
    pub fn send_now(&mut self) -> io::Result<bool> {
        let cx = &mut Context::from_waker(Waker::noop());
        for _ in 0..2 {
            if !self.is_sending {
                return Ok(!self.has_broken_off);
            }
            match self.poll_portion(cx) {
                Poll::Ready(portion) => drop(portion?),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Receive the next message with so many reads at most, or none. Answers to
    /// pings that do not fit are left to be sent.
    pub fn receive_now(&mut self, reads: u32) -> Received {
        let cx = &mut Context::from_waker(Waker::noop());
        self.web.get_mut().allow(reads);
        for _ in 0..CONTROLS {
            match self.poll_frame(cx) {
                Poll::Ready(None | Some(Turn::Received(Incoming::Pong))) => {}
                Poll::Ready(Some(turn)) => return Received::Turn(turn),
                Poll::Pending => return Received::Nothing,
            }
        }
        Received::Some
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while ready!(self.poll_portion(cx))? {}
        Poll::Ready(Ok(()))
    }

    /// Send what was given to `web`, and give it the next fragment, if there is
    /// one: whether.
    fn poll_portion(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // When this is done, tungstenite's buffer is empty.
        ready!(Pin::new(&mut self.web).poll_flush(cx)).map_err(send_error)?;
        self.batch = 0;
        let Some(frame) = self.next_fragment() else {
            self.is_sending = false;
            self.sent = self.started;
            return Poll::Ready(Ok(false));
        };
        self.give(Message::Frame(frame))?;
        Poll::Ready(Ok(true))
    }

    fn next_fragment(&mut self) -> Option<Frame> {
        let (mut payload, data) = self.rest.take()?;
        let is_last = payload.len() <= FRAGMENT;
        let fragment = payload.split_to(payload.len().min(FRAGMENT));
        if !is_last {
            self.rest = Some((payload, Data::Continue));
        }
        Some(Frame::message(fragment, OpCode::Data(data), is_last))
    }

    fn give(&mut self, message: Message) -> io::Result<()> {
        self.batch += message.len();
        self.is_sending = true;
        Pin::new(&mut self.web).start_send(message).map_err(send_error)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        loop {
            if let Some(turn) = ready!(self.poll_frame(cx)) {
                return Poll::Ready(turn);
            }
        }
    }

    /// What the next frame brings; nothing, if it is a ping.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Turn>> {
        let incoming = match ready!(Pin::new(&mut self.web).poll_next(cx)) {
            Some(Ok(Message::Text(text))) => self.data(Opcode::Text, text.into()),
            Some(Ok(Message::Binary(bytes))) => self.data(Opcode::Binary, bytes),
            Some(Ok(Message::Pong(_))) => Ok(Incoming::Pong),
            Some(Ok(Message::Close(frame))) => {
                // tungstenite has its answer ready.
                self.is_sending = !self.has_broken_off;
                Ok(Incoming::Close(frame.map(|frame| frame.code.into())))
            }
            // The pong is on its way; frames are not given out.
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => {
                self.is_sending = !self.has_broken_off;
                return Poll::Ready(None);
            }
            Some(Err(e)) => return Poll::Ready(Some(Turn::Ended(self.ending(e)))),
            None => return Poll::Ready(Some(Turn::Ended(Ending::Closed))),
        };
        Poll::Ready(Some(match incoming {
            Ok(incoming) => Turn::Received(incoming),
            Err(error) => Turn::Ended(Ending::Broken(error, CLOSE_TOO_BIG)),
        }))
    }

    fn data(&self, opcode: Opcode, bytes: Bytes) -> Result<Incoming> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(bytes.len()).map_err(|_| no_memory())?;
        copy.extend_from_slice(&bytes);
        Ok(Incoming::Data(opcode, copy))
    }

    fn ending(&self, e: tungstenite::Error) -> Ending {
        use tungstenite::error::{CapacityError, ProtocolError};
        match e {
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
                Ending::Closed
            }
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Ending::Eof
            }
            // It has closed; what comes after that does not matter.
            tungstenite::Error::Protocol(ProtocolError::ReceivedAfterClosing) => Ending::Closed,
            tungstenite::Error::Io(e) => Ending::Lost(e),
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
                let error = match size <= self.limits.message {
                    true => no_memory(),
                    false => too_big(self.limits.message),
                };
                Ending::Broken(error, CLOSE_TOO_BIG)
            }
            // Its text has the bytes in it.
            tungstenite::Error::Utf8(_) => {
                Ending::Broken(violation("text that is not UTF-8"), CLOSE_NOT_UTF8)
            }
            tungstenite::Error::Protocol(e) => {
                Ending::Broken(violation(&e.to_string()), CLOSE_PROTOCOL)
            }
            _ => Ending::Broken(violation("an unexpected state"), CLOSE_PROTOCOL),
        }
    }
}

/// RFC 6455, section 7.4.1.
const CLOSE_PROTOCOL: u16 = 1002;
const CLOSE_NOT_UTF8: u16 = 1007;
const CLOSE_TOO_BIG: u16 = 1009;

fn violation(what: &str) -> Error {
    Error::new(Code::Protocol, format!("the server broke the WebSocket protocol: {what}"))
}

fn too_big(max: usize) -> Error {
    Error::new(
        Code::TooBig,
        format!("the server sent a message over LEASH_OPT_MAX_MESSAGE ({max} bytes)"),
    )
}

fn no_memory() -> Error {
    Error::new(Code::NoMemory, "no memory for a message of the server")
}

fn send_error(e: tungstenite::Error) -> io::Error {
    match e {
        tungstenite::Error::Io(e) => e,
        _ => io::ErrorKind::BrokenPipe.into(),
    }
}
