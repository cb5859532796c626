//! The bytes below a WebSocket: TCP, or TLS over it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::tcp::Tcp;

/// TCP, or TLS over it.
pub struct Stream {
    layer: Layer,
    read: u64,
    written: u64,
}

enum Layer {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
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
        });
        self.written += *done.as_ref().unwrap_or(&0) as u64;
        Poll::Ready(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Layer::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Layer::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}
