//! The library's one thread, for all connections of the process.

use std::io;
use std::thread;
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, Handle};

use crate::error::{Code, Error, Result};
use crate::sys;

/// A resolver may take minutes to fail; more names than this wait their turn,
/// and their deadlines go on.
const LOOKUPS_MAX: usize = 16;

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
        // Blocking work is one thing only: looking up names. Its threads are
        // begun by ours and so block all signals, and they end soon.
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("leash-dns")
            .max_blocking_threads(LOOKUPS_MAX)
            .thread_keep_alive(Duration::from_millis(100))
            .build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("leash-io".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(handle)
    })
}
