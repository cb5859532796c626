//! The settings, one after the other, as Rust writes them.

use std::time::Duration;

use super::{IntKey, Options, Secret, TextKey, check_header, check_variable, invalid};
use crate::error::Result;
use crate::message::Protocol;
use crate::process::Stderr;

/// Each of these takes the options and gives them back. `Invalid`: a value that
/// cannot be.
impl Options {
    /// The defaults: JSON-RPC 2.0 with a message a line, the host's environment
    /// and folder, stderr as events.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the server wants to be spoken to; [`Protocol::JsonRpc`].
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Set a variable of the server's environment.
    pub fn env(mut self, name: &str, value: &str) -> Result<Self> {
        check_name(name)?;
        let variable = Secret::joined(&[name, "=", value]);
        check_variable(&variable)?;
        self.env.push(variable);
        Ok(self)
    }

    /// Do not hand a variable of the host down.
    pub fn env_remove(mut self, name: &str) -> Result<Self> {
        check_name(name)?;
        check_variable(name)?;
        self.env.push(Secret::new(name));
        Ok(self)
    }

    /// Hand nothing of the host's environment down.
    pub fn env_clear(mut self) -> Self {
        self.env_clear = true;
        self
    }

    /// The server's working directory.
    pub fn cwd(self, folder: &str) -> Result<Self> {
        self.with_text(TextKey::Cwd, folder)
    }

    /// What becomes of the server's stderr; [`Stderr::Pipe`]: events.
    pub fn stderr(mut self, stderr: Stderr) -> Self {
        self.stderr = stderr;
        self
    }

    /// A header of the WebSocket handshake. Its value is secret.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let header = Secret::joined(&[name, ": ", value]);
        check_header(&header)?;
        self.headers.push(header);
        Ok(self)
    }

    /// A token for the WebSocket handshake, `Authorization: Bearer` (RFC 6750).
    pub fn bearer(self, token: &str) -> Result<Self> {
        self.with_text(TextKey::Bearer, token)
    }

    /// A PEM file of root certificates for `wss://`; otherwise the system's.
    pub fn ca_file(self, path: &str) -> Result<Self> {
        self.with_text(TextKey::CaFile, path)
    }

    /// PEM files of the client's certificate chain and key, for `wss://`.
    pub fn client_certificate(self, chain: &str, key: &str) -> Result<Self> {
        self.with_text(TextKey::CertFile, chain)?.with_text(TextKey::KeyFile, key)
    }

    /// Time between WebSocket pings; zero, the default, sends none.
    pub fn ping_every(self, period: Duration) -> Result<Self> {
        self.with_time(IntKey::PingEvery, period)
    }

    /// Bytes of one message, both ways; 64 MiB.
    pub fn max_message(self, bytes: usize) -> Result<Self> {
        self.with_size(IntKey::MaxMessage, bytes)
    }

    /// Unread events before reading stops; 4096.
    pub fn queue_events(self, events: usize) -> Result<Self> {
        self.with_size(IntKey::QueueEvents, events)
    }

    /// Bytes of unread events before reading stops; 64 MiB.
    pub fn queue_bytes(self, bytes: usize) -> Result<Self> {
        self.with_size(IntKey::QueueBytes, bytes)
    }

    /// Bytes of unsent output; 64 MiB.
    pub fn send_bytes(self, bytes: usize) -> Result<Self> {
        self.with_size(IntKey::SendBytes, bytes)
    }

    /// Time from a close to SIGTERM; 2 seconds.
    pub fn exit_after(self, time: Duration) -> Result<Self> {
        self.with_time(IntKey::ExitAfter, time)
    }

    /// Time from SIGTERM to SIGKILL; 2 seconds.
    pub fn kill_after(self, time: Duration) -> Result<Self> {
        self.with_time(IntKey::KillAfter, time)
    }

    /// Collect what is submitted and notified until `flush` or a wait.
    pub fn cork(mut self) -> Self {
        self.cork = true;
        self
    }

    pub(crate) fn url(self, url: &str) -> Result<Self> {
        self.with_text(TextKey::Url, url)
    }

    fn with_text(mut self, key: TextKey, text: &str) -> Result<Self> {
        self.set_text(key, Some(text))?;
        Ok(self)
    }

    fn with_size(mut self, key: IntKey, size: usize) -> Result<Self> {
        self.set_int(key, i64::try_from(size).unwrap_or(i64::MAX))?;
        Ok(self)
    }

    fn with_time(mut self, key: IntKey, time: Duration) -> Result<Self> {
        self.set_int(key, i64::try_from(time.as_millis()).unwrap_or(i64::MAX))?;
        Ok(self)
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.contains('=') {
        return Err(invalid("the name of a variable contains \"=\""));
    }
    Ok(())
}
