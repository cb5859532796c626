//! A plain WebSocket while it is open: threads of the host send and receive by
//! themselves, and the runtime steps in where none does, where something does
//! not fit, and for pings. In the end it takes the socket for itself.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::Interest;

use super::{Cause, Driver, LAST_WORDS, no_descriptor};
use crate::connection::drive::{at, has_room};
use crate::connection::handover::StreamEnd;
use crate::connection::lead::Input;
use crate::runtime;
use crate::sys::io::{Woken, wait_readable};
use crate::sys::{self, Fd, Watched};
use crate::transport::stdio::Filled;
use crate::transport::websocket::{Plain, Reader, Socket};

/// The socket, and the runtime's part in it.
struct Part {
    plain: Arc<Plain>,
    fd: Arc<Fd>,
    /// Set while something waits to be sent.
    room: Option<Watched>,
    /// Why nothing can be sent any more.
    failure: Option<io::Error>,
}

/// What woke the runtime.
enum Happening {
    Kicked,
    Time,
    Room,
    Ping,
}

impl Driver {
    /// See the connection to where its end begins: the socket, if it could be
    /// had back, and when that was.
    pub(super) async fn see_shared(
        &mut self,
        plain: Arc<Plain>,
        reader: Reader,
    ) -> (Option<Socket>, Instant) {
        let fd = reader.descriptor();
        let registered = runtime::get().and_then(|runtime| {
            let source = Arc::downgrade(&self.shared);
            let interest = runtime.register(Arc::clone(&fd), source as _);
            interest.map_err(|e| no_descriptor(&e))
        });
        match registered {
            Ok(interest) => self.shared.state().reading.begin(Input::new(reader, interest)),
            Err(error) => {
                self.cause = Some(Cause { error, tell: None, is_last: true });
                return (None, Instant::now());
            }
        }
        if let Some(queue) = self.shared.outbox().sink().messages() {
            queue.share(Arc::clone(&plain));
        }
        self.has_opened = true;
        self.shared.opened(None);
        let mut part = Part { plain, fd, room: None, failure: None };
        while !self.is_ending(&mut part) {
            self.step_shared(&mut part).await;
        }
        let begun = Instant::now();
        (self.take_back(part, begun).await, begun)
    }

    fn is_ending(&mut self, part: &mut Part) -> bool {
        part.failure = part.failure.take().or_else(|| part.plain.take_failure());
        let has_read_all = self.shared.state().reading.end().is_some();
        self.cause.is_some() || part.failure.is_some() || has_read_all || self.is_closing()
    }

    /// Wait for the next thing to happen, and deal with it.
    async fn step_shared(&mut self, part: &mut Part) {
        self.watch_room(part);
        match self.next_shared(part).await {
            Happening::Kicked | Happening::Time => self.shared.expire(Instant::now()),
            Happening::Room => self.write(part),
            Happening::Ping => self.ping_shared(part),
        }
        self.shared.read_for_runtime();
    }

    async fn next_shared(&mut self, part: &Part) -> Happening {
        let ping = if self.shared.may_read() {
            part.plain.look(|socket| self.pings.due(socket)).flatten()
        } else {
            self.pings.stop();
            None
        };
        let deadline = self.shared.state().next_deadline();
        tokio::select! {
            biased;
            () = self.shared.driver.notified() => Happening::Kicked,
            () = at(deadline) => Happening::Time,
            () = has_room(&part.room) => Happening::Room,
            () = at(ping) => Happening::Ping,
        }
    }

    /// Wait for room exactly while something waits for it: it comes and goes
    /// with each message that the peer reads.
    fn watch_room(&mut self, part: &mut Part) {
        if part.room.is_none() && self.shared.outbox().is_waiting() {
            // Most likely there is room.
            self.shared.resume();
            self.shared.update(|state| self.shared.pass_on(state));
        }
        let is_waiting = self.shared.outbox().is_waiting();
        match (&part.room, is_waiting || part.plain.is_sending()) {
            (None, true) => match sys::watch(Arc::clone(&part.fd), Interest::WRITABLE) {
                Ok(room) => part.room = Some(room),
                Err(e) => part.failure = Some(e),
            },
            (Some(_), false) => part.room = None,
            _ => {}
        }
    }

    fn write(&self, part: &Part) {
        let Some(room) = &part.room else { return };
        // They write by themselves; this only keeps the readiness true.
        let _ = room.try_io(Interest::WRITABLE, |_| {
            let is_full = self.shared.resume() || !part.plain.flush();
            if is_full { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        // A peer that has read may have made us free to do so, too.
        self.shared.update(|state| self.shared.pass_on(state));
    }

    fn ping_shared(&mut self, part: &Part) {
        if !self.shared.may_read() {
            return;
        }
        // Nobody told of what was read meanwhile.
        part.plain.look(|socket| self.pings.due(socket));
        if self.pings.is_missing() {
            if !is_readable(&part.fd) {
                return self.missed_pings();
            }
            self.pings.answered();
        }
        self.pinging();
        part.plain.ping();
    }

    /// The end begins: from here on nobody else reads or writes.
    ///
    /// `None`: a thread that was told to give back the right to read has not
    /// run since then, so that the order of messages could not be kept; or the
    /// runtime cannot watch the socket.
    async fn take_back(&mut self, part: Part, begun: Instant) -> Option<Socket> {
        let Part { plain, fd, room, failure } = part;
        drop((fd, room));
        self.shared.update(|state| self.shared.drain(state));
        let mut given_back = self.wait_for_input(begun + self.grace.max(LAST_WORDS)).await;
        if let Some(queue) = self.shared.outbox().sink().messages() {
            queue.unshare();
        }
        if let (Some(GivenBack::Input(input)), Some(_)) = (&mut given_back, &failure) {
            self.hear_last_words(input).await;
        }
        let (mut socket, ahead) = plain.take()?;
        if let GivenBack::Ended(StreamEnd::Broken(error)) = given_back? {
            self.cause.get_or_insert(Cause { error, tell: None, is_last: true });
        }
        ahead.into_iter().for_each(|turn| self.turned(&socket, turn));
        let joined = socket.join_runtime();
        if let Some(e) = failure.or(joined.err()) {
            self.cannot_send(&mut socket, &e);
        }
        self.settle(&socket);
        Some(socket)
    }

    /// Whoever reads was told to stop, and does so soon.
    async fn wait_for_input(&self, until: Instant) -> Option<GivenBack> {
        loop {
            {
                let reading = &mut self.shared.state().reading;
                if let Some(end) = reading.end() {
                    return Some(GivenBack::Ended(end.clone()));
                }
                if let Some(input) = reading.take() {
                    return Some(GivenBack::Input(input));
                }
            }
            tokio::select! {
                () = self.shared.driver.notified() => {}
                () = at(Some(until)) => return None,
            }
        }
    }

    /// Nothing can be sent any more: what is here already still counts.
    async fn hear_last_words(&self, input: &mut Input) {
        let until = Instant::now() + LAST_WORDS;
        while Instant::now() < until {
            let filled = input.read_last(|parsed| self.shared.take_in(parsed));
            if !matches!(filled, Ok(Filled::Some(_))) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The right to read, for the last time.
enum GivenBack {
    Input(Box<Input>),
    /// There is nothing to read any more, or nobody knows where to go on.
    Ended(StreamEnd),
}

fn is_readable(fd: &Fd) -> bool {
    matches!(wait_readable([Some(fd.as_fd())], Some(Instant::now())), Ok(Woken::Ready(_)))
}
