//! Whole messages in and out. Each transport ends once, with a reason.

mod reader;
pub mod stdio;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use reader::Reader;
