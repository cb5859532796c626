//! A plain WebSocket in many hands: threads that send, the one that reads, and
//! the runtime take it in turn.
//!
//! Its lock is held across system calls, but only such as never wait, and with
//! no other lock of the connection.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Incoming, Opcode, Received, Socket, Turn};
use crate::framing::Piece;
use crate::sys::Fd;
use crate::trace::Trace;
use crate::transport::stdio::Filled;

/// One who reads has so many reads at a time, of up to 8 KB each: enough for
/// large messages to be quick, few enough for deadlines and for those who send.
const READS: u32 = 32;

/// The socket, until the runtime takes it for itself.
pub struct Plain(Mutex<Held>);

struct Held {
    socket: Option<Socket>,
    /// What was received and not given out: a message, or what ends reading.
    ahead: Option<Turn>,
    /// Why nothing can be sent any more.
    failure: Option<io::Error>,
}

impl Plain {
    /// Share `socket`, whose bytes can be read at `fd` from now on.
    /// `Err`: it cannot be shared, and is the runtime's.
    pub fn share(mut socket: Socket, trace: Trace) -> Result<(Arc<Self>, Reader), Box<Socket>> {
        let Some(fd) = socket.leave_runtime() else { return Err(Box::new(socket)) };
        let held = Held { socket: Some(socket), ahead: None, failure: None };
        let plain = Arc::new(Self(Mutex::new(held)));
        // Messages may have come along with the answer to the upgrade.
        let reader = Reader {
            plain: Arc::clone(&plain),
            fd,
            may_hold: true,
            is_over: false,
            has_left_work: false,
            trace,
        };
        Ok((plain, reader))
    }

    /// Take the socket for the runtime alone, and what was received ahead. Only
    /// with the right to read; whoever sends leaves the rest to the queue.
    pub fn take(&self) -> Option<(Socket, Option<Turn>)> {
        let mut held = self.lock();
        Some((held.socket.take()?, held.ahead.take()))
    }

    /// Look at the socket, unless it was taken.
    pub fn look<T>(&self, look: impl FnOnce(&Socket) -> T) -> Option<T> {
        self.lock().socket.as_ref().map(look)
    }

    /// Whether something was started that is not sent yet.
    pub fn is_sending(&self) -> bool {
        self.look(Socket::is_sending).unwrap_or(false)
    }

    /// Go on with what was started. Whether there was room for it.
    pub fn flush(&self) -> bool {
        let mut held = self.lock();
        !held.is_sending() || held.send()
    }

    /// Send a ping, or leave it to the runtime.
    pub fn ping(&self) {
        let mut held = self.lock();
        let Some(socket) = &mut held.socket else { return };
        match socket.start_ping() {
            Ok(()) => drop(held.send()),
            Err(e) => held.fail(e),
        }
    }

    /// Why sending has failed, if it has; once.
    pub fn take_failure(&self) -> Option<io::Error> {
        self.lock().failure.take()
    }

    /// Whoever panics with it ends the connection.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_sending(&self) -> bool {
        self.socket.as_ref().is_some_and(Socket::is_sending)
    }

    /// Send some of what was started. Whether there was room for that.
    fn send(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        socket.send_now().unwrap_or_else(|e| {
            self.fail(e);
            false
        })
    }

    fn fail(&mut self, e: io::Error) {
        self.socket.iter_mut().for_each(Socket::break_off);
        self.failure.get_or_insert(e);
    }

    /// Receive something, unless it is there already.
    fn receive(&mut self, reads: u32) -> Filled {
        if self.ahead.is_none() {
            let Some(socket) = &mut self.socket else { return Filled::End };
            let before = socket.bytes_read();
            match socket.receive_now(reads) {
                Received::Turn(turn) => self.ahead = Some(turn),
                Received::Some => return Filled::Some(1),
                Received::Nothing => {
                    let n = (socket.bytes_read() - before) as usize;
                    return if n > 0 { Filled::Some(n) } else { Filled::Nothing };
                }
            }
        }
        match &self.ahead {
            Some(Turn::Received(Incoming::Data(_, bytes))) => Filled::Some(bytes.len().max(1)),
            _ => Filled::End,
        }
    }
}

