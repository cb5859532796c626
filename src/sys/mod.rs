//! System calls, wrapped so that every wrapper is safe for any argument its
//! types allow. The one place that knows the operating system.

mod fd;
pub mod fork;
pub mod io;
pub mod park;

pub use fd::Fd;
