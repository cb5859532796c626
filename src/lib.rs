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
pub mod transport;
