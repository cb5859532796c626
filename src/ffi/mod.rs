//! The C API. Each function checks pointers, calls one method of the library
//! and gives back a status. The documentation here becomes `include/leash.h`.
#![allow(non_camel_case_types, reason = "these names are C's")]

mod boundary;
mod conn;
mod enums;
mod event;
mod opts;

pub use boundary::{leash_last_error, leash_last_os_error, leash_version};
pub use conn::*;
pub use enums::*;
pub use event::*;
pub use opts::*;
