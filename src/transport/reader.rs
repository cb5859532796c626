//! What comes in, over either transport.

use std::os::fd::{AsFd, BorrowedFd};

use super::stdio::{self, Filled};
#[cfg(feature = "websocket")]
use super::websocket;
use crate::error::Result;
use crate::framing::Piece;

/// Whole messages, for whoever has the right to read.
pub enum Reader {
    /// From the server's stdout.
    Pipe(stdio::Reader),
    /// From a plain WebSocket.
    #[cfg(feature = "websocket")]
    Socket(websocket::Reader),
}

impl From<stdio::Reader> for Reader {
    fn from(pipe: stdio::Reader) -> Self {
        Self::Pipe(pipe)
    }
}

#[cfg(feature = "websocket")]
impl From<websocket::Reader> for Reader {
    fn from(socket: websocket::Reader) -> Self {
        Self::Socket(socket)
    }
}

impl Reader {
    /// Read what is there, up to one portion. Never blocks.
    pub fn fill(&mut self) -> Result<Filled> {
        match self {
            Self::Pipe(pipe) => pipe.fill(),
            #[cfg(feature = "websocket")]
            Self::Socket(socket) => Ok(socket.fill()),
        }
    }

    /// The next message that has been read whole.
    #[inline(always)]
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>> {
        match self {
            Self::Pipe(pipe) => pipe.next_piece(),
            #[cfg(feature = "websocket")]
            Self::Socket(socket) => Ok(socket.next_piece()),
        }
    }

    /// What can be seen of the message ahead, which is not whole: the last
    /// [`Reader::next_piece`] said so.
    pub fn unfinished(&self) -> &[u8] {
        match self {
            Self::Pipe(pipe) => pipe.unfinished(),
            #[cfg(feature = "websocket")]
            Self::Socket(_) => &[],
        }
    }

    /// The stream has ended: what is left of an unfinished message.
    pub fn finish(&mut self) -> Result<Option<Piece<'_>>> {
        match self {
            Self::Pipe(pipe) => pipe.finish(),
            #[cfg(feature = "websocket")]
            Self::Socket(_) => Ok(None),
        }
    }

    /// How many bytes have been read and not given out, as far as is known:
    /// with none there is no message among them.
    pub fn held(&self) -> usize {
        match self {
            Self::Pipe(pipe) => pipe.held(),
            #[cfg(feature = "websocket")]
            Self::Socket(socket) => usize::from(socket.may_hold()),
        }
    }

    /// Nobody reads for a while: keep no memory that is not in use.
    pub fn rest(&mut self) {
        match self {
            Self::Pipe(pipe) => pipe.rest(),
            #[cfg(feature = "websocket")]
            Self::Socket(_) => {}
        }
    }

    /// Whether the last message has been given out. A pipe tells that by
    /// [`Filled::End`] alone.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Pipe(_) => false,
            #[cfg(feature = "websocket")]
            Self::Socket(socket) => socket.is_over(),
        }
    }

    /// Whether reading has left something for the runtime to send since this
    /// was last asked.
    pub fn has_left_work(&mut self) -> bool {
        match self {
            Self::Pipe(_) => false,
            #[cfg(feature = "websocket")]
            Self::Socket(socket) => socket.has_left_work(),
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(pipe) => pipe.as_fd(),
            #[cfg(feature = "websocket")]
            Self::Socket(socket) => socket.as_fd(),
        }
    }
}
