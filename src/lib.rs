//! libleash starts a JSON-RPC server as a child process, or dials one by
//! WebSocket, and leaves nothing running when you let go: however this process
//! ends, the server and all that it started are gone seconds later.
//!
//! ```
//! use std::time::Duration;
//! use leash::{Connection, Event, Options};
//!
//! let limit = Duration::from_secs(10);
//! // `cat` says to us what we say to it.
//! let echo = Connection::launch(["cat"], &Options::new(), limit)?;
//! echo.notify("greet", r#"{"name":"world"}"#)?;
//! for event in echo.events() {
//!     if let Event::Notification(note) = event? {
//!         assert_eq!((note.method(), note.params()), ("greet", Some(r#"{"name":"world"}"#)));
//!         break;
//!     }
//! }
//! echo.close(limit)?; // nothing of it is left after this
//! # Ok::<(), leash::Error>(())
//! ```
//!
//! A call gives the result as the server wrote it; a server that refuses is told
//! from one that does not answer:
//!
//! ```no_run
//! # use std::time::Duration;
//! use leash::{CallError, Connection, Options, Protocol};
//! # let limit = Duration::from_secs(10);
//!
//! let options = Options::new().protocol(Protocol::Lsp).env("RUST_LOG", "off")?;
//! let server = Connection::launch(["some-server", "--stdio"], &options, limit)?;
//! match server.call("sum", "[1, 2]", limit) {
//!     Ok(sum) => println!("{}", sum.as_str()),
//!     Err(CallError::Refused(refusal)) => println!("refused: {refusal}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Only what is documented here is the Rust API. The modules behind it are open
//! to the crate's own tests. The C API is `include/leash.h`; ARCHITECTURE.md
//! shows how a byte travels.

mod api;
#[doc(hidden)]
pub mod connection;
#[cfg_attr(not(feature = "environments"), path = "environments/absent.rs")]
#[doc(hidden)]
pub mod environments;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod events;
#[allow(unsafe_code, reason = "the border to C; each function checks what it is given")]
#[doc(hidden)]
pub mod ffi;
#[doc(hidden)]
pub mod framing;
#[doc(hidden)]
pub mod message;
mod numbered;
#[doc(hidden)]
pub mod options;
#[doc(hidden)]
pub mod process;
mod runtime;
#[doc(hidden)]
pub mod session;
mod spare;
#[allow(unsafe_code, reason = "system calls; each wrapper is safe to call")]
#[doc(hidden)]
pub mod sys;
mod trace;
#[doc(hidden)]
pub mod transport;

pub use api::{
    Call, CallError, Closed, Connection, Event, Json, Notification, Outcome, Refusal, Request,
};
pub use error::{Code, Error, Result};
pub use message::Protocol;
pub use options::Options;
pub use process::{Exit, Stage, Stderr, Teardown};
