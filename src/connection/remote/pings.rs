//! Whether the peer still lives.

use std::time::{Duration, Instant};

use crate::transport::websocket::Socket;

/// When pings are due, and whether they are answered. Anything that the peer
/// sends counts as an answer: a pong may have to wait behind a large message.
/// So does that it reads, as long as our ping waits behind one.
pub(super) struct Pings {
    every: Duration,
    next: Option<Instant>,
    /// Sent since the last sign of life.
    unanswered: u32,
    /// How much had been read and written by then.
    traffic: (u64, u64),
}

impl Pings {
    pub fn new(every: Duration) -> Self {
        Self { every, next: None, unanswered: 0, traffic: (0, 0) }
    }

    /// When to look again.
    pub fn due(&mut self, socket: &Socket) -> Option<Instant> {
        if self.every.is_zero() {
            return None;
        }
        let before = self.traffic;
        self.traffic = (socket.bytes_read(), socket.bytes_written());
        let has_read = self.traffic.1 != before.1 && socket.is_sending();
        if self.traffic.0 != before.0 || has_read {
            self.unanswered = 0;
        }
        Some(*self.next.get_or_insert_with(|| Instant::now() + self.every))
    }

    /// Nobody reads: silence is no sign.
    pub fn stop(&mut self) {
        self.next = None;
        self.unanswered = 0;
    }

    pub fn answered(&mut self) {
        self.unanswered = 0;
    }

    pub fn is_missing(&self) -> bool {
        self.unanswered >= 2
    }

    pub fn sent(&mut self) {
        self.unanswered += 1;
        self.next = Some(Instant::now() + self.every);
    }
}
