//! Where to dial, and the way there.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::{Request, Response, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::{self, handshake::client::generate_key};

use super::stream::Stream;
use super::tcp::{self, Tcp};
use super::{Limits, Socket, Trust, tls};
use crate::error::{Code, Error, Result};

/// A server to dial, checked.
pub struct Target {
    progress: Arc<Progress>,
    host: String,
    port: u16,
    tls: Option<Tls>,
    request: Request<()>,
    limits: Limits,
}

struct Tls {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    has_certificate: bool,
}

/// How far a dial has come, for any thread to see.
pub struct Progress {
    label: String,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy)]
enum Stage {
    Lookup,
    Connect,
    Tls,
    Upgrade,
}

impl Stage {
    /// What has not happened as long as it lasts.
    fn missing(self) -> &'static str {
        match self {
            Self::Lookup => "its name was not looked up",
            Self::Connect => "it took no TCP connection",
            Self::Tls => "the TLS handshake was not finished",
            Self::Upgrade => "it did not answer the WebSocket upgrade",
        }
    }
}

impl Progress {
    fn is_at(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// The error of a dial that took too long.
    pub fn timed_out(&self) -> Error {
        let missing = self.stage.lock().unwrap_or_else(PoisonError::into_inner).missing();
        let text = format!("{} was not reached in time: {missing}", self.label);
        Error::new(Code::Timeout, text)
    }
}

impl Target {
    /// A target. Reads the files that `trust` names.
    ///
    /// `Invalid`: the URL, a header or a file cannot be used. No text has more
    /// of a URL than scheme, host and port.
    pub fn new<'a>(
        url: &str,
        bearer: Option<&str>,
        headers: impl Iterator<Item = &'a str>,
        trust: &Trust<'_>,
        max_message: usize,
    ) -> Result<Self> {
        let Place { is_tls, host, port, resource } = Place::parse(url)?;
        let (scheme, usual) = if is_tls { ("wss", 443) } else { ("ws", 80) };
        let label = format!("{scheme}://{host}:{port}");
        let plain_host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !is_tls && !trust.is_default() {
            return Err(invalid("LEASH_OPT_CA_FILE, _CERT_FILE and _KEY_FILE are for wss://"));
        }
        let tls = is_tls.then(|| Tls::new(&plain_host, trust)).transpose()?;

        let mut request = Request::new(());
        *request.uri_mut() =
            Uri::try_from(format!("{label}{resource}")).map_err(|_| no_url("cannot be read"))?;
        let host = if port == usual { host } else { format!("{host}:{port}") };
        let map = request.headers_mut();
        for (name, text) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", &generate_key()),
        ] {
            map.insert(HeaderName::from_static(name), value(text)?);
        }
        map.insert(HOST, value(&host)?);
        for header in headers {
            let (name, text) = header.split_once(':').unwrap_or((header, ""));
            let name =
                HeaderName::try_from(name).map_err(|_| invalid("a header has a bad name"))?;
            map.append(name, secret(text.trim())?);
        }
        if let Some(token) = bearer {
            map.insert(AUTHORIZATION, secret(&format!("Bearer {token}"))?);
        }
        let limits = Limits::new(max_message);
        let progress = Arc::new(Progress { label, stage: Mutex::new(Stage::Lookup) });
        Ok(Self { progress, host: plain_host, port, tls, request, limits })
    }

    /// What texts may call the server: scheme, host and port.
    pub fn label(&self) -> &str {
        &self.progress.label
    }

    /// How far it is dialled.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Dial. Safe to cancel at any time.
    ///
    /// `Connect`: what failed, and why.
    pub async fn dial(&self) -> Result<Socket> {
        let label = self.label();
        self.progress.is_at(Stage::Lookup);
        let addresses = tcp::lookup(&self.host, self.port).await.map_err(|e| {
            Error::os(Code::Connect, format!("cannot look up the host of {label}"), &e)
        })?;
        self.progress.is_at(Stage::Connect);
        let tcp = tcp::connect(addresses)
            .await
            .map_err(|e| Error::os(Code::Connect, format!("cannot connect to {label}"), &e))?;
        let stream = match &self.tls {
            None => Stream::from(tcp),
            Some(tls) => {
                self.progress.is_at(Stage::Tls);
                Stream::from(tls.connect(tcp).await.map_err(|e| self.lost(&e, "TLS handshake"))?)
            }
        };
        self.progress.is_at(Stage::Upgrade);
        let upgrade =
            client_async_with_config(self.request.clone(), stream, Some(self.limits.config()));
        let (web, response) = upgrade.await.map_err(|e| self.refused(e))?;
        if response.headers().contains_key("sec-websocket-extensions") {
            return Err(self.refusal("it chose an extension that was not offered"));
        }
        Ok(Socket::new(web, self.limits))
    }

    /// The connection broke before the upgrade was done.
    fn lost(&self, e: &io::Error, during: &str) -> Error {
        let label = self.label();
        if let Some(tls) = tls::cause(e) {
            let has_certificate = self.tls.as_ref().is_some_and(|tls| tls.has_certificate);
            let reason = tls::reason(tls, has_certificate);
            return Error::new(Code::Connect, format!("no TLS with {label}: {reason}"));
        }
        if e.kind() == io::ErrorKind::UnexpectedEof {
            let text = format!("{label} closed the connection during the {during}");
            return Error::new(Code::Connect, text);
        }
        Error::os(Code::Connect, format!("lost {label} during the {during}"), e)
    }

    /// The upgrade failed.
    fn refused(&self, e: tungstenite::Error) -> Error {
        use tungstenite::error::ProtocolError as E;
        match e {
            tungstenite::Error::Io(e) => self.lost(&e, "WebSocket upgrade"),
            tungstenite::Error::Http(response) => self.answered(&response),
            tungstenite::Error::Protocol(E::HandshakeIncomplete) => {
                self.lost(&io::ErrorKind::UnexpectedEof.into(), "WebSocket upgrade")
            }
            tungstenite::Error::Protocol(E::HttparseError(_) | E::WrongHttpVersion) => {
                self.refusal("its answer is not HTTP/1.1")
            }
            tungstenite::Error::Protocol(
                E::MissingUpgradeWebSocketHeader
                | E::MissingConnectionUpgradeHeader
                | E::SecWebSocketAcceptKeyMismatch,
            ) => self.refusal("its answer has not the headers of a WebSocket"),
            tungstenite::Error::Protocol(E::SecWebSocketSubProtocolError(_)) => {
                self.refusal("it chose a subprotocol that was not offered")
            }
            tungstenite::Error::AttackAttempt | tungstenite::Error::Capacity(_) => {
                self.refusal("its answer has too many headers")
            }
            _ => self.refusal("its answer cannot be read"),
        }
    }

    fn answered(&self, response: &Response<Option<Vec<u8>>>) -> Error {
        let status = response.status();
        // Not its own words: they are the server's to choose.
        let name = status.canonical_reason().unwrap_or("unknown status");
        let code = status.as_u16();
        self.refusal(&match code {
            300..=399 => {
                format!("the server redirects ({code} {name}); libleash follows none")
            }
            401 => format!("it answered {code} {name}: see LEASH_OPT_BEARER"),
            200..=299 => format!("it answered {code} {name}, as no WebSocket server does"),
            _ => format!("it answered {code} {name}"),
        })
    }

    fn refusal(&self, why: &str) -> Error {
        Error::new(Code::Connect, format!("{} refused the WebSocket: {why}", self.label()))
    }
}

