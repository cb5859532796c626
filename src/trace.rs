//! `LEASH_TRACE`: what happens on a connection, as lines for a person.
//!
//! Of a message its direction, kind, method, id and size; of the rest states
//! and times. Never a payload, argv, or the environment.

use std::borrow::Cow;
use std::env;
use std::fmt::Write as _;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use crate::framing::Piece;
use crate::message::{self, Frame, Kind, Outgoing, Parsed};
use crate::process::{Exit, Report, Stage, Teardown};
use crate::sys::{self, Fd};

/// The trace of one connection; mostly there is none, and then it costs one
/// comparison.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Log>>);

struct Log {
    file: Fd,
    /// What each line begins with, to tell connections apart.
    name: String,
    began: Instant,
    /// When our calls were sent, in the order of their ids.
    calls: Mutex<Vec<(i64, Instant)>>,
}

/// Of so many calls without an answer it is known when they were sent: some never get one.
const CALLS_MAX: usize = 1000;

/// How much is shown of a name that the peer has chosen.
const NAME_MAX: usize = 80;

impl Trace {
    /// The trace that the environment asks for, of a connection to `label`. A
    /// file that cannot be opened is no reason to fail: then there is none.
    pub fn from_environment(label: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let Some(path) = env::var_os("LEASH_TRACE").filter(|path| !path.is_empty()) else {
            return Self(None);
        };
        // Who may not write there must not get a privileged program to do it.
        if sys::is_privileged() {
            return Self(None);
        }
        let Ok(file) = Fd::append(path.as_ref()) else { return Self(None) };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let trace = Self(Some(Arc::new(Log {
            file,
            name: format!("{}.{number}", std::process::id()),
            began: Instant::now(),
            calls: Mutex::default(),
        })));
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let (seconds, millis) = (now.as_secs(), now.subsec_millis());
        let version = env!("CARGO_PKG_VERSION");
        trace.note(|| format!("libleash {version}, to {label}, Unix time {seconds}.{millis:03}"));
        trace
    }

    /// Add a line. It holds nothing that is secret.
    #[inline]
    pub fn note(&self, text: impl FnOnce() -> String) {
        if let Some(log) = &self.0 {
            log.line(&text());
        }
    }

    /// A message was handed to the transport.
    #[inline]
    pub fn sent(&self, message: &Outgoing<'_>) {
        if let Some(log) = &self.0 {
            log.sent(message.unframed().concat());
        }
    }

    /// A piece of the stream was read.
    #[inline]
    pub fn received(&self, piece: &Piece<'_>) {
        if let Some(log) = &self.0 {
            log.received(piece);
        }
    }

    /// The guard said something of the server `label`.
    pub fn report(&self, label: &str, report: &Report) {
        self.note(|| match report {
            Report::Started { pid } => format!("the guard runs {label}, pid {pid}"),
            Report::Failed(error) => error.to_string(),
            Report::Exited(Exit::Code(code)) => format!("{label} exited with status {code}"),
            Report::Exited(Exit::Signal(signal)) => {
                format!("{label} was killed by signal {signal}")
            }
            Report::Gone(Teardown { stage, killed, left, .. }) => {
                let needed = match stage {
                    Stage::Exited => "no signal was needed",
                    Stage::Term => "SIGTERM was needed",
                    Stage::Kill => "SIGKILL was needed",
                };
                format!("the guard is done: {needed}, killed {killed}, left {left}")
            }
            Report::Lost => "the guard was killed".to_owned(),
        });
    }
}

impl Log {
    fn line(&self, text: &str) {
        // Not by floating point, whose formatting is 20 KB of code.
        let time = self.began.elapsed();
        let (seconds, micros) = (time.as_secs(), time.subsec_micros());
        let line = format!("{} {seconds:4}.{micros:06} {text}\n", self.name);
        // A line that cannot be written is lost: the connection goes first.
        let _ = sys::io::write_masked(&self.file, &[IoSlice::new(line.as_bytes())]);
    }

    fn sent(&self, bytes: Vec<u8>) {
        let (size, peer_id) = (bytes.len(), peer_id(&bytes));
        let Parsed::One(frame) = message::parse(bytes.into()) else {
            return self.line(&format!("-> {size} bytes"));
        };
        let text = match frame.kind() {
            Kind::Request => {
                let id = peer_id.as_deref().and_then(|id| id.parse().ok());
                id.into_iter().for_each(|id| self.add_call(id));
                named("request", frame)
            }
            Kind::Notification => named("notification", frame),
            Kind::Result(_) => format!("reply, id {}, {size} bytes", peer_id.unwrap_or_default()),
            Kind::Failure(_) => {
                let code = frame.open().error_code().unwrap_or_default();
                format!("refusal {code}, id {}, {size} bytes", peer_id.unwrap_or_default())
            }
        };
        self.line(&format!("-> {text}"));
    }

