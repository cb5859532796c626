//! The bytes below a WebSocket: TCP with or without the runtime, or TLS over it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::direct::Direct;
use super::tcp::Tcp;
use crate::sys::Fd;

/// TCP with or without the runtime, or TLS over it.
pub struct Stream {
    layer: Layer,
    read: u64,
    written: u64,
}

enum Layer {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
    Direct(Direct),
}

impl From<Tcp> for Stream {
    fn from(tcp: Tcp) -> Self {
        Self { layer: Layer::Plain(tcp), read: 0, written: 0 }
    }
}

impl From<TlsStream<Tcp>> for Stream {
    fn from(tls: TlsStream<Tcp>) -> Self {
        Self { layer: Layer::Tls(Box::new(tls)), read: 0, written: 0 }
    }
}

impl Stream {
    /// How many bytes have been read.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// How many bytes have been written.
    pub fn bytes_written(&self) -> u64 {
        self.written
    }

    /// The server has accepted: from now on a failed write is one.
    pub fn accepted(&mut self) {
        match &mut self.layer {
            Layer::Plain(tcp) => tcp.accepted(),
            Layer::Tls(tls) => tls.get_mut().0.accepted(),
            Layer::Direct(_) => {}
        }
    }

    /// Let the runtime watch it no more, and read only by permission. Its
    /// descriptor; `None`: it stays as it is, being TLS, or broken.
    pub fn leave_runtime(&mut self) -> Option<Arc<Fd>> {
        let Layer::Plain(tcp) = &self.layer else { return None };
        let fd = Arc::new(tcp.unwatched()?);
        self.layer = Layer::Direct(Direct::new(Arc::clone(&fd)));
        Some(fd)
    }

    /// Let the runtime watch it again. Needs its context.
    pub fn join_runtime(&mut self) -> io::Result<()> {
        match &mut self.layer {
            Layer::Direct(direct) => direct.watch(),
            Layer::Plain(_) | Layer::Tls(_) => Ok(()),
        }
    }

    /// While the runtime does not watch it: allow so many reads.
    pub fn allow(&mut self, reads: u32) {
        if let Layer::Direct(direct) = &mut self.layer {
            direct.allow(reads);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = ready!(match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Layer::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buffer),
            Layer::Direct(direct) => Pin::new(direct).poll_read(cx, buffer),
        });
        self.read += (buffer.filled().len() - before) as u64;
        Poll::Ready(match done {
            // A TLS peer that just goes. Where a WebSocket ends is told by its
            // Close frame, so nothing can be cut off unseen.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            done => done,
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = ready!(match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Layer::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
            Layer::Direct(direct) => Pin::new(direct).poll_write(cx, bytes),
        });
        self.written += *done.as_ref().unwrap_or(&0) as u64;
        Poll::Ready(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Layer::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            Layer::Direct(direct) => Pin::new(direct).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Layer::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            Layer::Direct(direct) => Pin::new(direct).poll_shutdown(cx),
        }
    }
}
