//! From a name to a TCP connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::sys::{self, Claim, Fd, socket};

/// "Connection Attempt Delay" of RFC 8305, section 5.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// A TCP connection, closed in forked copies of the host.
pub struct Tcp {
    /// Goes first: after the close the number may be the host's.
    _claim: Claim,
    stream: TcpStream,
    is_accepted: bool,
    /// How a write failed before that.
    refused: Option<io::Error>,
}

/// Addresses of `host` in the order of RFC 8305, section 4: families take
/// turns, and the resolver's first choice comes first.
pub async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    sys::fill_standard()?;
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    Ok(in_turns(found))
}

fn in_turns(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = found.first().map(SocketAddr::is_ipv6) else { return found };
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first);
    let mut ordered = Vec::with_capacity(ours.len() + others.len());
    let (mut ours, mut others) = (ours.drain(..), others.drain(..));
    loop {
        let before = ordered.len();
        ordered.extend(ours.next());
        ordered.extend(others.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

/// Connect to the first address that answers. The next one is tried when the
/// last has failed, or is slow.
pub async fn connect(addresses: Vec<SocketAddr>) -> io::Result<Tcp> {
    let mut untried = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        attempts.extend(untried.next().map(Tcp::connect));
        if attempts.is_empty() {
            let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(failure.unwrap_or_else(none));
        }
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(tcp) => return Ok(tcp),
                Err(e) => drop(failure.get_or_insert(e)),
            },
            () = tokio::time::sleep(NEXT_AFTER), if untried.len() > 0 => {}
        }
    }
}

impl Tcp {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        sys::fill_standard()?;
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        let claim = Claim::new(&socket);
        let stream = socket.connect(address).await?;
        // Neither is worth failing for.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive());
        Ok(Self { _claim: claim, stream, is_accepted: false, refused: None })
    }
}

impl Tcp {
    /// A server that refuses says why, in an alert of TLS or a status of HTTP,
    /// and resets the connection. Whoever writes meanwhile would only see the
    /// reset. So until the server has accepted, writes never fail: what it said
    /// is read first, and then the failure.
    pub fn accepted(&mut self) {
        self.is_accepted = true;
    }

    /// The same connection by a descriptor that the runtime does not watch.
    /// `None`: there is none to be had, or a write has failed already.
    pub fn unwatched(&self) -> Option<Fd> {
        if self.refused.is_some() { None } else { socket::copy(&self.stream).ok() }
    }
}

/// A peer that is gone without a word is noticed after two minutes. Pings
/// notice more: one that is stuck.
fn keepalive() -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    keepalive.with_interval(Duration::from_secs(15)).with_retries(4)
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        let is_end = done.is_err() || buffer.filled().len() == before;
        match self.refused.take_if(|_| is_end) {
            Some(e) => Poll::Ready(Err(e)),
            None => Poll::Ready(done),
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(match done {
            Err(e) if !self.is_accepted => {
                self.refused.get_or_insert(e);
                Ok(bytes.len())
            }
            done => done,
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|address| address.parse().unwrap()).collect()
        };
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let expected = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(in_turns(found), expected);
        assert!(in_turns(Vec::new()).is_empty());
    }
}
