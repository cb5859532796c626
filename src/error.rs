//! What went wrong: a code for the program, a sentence for the person.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// What the caller can do about an error. One per `LEASH_E_*` of the C API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// An argument is wrong: pointer, option, length, UTF-8 or JSON.
    Invalid,
    /// This build does not know the option or field.
    Unsupported,
    /// The server could not be started or reached.
    Connect,
    /// A deadline passed.
    Timeout,
    /// The caller gave the call up.
    Cancelled,
    /// The connection has ended.
    Closed,
    /// The peer answered with a JSON-RPC error.
    Rpc,
    /// The peer broke framing or JSON-RPC beyond repair.
    Protocol,
    /// A message is larger than allowed.
    TooBig,
    /// The send buffer, or the queue of unread events, is full.
    Full,
    /// A signal handler ran, or the wait was woken.
    Interrupted,
    /// Not now: already answered, already claimed, already finished.
    State,
    /// The process is a forked copy of the one that owns the connection.
    Forked,
    /// A bug in libleash.
    Internal,
    /// Memory for a message could not be had.
    NoMemory,
    /// Torn down, but some processes may not be killed by us.
    Left,
}

/// A [`Code`], a sentence that names what failed, and the `errno` behind it.
///
/// The sentence never holds argv, environment values, headers, tokens,
/// payloads, or a URL's user info, path or query.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

// Behind one pointer: nearly every function can fail, and nearly none does.
#[derive(Clone, PartialEq, Eq)]
struct Parts {
    code: Code,
    text: Cow<'static, str>,
    os: i32,
}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with no system call behind it.
    #[doc(hidden)]
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self::of(code, text.into(), 0)
    }

    #[cold]
    fn of(code: Code, text: Cow<'static, str>, os: i32) -> Self {
        Self(Box::new(Parts { code, text, os }))
    }

    /// An error caused by a system call: `what` failed, and why.
    #[doc(hidden)]
    pub fn os(code: Code, what: impl fmt::Display, source: &io::Error) -> Self {
        let os = source.raw_os_error().unwrap_or(0);
        Self::of(code, format!("{what}: {}", reason(source)).into(), os)
    }

    /// The same with the `errno` behind it, whose name is in the text already.
    pub(crate) fn caused_by(mut self, os: i32) -> Self {
        self.0.os = os;
        self
    }

    /// What the caller can do about it.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence for the person.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The `errno` behind it, or 0.
    pub fn os_error(&self) -> i32 {
        self.0.os
    }
}

/// The system's own words, without Rust's "(os error N)" behind them.
fn reason(source: &io::Error) -> String {
    match source.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_owned(),
        None => source.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { code, text, os } = &*self.0;
        f.debug_struct("Error").field("code", code).field("text", text).field("os", os).finish()
    }
}

impl std::error::Error for Error {}
