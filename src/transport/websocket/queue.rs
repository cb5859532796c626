//! Messages that wait to be sent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::plain::{Plain, Writing};
use crate::error::{Code, Error, Result};

/// Whole messages. They count as unsent until the kernel has them.
///
/// Over a plain WebSocket whoever sends writes, one at a time; what others send
/// meanwhile, and what does not fit at once, is kept. Otherwise, and in the
/// beginning and the end, they are for the runtime.
#[derive(Default)]
pub struct Queue {
    messages: VecDeque<Vec<u8>>,
    /// Where to write them, while threads of the host may.
    plain: Option<Arc<Plain>>,
    is_writing: bool,
    /// Whether there was no room the last time: the runtime waits for some.
    is_stuck: bool,
    /// Bytes of all messages that were kept, and of those that were sent.
    kept: u64,
    sent: u64,
    is_closed: bool,
}

impl Queue {
    /// From now on threads of the host write by themselves.
    pub fn share(&mut self, plain: Arc<Plain>) {
        self.plain = Some(plain);
    }

    /// From now on the runtime writes alone. Somebody may just be writing.
    pub fn unshare(&mut self) {
        self.plain = None;
    }

    /// Keep one message, given in parts.
    ///
    /// `NoMemory`: nothing was kept. `Closed`: nothing can be sent any more.
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<()> {
        if self.is_closed {
            return Err(closed());
        }
        let length = parts.iter().map(|part| part.len()).sum();
        let mut message = Vec::new();
        message.try_reserve_exact(length).map_err(|_| {
            Error::new(Code::NoMemory, "no memory to keep the message until it is sent")
        })?;
        parts.iter().for_each(|part| message.extend_from_slice(part));
        self.messages.push_back(message);
        self.kept += length as u64;
        Ok(())
    }

    /// The same, and begin to write it and what waits before it. `None`: somebody
    /// writes, there is no room, or that is for the runtime alone.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<Option<Writing>> {
        self.push(parts)?;
        Ok(if self.is_stuck { None } else { self.resume() })
    }

    /// Begin to write what is kept. `None`: nothing is, somebody writes, or
    /// that is for the runtime alone.
    pub fn resume(&mut self) -> Option<Writing> {
        if self.is_writing || self.unsent() == 0 {
            return None;
        }
        let plain = Arc::clone(self.plain.as_ref()?);
        self.is_writing = true;
        Some(Writing::new(plain, std::mem::take(&mut self.messages)))
    }

    /// Take back what was being written. Whether there was room for it.
    ///
    /// `Closed`: nothing can be sent any more.
    pub fn wrote(&mut self, mut writing: Writing) -> Result<bool> {
        if self.is_closed {
            return Err(closed());
        }
        self.is_writing = false;
        // What was kept meanwhile goes behind.
        writing.rest.append(&mut self.messages);
        self.messages = writing.rest;
        self.sent(writing.sent);
        self.is_stuck = !writing.had_room;
        Ok(writing.had_room)
    }

    /// Whether somebody is writing.
    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// The next message, for the runtime to send it.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.messages.pop_front()
    }

    /// The kernel has so many bytes of messages, of all since the beginning.
    /// Whoever sends tells what it has seen, and some tell it late.
    pub fn sent(&mut self, bytes: u64) {
        self.sent = self.sent.max(bytes).min(self.kept);
    }

    /// How many bytes are not sent.
    pub fn unsent(&self) -> usize {
        usize::try_from(self.kept - self.sent).unwrap_or(usize::MAX)
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

fn closed() -> Error {
    Error::new(Code::Closed, "the connection has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_late_changes_nothing() {
        let mut queue = Queue::default();
        queue.push(&[b"one", b"1"]).unwrap();
        queue.push(&[b"two"]).unwrap();
        assert_eq!((queue.unsent(), queue.take()), (7, Some(b"one1".to_vec())));
        queue.sent(4);
        queue.sent(0);
        assert_eq!(queue.unsent(), 3);
        queue.sent(7);
        queue.sent(4);
        assert_eq!(queue.unsent(), 0);
        queue.close();
        queue.sent(7);
        assert_eq!(queue.unsent(), 0);
        assert_eq!(queue.push(&[b"x"]).unwrap_err().code(), Code::Closed);
    }

    #[test]
    fn nobody_writes_before_there_is_a_socket() {
        let mut queue = Queue::default();
        assert!(queue.send(&[b"one"]).unwrap().is_none());
        assert!(queue.resume().is_none() && !queue.is_writing());
        assert_eq!(queue.unsent(), 3);
    }
}
