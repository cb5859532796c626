//! libleash drives a JSON-RPC server that runs as a child process, and leaves
//! nothing running when the host lets go. The C API is `include/leash.h`;
//! ARCHITECTURE.md shows how a byte travels through the modules below.

pub mod connection;
pub mod environments;
pub mod error;
pub mod events;
#[allow(unsafe_code, reason = "the border to C; each function checks what it is given")]
pub mod ffi;
pub mod framing;
pub mod message;
pub mod options;
pub mod process;
mod runtime;
pub mod session;
mod spare;
#[allow(unsafe_code, reason = "system calls; each wrapper is safe to call")]
pub mod sys;
mod trace;
pub mod transport;

/// What the fuzz targets in tests/fuzz hold against something simpler. Not part
/// of the API: no promise holds for it.
#[doc(hidden)]
pub mod internals {
    pub use crate::environments::Environments;
    pub use crate::error::{Code, Error, Result};
    pub use crate::framing::{Decoder, Framing, Piece};
    pub use crate::message::{Frame, Kind, Parsed, Payload, Terminated, parse};
    pub use crate::options::{ListKey, Options, TextKey};
    pub use crate::session::{CallId, Session};
    #[cfg(feature = "websocket")]
    pub use crate::transport::websocket::{Target, Trust};
}
