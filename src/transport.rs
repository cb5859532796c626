//! Whole messages in and out. Each transport ends once, with a reason.

pub mod stdio;
#[cfg(feature = "websocket")]
pub mod websocket;