impl Tls {
    fn new(host: &str, trust: &Trust<'_>) -> Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| no_url("has a host that no certificate can be for"))?;
        let has_certificate = trust.cert_file.is_some();
        Ok(Self { name, config: trust.config()?, has_certificate })
    }

    async fn connect(&self, tcp: Tcp) -> io::Result<tokio_rustls::client::TlsStream<Tcp>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(self.name.clone(), tcp).await
    }
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    is_tls: bool,
    /// An IPv6 address is in brackets.
    host: String,
    port: u16,
    /// Path and query.
    resource: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self> {
        if url.contains('#') {
            return Err(no_url("has a fragment, which RFC 6455 forbids"));
        }
        let uri = Uri::try_from(url)
            .map_err(|_| no_url("cannot be read; ASCII only, as in ws://host:port/path"))?;
        let is_tls = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(no_url("must begin with ws:// or wss://")),
        };
        let authority = uri.authority().ok_or_else(|| no_url("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(no_url("has user info: use LEASH_OPT_BEARER or LEASH_OPT_HEADERS"));
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() || host == "[]" {
            return Err(no_url("has no host"));
        }
        let port = match authority.as_str()[host.len()..].strip_prefix(':') {
            None | Some("") => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| no_url("has a bad port"))?,
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self { is_tls, host, port, resource: format!("{}{query}", uri.path()) })
    }
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| invalid("a header has a value that cannot be sent"))
}

fn secret(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| invalid("a header has a value that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn no_url(what: &str) -> Error {
    Error::new(Code::Invalid, format!("LEASH_OPT_URL {what}"))
}

fn invalid(text: &'static str) -> Error {
    Error::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> (bool, String, u16, String) {
        let Place { is_tls, host, port, resource } = Place::parse(url).unwrap();
        (is_tls, host, port, resource)
    }

    #[test]
    fn a_url_has_its_parts() {
        let parts = |is_tls, host: &str, port, resource: &str| {
            (is_tls, host.to_owned(), port, resource.to_owned())
        };
        assert_eq!(place("ws://a"), parts(false, "a", 80, "/"));
        assert_eq!(place("WSS://A.b:8/"), parts(true, "a.b", 8, "/"));
        assert_eq!(place("wss://a?x=y"), parts(true, "a", 443, "/?x=y"));
        assert_eq!(place("ws://[::1]:9/p?q=1"), parts(false, "[::1]", 9, "/p?q=1"));
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_it() {
        for url in [
            "",
            "secret",
            "/secret",
            "http://secret/",
            "ws:secret",
            "ws:///secret",
            "ws://user:secret@h/",
            "ws://secret:0/",
            "ws://secret:65536/",
            "ws://secret:x/",
            "ws://secret/#f",
            "ws://h/secret secret",
            "ws://secr\u{e9}t/",
        ] {
            let error = Place::parse(url).expect_err(url);
            assert_eq!(error.code(), Code::Invalid);
            assert!(!error.text().contains("secr"), "{error}");
        }
    }

    #[test]
    fn the_label_has_no_path_and_the_request_no_surprise() {
        let headers = ["Origin: https://a", "X-A:  b "];
        let trust = Trust::default();
        let url = "ws://h:80/p?token=secret";
        let target = Target::new(url, Some("t"), headers.into_iter(), &trust, 1).unwrap();
        assert_eq!(target.label(), "ws://h:80");
        let map = target.request.headers();
        assert_eq!(map["host"], "h");
        assert_eq!(map["authorization"], "Bearer t");
        assert_eq!(
            (&map["origin"], &map["x-a"]),
            (&value("https://a").unwrap(), &value("b").unwrap())
        );
        assert_eq!(map.len(), 8);
        assert!(!format!("{map:?}").contains("Bearer"));
    }
}
