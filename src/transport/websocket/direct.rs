//! A TCP connection that has left the runtime: whoever holds the socket reads
//! and writes by plain system calls. The runtime would wake up for every
//! message otherwise, although somebody else reads it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::sys::{self, Fd, Watched, socket};

/// The connection. `Pending` is "not now", and nobody will be woken, until the
/// runtime watches it again.
pub struct Direct {
    fd: Arc<Fd>,
    /// How many more reads there may be.
    reads: u32,
    /// Where the runtime alone reads and writes.
    watched: Option<Watched>,
}

impl Direct {
    /// A connection that nobody watches.
    pub fn new(fd: Arc<Fd>) -> Self {
        Self { fd, reads: 0, watched: None }
    }

    /// Allow so many reads, and no more.
    pub fn allow(&mut self, reads: u32) {
        self.reads = reads;
    }

    /// Let the runtime watch it: from now on it is like any other stream of
    /// the runtime's. Needs its context.
    pub fn watch(&mut self) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.watched = Some(sys::watch(Arc::clone(&self.fd), interest)?);
        Ok(())
    }
}

impl AsyncRead for Direct {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { fd, reads, watched } = &mut *self;
        let room = buffer.initialize_unfilled();
        let n = match watched {
            Some(watched) => loop {
                let mut guard = ready!(watched.poll_read_ready(cx))?;
                if let Ok(done) = guard.try_io(|fd| socket::receive(&**fd.get_ref(), room)) {
                    break done?;
                }
            },
            None => {
                let Some(left) = reads.checked_sub(1) else { return Poll::Pending };
                let n = ready!(not_now(socket::receive(&**fd, room)))?;
                // After a short one the next would be in vain.
                *reads = if n < room.len() { 0 } else { left };
                n
            }
        };
        buffer.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Direct {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(watched) = &self.watched else { return not_now(socket::send(&*self.fd, bytes)) };
        loop {
            let mut guard = ready!(watched.poll_write_ready(cx))?;
            if let Ok(done) = guard.try_io(|fd| socket::send(&**fd.get_ref(), bytes)) {
                return Poll::Ready(done);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::shut_down(&*self.fd))
    }
}

fn not_now<T>(done: io::Result<T>) -> Poll<io::Result<T>> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}
