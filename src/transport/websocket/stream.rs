//! The bytes below a WebSocket: TCP, or TLS over it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::tcp::Tcp;
use super::tls;

/// TCP, or TLS over it.
pub struct Stream {
    layer: Layer,
    read: u64,
}

enum Layer {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
}

impl From<Tcp> for Stream {
    fn from(tcp: Tcp) -> Self {
        Self { layer: Layer::Plain(tcp), read: 0 }
    }
}

impl From<TlsStream<Tcp>> for Stream {
    fn from(tls: TlsStream<Tcp>) -> Self {
        Self { layer: Layer::Tls(Box::new(tls)), read: 0 }
    }
}

impl Stream {
    /// How many bytes have been read.
    pub fn bytes_read(&self) -> u64 {
        self.read
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
        let tls = match &mut self.layer {
            Layer::Plain(tcp) => return Pin::new(tcp).poll_write(cx, bytes),
            Layer::Tls(tls) => tls,
        };
        let done = ready!(Pin::new(&mut **tls).poll_write(cx, bytes));
        Poll::Ready(done.map_err(|e| last_alert(tls, cx).unwrap_or(e)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tls = match &mut self.layer {
            Layer::Plain(tcp) => return Pin::new(tcp).poll_flush(cx),
            Layer::Tls(tls) => tls,
        };
        let done = ready!(Pin::new(&mut **tls).poll_flush(cx));
        Poll::Ready(done.map_err(|e| last_alert(tls, cx).unwrap_or(e)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Layer::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}

/// A server that refuses a client's certificate says so in an alert and resets
/// the connection. Whoever only writes sees the reset: look for the alert.
fn last_alert(tls: &mut TlsStream<Tcp>, cx: &mut Context<'_>) -> Option<io::Error> {
    let mut byte = [0];
    match Pin::new(tls).poll_read(cx, &mut ReadBuf::new(&mut byte)) {
        Poll::Ready(Err(e)) if tls::cause(&e).is_some() => Some(e),
        _ => None,
    }
}
