//! The settings of one connection: valid before a connection sees them, and
//! wiped when they go.

mod builder;

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::{Code, Error, Result};
use crate::message::Protocol;
use crate::process::Stderr;

/// Text that nobody may see: it has no `Display`, its `Debug` says nothing, and
/// it is wiped when it goes.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keep a copy of `text`.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Keep `parts`, one after the other.
    fn joined(parts: &[&str]) -> Self {
        Self(Zeroizing::new(parts.concat()))
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Settings that are one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKey {
    /// `ws://` or `wss://`.
    Url,
    /// Sent as `Authorization: Bearer`.
    Bearer,
    /// PEM roots.
    CaFile,
    /// PEM client certificate chain.
    CertFile,
    /// PEM client key.
    KeyFile,
    /// The server's working directory.
    Cwd,
}

/// Settings that are a list of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKey {
    /// `Name: value`.
    Headers,
    /// `NAME=value`, or `NAME` to remove.
    Env,
}

/// Settings that are a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntKey {
    /// [`Protocol`], 0 to 4.
    Protocol,
    /// Whether the host's environment is not inherited.
    EnvClear,
    /// [`Stderr`], 0 to 2.
    Stderr,
    /// Bytes of one message.
    MaxMessage,
    /// Unread events before reading stops.
    QueueEvents,
    /// The same in bytes.
    QueueBytes,
    /// Bytes of unsent output.
    SendBytes,
    /// Milliseconds to SIGTERM.
    ExitAfter,
    /// Milliseconds from SIGTERM to SIGKILL.
    KillAfter,
    /// Milliseconds between WebSocket pings.
    PingEvery,
    /// Whether submits and notifies are collected.
    Cork,
}

/// The settings of one connection.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) url: Option<Secret>,
    pub(crate) bearer: Option<Secret>,
    pub(crate) ca_file: Option<String>,
    pub(crate) cert_file: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) cwd: Option<String>,
    pub(crate) headers: Vec<Secret>,
    pub(crate) env: Vec<Secret>,
    pub(crate) protocol: Protocol,
    pub(crate) env_clear: bool,
    pub(crate) stderr: Stderr,
    pub(crate) max_message: usize,
    pub(crate) queue_events: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) send_bytes: usize,
    pub(crate) exit_after: Duration,
    pub(crate) kill_after: Duration,
    pub(crate) ping_every: Duration,
    pub(crate) cork: bool,
}

const MIB: usize = 1 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            url: None,
            bearer: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            cwd: None,
            headers: Vec::new(),
            env: Vec::new(),
            protocol: Protocol::default(),
            env_clear: false,
            stderr: Stderr::Pipe,
            max_message: 64 * MIB,
            queue_events: 4096,
            queue_bytes: 64 * MIB,
            send_bytes: 64 * MIB,
            exit_after: Duration::from_secs(2),
            kill_after: Duration::from_secs(2),
            ping_every: Duration::ZERO,
            cork: false,
        }
    }
}

impl Options {
    /// Set a text; `None` restores the default.
    #[doc(hidden)]
    pub fn set_text(&mut self, key: TextKey, value: Option<&str>) -> Result<()> {
        if value.is_some_and(|value| value.contains('\0')) {
            return Err(invalid("the value contains a NUL"));
        }
        let plain = || value.map(str::to_owned);
        match key {
            TextKey::Url => self.url = value.map(Secret::new),
            TextKey::Bearer => self.bearer = value.map(bearer).transpose()?,
            TextKey::CaFile => self.ca_file = plain(),
            TextKey::CertFile => self.cert_file = plain(),
            TextKey::KeyFile => self.key_file = plain(),
            TextKey::Cwd => self.cwd = plain(),
        }
        Ok(())
    }

    /// Set a list; an empty one is the default.
    #[doc(hidden)]
    pub fn set_list(&mut self, key: ListKey, items: &[&str]) -> Result<()> {
        let (slot, check): (_, fn(&str) -> Result<()>) = match key {
            ListKey::Headers => (&mut self.headers, check_header),
            ListKey::Env => (&mut self.env, check_variable),
        };
        items.iter().try_for_each(|item| check(item))?;
        *slot = items.iter().map(|item| Secret::new(item)).collect();
        Ok(())
    }

