//! libleash drives a JSON-RPC server that runs as a child process, and leaves
//! nothing running when the host lets go. The C API is `include/leash.h`;
//! ARCHITECTURE.md shows how a byte travels through the modules below.

pub mod error;
pub mod events;
pub mod framing;
pub mod message;
pub mod options;
pub mod process;
pub mod session;
#[allow(unsafe_code, reason = "system calls; each wrapper is safe to call")]
pub mod sys;
