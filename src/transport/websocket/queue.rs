//! Messages that wait to be sent.

use std::collections::VecDeque;

use crate::error::{Code, Error, Result};

/// Whole messages, from the threads that send to the runtime. They count as
/// unsent until the kernel has them.
#[derive(Default)]
pub struct Queue {
    messages: VecDeque<Vec<u8>>,
    unsent: usize,
    is_closed: bool,
}

impl Queue {
    /// Keep one message, given in parts.
    ///
    /// `NoMemory`: nothing was kept. `Closed`: nothing can be sent any more.
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<()> {
        if self.is_closed {
            return Err(Error::new(Code::Closed, "the connection has ended"));
        }
        let length = parts.iter().map(|part| part.len()).sum();
        let mut message = Vec::new();
        message.try_reserve_exact(length).map_err(|_| {
            Error::new(Code::NoMemory, "no memory to keep the message until it is sent")
        })?;
        parts.iter().for_each(|part| message.extend_from_slice(part));
        self.messages.push_back(message);
        self.unsent += length;
        Ok(())
    }

    /// The next message, to send it.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.messages.pop_front()
    }

    /// Taken messages of that many bytes have been sent.
    pub fn sent(&mut self, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes);
    }

    /// How many bytes are not sent.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Whether messages are taken.
    pub fn is_open(&self) -> bool {
        !self.is_closed
    }

    /// Take no more messages; what was not sent is gone.
    pub fn close(&mut self) {
        *self = Self { is_closed: true, ..Self::default() };
    }
}