    /// Set a number.
    #[doc(hidden)]
    pub fn set_int(&mut self, key: IntKey, value: i64) -> Result<()> {
        match key {
            IntKey::Protocol => self.protocol = protocol(value)?,
            IntKey::EnvClear => self.env_clear = flag(value)?,
            IntKey::Stderr => self.stderr = stderr(value)?,
            IntKey::MaxMessage => self.max_message = size(value)?,
            IntKey::QueueEvents => self.queue_events = size(value)?,
            IntKey::QueueBytes => self.queue_bytes = size(value)?,
            IntKey::SendBytes => self.send_bytes = size(value)?,
            IntKey::ExitAfter => self.exit_after = millis(value)?,
            IntKey::KillAfter => self.kill_after = millis(value)?,
            IntKey::PingEvery => self.ping_every = millis(value)?,
            IntKey::Cork => self.cork = flag(value)?,
        }
        Ok(())
    }

    /// Check what a connection to a child process cannot use: a setting that
    /// would be ignored, perhaps a secret, is a mistake worth telling.
    #[doc(hidden)]
    pub fn check_for_process(&self) -> Result<()> {
        refuse(self.only_for_url(), "is for a WebSocket, but argv was given")
    }

    /// Check what a connection to a URL cannot use.
    #[doc(hidden)]
    pub fn check_for_url(&self) -> Result<()> {
        refuse(self.only_for_process(), "is for a child process, but argv is NULL")?;
        let is_authorization = |header: &Secret| names(header, "authorization");
        if self.bearer.is_some() && self.headers.iter().any(is_authorization) {
            return Err(invalid("LEASH_OPT_BEARER and LEASH_OPT_HEADERS both give Authorization"));
        }
        Ok(())
    }

    /// A setting that is of no use to a child process.
    pub(crate) fn only_for_url(&self) -> Option<&'static str> {
        first(&[
            ("LEASH_OPT_URL", self.url.is_some()),
            ("LEASH_OPT_BEARER", self.bearer.is_some()),
            ("LEASH_OPT_CA_FILE", self.ca_file.is_some()),
            ("LEASH_OPT_CERT_FILE", self.cert_file.is_some()),
            ("LEASH_OPT_KEY_FILE", self.key_file.is_some()),
            ("LEASH_OPT_HEADERS", !self.headers.is_empty()),
        ])
    }

    /// A setting that is of no use to a URL.
    pub(crate) fn only_for_process(&self) -> Option<&'static str> {
        first(&[
            ("LEASH_OPT_CWD", self.cwd.is_some()),
            ("LEASH_OPT_ENV", !self.env.is_empty()),
            ("LEASH_OPT_ENV_CLEAR", self.env_clear),
        ])
    }
}

/// The first setting that is set.
fn first(settings: &[(&'static str, bool)]) -> Option<&'static str> {
    settings.iter().find(|(_, is_set)| *is_set).map(|(name, _)| *name)
}

fn refuse(misplaced: Option<&str>, why: &str) -> Result<()> {
    match misplaced {
        Some(name) => Err(invalid(format!("{name} {why}"))),
        None => Ok(()),
    }
}

fn protocol(value: i64) -> Result<Protocol> {
    Ok(match value {
        0 => Protocol::JsonRpc,
        1 => Protocol::Mcp,
        2 => Protocol::Acp,
        3 => Protocol::Lsp,
        4 => Protocol::Bare,
        _ => return Err(invalid("LEASH_OPT_PROTOCOL must be one of enum leash_protocol")),
    })
}

fn stderr(value: i64) -> Result<Stderr> {
    Ok(match value {
        0 => Stderr::Discard,
        1 => Stderr::Pipe,
        2 => Stderr::Inherit,
        _ => return Err(invalid("LEASH_OPT_STDERR must be 0, 1 or 2")),
    })
}

fn flag(value: i64) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(invalid("the value must be 0 or 1")),
    }
}

/// More than any machine has, and far from where sums would overflow.
const SIZE_MAX: i64 = 1 << 48;

fn size(value: i64) -> Result<usize> {
    match value {
        1..=SIZE_MAX => Ok(value as usize),
        _ => Err(invalid("the value must be from 1 to 2^48")),
    }
}

const DAY: i64 = 24 * 60 * 60 * 1000;

fn millis(value: i64) -> Result<Duration> {
    match value {
        0..=DAY => Ok(Duration::from_millis(value.unsigned_abs())),
        _ => Err(invalid("the value must be from 0 to 86400000 milliseconds (a day)")),
    }
}

/// `b64token` of RFC 6750, section 2.1, is visible ASCII.
fn bearer(token: &str) -> Result<Secret> {
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid("a bearer token is visible ASCII without blanks"));
    }
    Ok(Secret::new(token))
}

