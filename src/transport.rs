//! Whole messages in and out. Each transport ends once, with a reason.

pub mod stdio;