/// The way in, for whoever has the right to read.
pub struct Reader {
    plain: Arc<Plain>,
    fd: Arc<Fd>,
    /// Whether a whole message may be among what was read.
    may_hold: bool,
    is_over: bool,
    has_left_work: bool,
    trace: Trace,
}

impl Reader {
    /// The descriptor, to be told when there is more.
    pub fn descriptor(&self) -> Arc<Fd> {
        Arc::clone(&self.fd)
    }

    /// Read what is there, up to one portion. [`Filled::End`]: there will be no
    /// message any more, and the runtime is to see why.
    pub fn fill(&mut self) -> Filled {
        let filled = self.receive(READS);
        self.may_hold |= matches!(filled, Filled::Some(_));
        filled
    }

    /// The next message that has been read whole.
    pub fn next_piece(&mut self) -> Option<Piece<'static>> {
        while self.may_hold {
            // Without a system call, unless there is a ping to answer.
            self.may_hold = matches!(self.receive(0), Filled::Some(_));
            if let Some(piece) = self.take_piece() {
                self.trace.received(&piece);
                return Some(piece);
            }
        }
        None
    }

    /// Whether a whole message may be among what was read.
    pub fn may_hold(&self) -> bool {
        self.may_hold
    }

    /// Whether the last message has been given out.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether an answer to a ping did not fit, or nothing can be sent, since
    /// this was last asked.
    pub fn has_left_work(&mut self) -> bool {
        std::mem::take(&mut self.has_left_work)
    }

    fn receive(&mut self, reads: u32) -> Filled {
        let mut held = self.plain.lock();
        let was_sending = held.is_sending();
        let filled = held.receive(reads);
        // What was left before has its runtime already.
        if !was_sending && held.is_sending() {
            self.has_left_work |= !held.send();
        }
        self.is_over |= filled == Filled::End;
        filled
    }

    fn take_piece(&mut self) -> Option<Piece<'static>> {
        let ahead = &mut self.plain.lock().ahead;
        match ahead.take() {
            Some(Turn::Received(Incoming::Data(opcode, bytes))) => Some(opcode.piece(bytes)),
            // What ends reading is the runtime's.
            end => {
                *ahead = end;
                None
            }
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The right to send, and what to send. It goes back to the queue
/// ([`super::Queue::wrote`]).
pub struct Writing {
    plain: Arc<Plain>,
    /// What has not been started.
    pub(super) rest: VecDeque<Vec<u8>>,
    /// How many bytes of messages the kernel has, since the beginning.
    pub(super) sent: u64,
    /// Whether there was room.
    pub(super) had_room: bool,
}

impl Writing {
    pub(super) fn new(plain: Arc<Plain>, messages: VecDeque<Vec<u8>>) -> Self {
        Self { plain, rest: messages, sent: 0, had_room: false }
    }

    /// Send some of it, in one write if the kernel takes it. Never blocks.
    pub fn write(&mut self) {
        // A bug must not leave others waiting for the end of this.
        if catch_unwind(AssertUnwindSafe(|| self.send())).is_err() {
            self.plain.lock().fail(io::Error::other("a bug in libleash"));
            self.had_room = false;
        }
    }

    fn send(&mut self) {
        let mut held = self.plain.lock();
        while let Some(socket) = held.socket.as_mut().filter(|socket| socket.takes_more()) {
            let Some(message) = self.rest.pop_front() else { break };
            if let Err(e) = socket.start(Opcode::Text, message) {
                held.fail(e);
            }
        }
        self.had_room = held.send();
        self.sent = held.socket.as_ref().map_or(0, Socket::sent);
    }
}
