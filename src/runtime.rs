//! The library's one thread, for all connections of the process.

use std::io;
use std::thread;

use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, Handle};

use crate::error::{Code, Error, Result};
use crate::sys;

static RUNTIME: OnceCell<Handle> = OnceCell::new();

/// The runtime; its thread is started on first use. When that fails, the next
/// call tries again.
///
/// `Connect`: the thread, or one of its descriptors, could not be had.
pub fn handle() -> Result<&'static Handle> {
    RUNTIME
        .get_or_try_init(start)
        .map_err(|e| Error::os(Code::Connect, "cannot start the library's thread", &e))
}

fn start() -> io::Result<Handle> {
    sys::fork::watch()?;
    // The thread inherits the mask: no signal of the host's is ever run on it.
    sys::io::with_signals_blocked(|| {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("leash-io".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(handle)
    })
}