/// `field-name ":" field-value` of RFC 9110, section 5.
fn check_header(header: &str) -> Result<()> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let good = header.split_once(':').is_some_and(|(name, value)| {
        let text = |b: u8| b == b'\t' || (b >= b' ' && b != 0x7f);
        !name.is_empty() && name.bytes().all(token) && value.bytes().all(text)
    });
    if !good {
        return Err(invalid("a header must be \"Name: value\" on one line"));
    }
    if OWN_HEADERS.iter().any(|own| names(header, own)) || is_handshake(header) {
        return Err(invalid("a header is one that the WebSocket handshake sends by itself"));
    }
    Ok(())
}

/// What the handshake says by itself, or what would give its request a body.
const OWN_HEADERS: [&str; 5] =
    ["host", "connection", "upgrade", "content-length", "transfer-encoding"];

fn is_handshake(header: &str) -> bool {
    let start = header.get(..SEC_WEBSOCKET.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(SEC_WEBSOCKET))
}

const SEC_WEBSOCKET: &str = "sec-websocket-";

fn names(header: &str, name: &str) -> bool {
    header.split(':').next().is_some_and(|given| given.eq_ignore_ascii_case(name))
}

fn check_variable(variable: &str) -> Result<()> {
    let name = variable.split('=').next().unwrap_or_default();
    match name.is_empty() || variable.contains('\0') {
        true => Err(invalid("a variable must be \"NAME=value\", or \"NAME\" to remove it")),
        false => Ok(()),
    }
}

fn invalid(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_changes_nothing() {
        let mut options = Options::default();
        for (key, value) in [
            (IntKey::Protocol, 5),
            (IntKey::EnvClear, 2),
            (IntKey::Stderr, -1),
            (IntKey::MaxMessage, 0),
            (IntKey::QueueEvents, i64::MAX),
            (IntKey::ExitAfter, -1),
            (IntKey::KillAfter, DAY + 1),
        ] {
            assert_eq!(options.set_int(key, value).unwrap_err().code(), Code::Invalid, "{key:?}");
        }
        assert_eq!(options.max_message, 64 * MIB);
        assert!(options.set_list(ListKey::Env, &["A=1", "=x"]).is_err());
        assert!(options.env.is_empty());
    }

    #[test]
    fn headers_cannot_smuggle_another_line() {
        let mut options = Options::default();
        for bad in ["no colon", ": x", "a b: c", "a: b\r\nc: d", "a: \0"] {
            assert!(options.set_list(ListKey::Headers, &[bad]).is_err(), "{bad}");
        }
        for own in ["host: a", "Upgrade: h2c", "Sec-WebSocket-Key: a", "Content-Length: 1"] {
            assert!(options.set_list(ListKey::Headers, &[own]).is_err(), "{own}");
        }
        assert!(options.set_list(ListKey::Headers, &["X-A: b", "X-C:", "Origin: a"]).is_ok());
        assert!(options.set_text(TextKey::Bearer, Some("a\r\nb")).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut options = Options::default();
        options.set_text(TextKey::Bearer, Some("hunter2")).unwrap();
        options.set_text(TextKey::Url, Some("ws://u:hunter2@h/?k=hunter2")).unwrap();
        options.set_list(ListKey::Env, &["TOKEN=hunter2"]).unwrap();
        options.set_list(ListKey::Headers, &["X: hunter2"]).unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