    fn received(&self, piece: &Piece<'_>) {
        let parsed = match piece {
            Piece::Message(bytes) => message::parse(Cow::Borrowed(bytes)),
            Piece::Noise(bytes) => return self.noise(bytes.len()),
        };
        self.parsed(parsed);
    }

    fn parsed(&self, parsed: Parsed) {
        match parsed {
            Parsed::One(frame) => self.frame(frame),
            Parsed::Noise(noise) => self.noise(noise.0.len()),
            Parsed::Batch(batch) => {
                self.line("<- batch:");
                batch.for_each(|part| self.parsed(part));
            }
        }
    }

    fn frame(&self, frame: Frame) {
        let text = match frame.kind() {
            Kind::Request => named("request", frame),
            Kind::Notification => named("notification", frame),
            Kind::Result(id) => self.answer("answer", id, frame),
            Kind::Failure(id) => self.answer("error", id, frame),
        };
        self.line(&format!("<- {text}"));
    }

    fn answer(&self, kind: &str, id: Option<i64>, frame: Frame) -> String {
        let payload = frame.open();
        let size = payload.size();
        let mut text = kind.to_owned();
        // Writing into a String cannot fail.
        let _ = payload.error_code().map(|code| write!(text, " {code}"));
        let _ = match id {
            Some(id) => write!(text, ", id {id}"),
            None => write!(text, ", no id of ours"),
        };
        let _ = write!(text, ", {size} bytes");
        if let Some(sent) = id.and_then(|id| self.take_call(id)) {
            let micros = sent.elapsed().as_micros();
            let _ = write!(text, ", after {}.{:03} ms", micros / 1000, micros % 1000);
        }
        text
    }

    /// The call `id` is sent now.
    fn add_call(&self, id: i64) {
        let mut calls = self.calls();
        if calls.len() == CALLS_MAX {
            calls.remove(0);
        }
        calls.push((id, Instant::now()));
    }

    /// When the call `id` was sent.
    fn take_call(&self, id: i64) -> Option<Instant> {
        let mut calls = self.calls();
        let at = calls.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(calls.remove(at).1)
    }

    fn noise(&self, size: usize) {
        self.line(&format!("<- noise, {size} bytes"));
    }

    fn calls(&self) -> MutexGuard<'_, Vec<(i64, Instant)>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request or notification: method, id if it has one, size.
fn named(kind: &str, frame: Frame) -> String {
    let payload = frame.open();
    let text = |bytes: &[u8]| plain(&String::from_utf8_lossy(bytes));
    let method = payload.method().map(|method| text(method.bytes())).unwrap_or_default();
    let id = payload.peer_id().map(|id| format!(", id {}", text(id.bytes()))).unwrap_or_default();
    format!("{kind} {method}{id}, {} bytes", payload.size())
}

/// The id in a message of ours, which begins with it, as raw JSON.
fn peer_id(message: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(message).ok()?;
    let text = text.strip_prefix(r#"{"jsonrpc":"2.0","#).or(text.strip_prefix('{'))?;
    let text = text.strip_prefix(r#""id":"#)?;
    let mut is_escaped = false;
    let end = match text.strip_prefix('"') {
        None => text.find([',', '}'])?,
        Some(inside) => {
            let ends = |c: char| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            };
            inside.find(ends)? + 2
        }
    };
    Some(plain(&text[..end]))
}

/// A name that stays on its line, and does not fill it.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars().take(NAME_MAX) {
        // To some, these end a line, too.
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    if name.chars().nth(NAME_MAX).is_some() {
        plain.push_str("...");
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_reply_is_found_whatever_it_is() {
        let id = |text: &str| peer_id(text.as_bytes());
        assert_eq!(id(r#"{"id":7,"result":1}"#).as_deref(), Some("7"));
        assert_eq!(
            id(r#"{"jsonrpc":"2.0","id":"a,\"b","result":1}"#).as_deref(),
            Some(r#""a,\"b""#)
        );
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":null,"result":1}"#).as_deref(), Some("null"));
        assert_eq!(id(r#"{"method":"x","params":{"id":1}}"#), None);
    }

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(plain("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(plain(&"x".repeat(90)), "x".repeat(80) + "...");
    }
}
