//! Connections.

use std::ffi::{c_char, c_int};
use std::os::fd::AsRawFd;

use super::boundary::{
    borrow, buffer, fill, json, limit, optional, output, release, status, status_with, text, value,
    write,
};
use super::enums::{LEASH_NONE, conn_field, leash_code};
use super::event::{into_raw, leash_event};
use super::opts::leash_opts;
use crate::connection::{Arrival, Connection};
use crate::environments::Environments;
use crate::error::{Code, Error, Result};
use crate::options::Options;
use crate::session::CallId;
use crate::sys::fork;

/// One connection.
pub struct leash_conn {
    connection: Connection,
}

/// Start a connection. argv: NULL-terminated, `argv[0]` looked up in the child's PATH (after
/// ENV; a name with a slash, and relative PATH entries, after CWD), no shell, run in its own
/// session and process group; or NULL to dial LEASH_OPT_URL. opts may be NULL with argv.
///
/// The environment is read here, on the calling thread. Waits up to timeout_ms for OPEN
/// (for a child: the program was executed); with 0 it returns at once. Either way OPEN is the
/// first event to poll, or CLOSED when 0 was returned and it never opened; only the RESPONSE of
/// a call that ended even before that comes first. Calls made before OPEN are held. On failure
/// SIGKILL is immediate, nothing is left running, and the return is at most 1 s late. Needs
/// Linux 5.9. Caller owns *out: leash_free. Any thread.
///
/// For a URL timeout_ms covers the look-up of the name, TCP, TLS and the upgrade together; with
/// 0 that may take 30 s. Addresses are tried in turns (RFC 8305). Redirects are refused. No proxy
/// is used, whatever HTTPS_PROXY and ALL_PROXY say. TLS is 1.2 or 1.3; SSL_CERT_FILE and
/// SSL_CERT_DIR name other system roots. Files are read here, on the calling thread.
///
/// LEASH_E_CONNECT (the text says what and why, e.g. "cannot start "pylsp": No such file or
/// directory", or "wss://host:443 refused the WebSocket: it answered 403 Forbidden";
/// leash_last_os_error has the errno), LEASH_E_TIMEOUT (for a URL the text says what was
/// missing), LEASH_E_INTERRUPTED (a signal handler ran), LEASH_E_INVALID, LEASH_E_UNSUPPORTED
/// (LEASH_OPT_URL in a build without WebSocket), LEASH_E_FORKED. *out is NULL then.
///
/// # Safety
///
/// argv is NULL or a NULL-terminated list of NUL-terminated texts; opts is NULL or came from
/// leash_opts_new; out can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_connect(
    argv: *const *const c_char,
    opts: *const leash_opts,
    timeout_ms: i64,
    out: *mut *mut leash_conn,
) -> c_int {
    let work = |out: &mut *mut leash_conn| {
        // SAFETY: by this function's contract.
        let (argv, opts) = unsafe { (list(argv)?, opts.as_ref()) };
        let defaults = Options::default();
        let options = opts.map_or(&defaults, |opts| &opts.options);
        let connection = Connection::open(argv.as_deref(), options, limit(timeout_ms)?)?;
        *out = Box::into_raw(Box::new(leash_conn { connection }));
        Ok(0)
    };
    // SAFETY: by this function's contract.
    unsafe { status_with(out, work) }
}

/// leash_connect to the environment id of a codex environments.toml at path (id NULL: the
/// file's default; path NULL: the url in CODEX_EXEC_SERVER_URL, whose id is "remote"; the
/// value `none` disables it). The file gives program, args, env and cwd, or url; a relative
/// cwd is relative to the file's folder. opts (may be NULL) gives the rest and may not give the
/// same: of LEASH_OPT_ENV, no variable that the file gives. timeout_ms -1 means the file's
/// connect_timeout_sec, 10 s unless the file says. The file and the environment are read here,
/// on the calling thread. All else as leash_connect. Any thread.
///
/// LEASH_E_INVALID: unreadable or invalid file (leash_last_os_error has the errno: ENOENT,
/// EACCES, EISDIR; EINVAL for what is not a regular file, EILSEQ for what is not UTF-8, EFBIG
/// over 1 MiB; else 0 and the text names file, line and key, but no value of args, env or
/// url), unknown or disabled id, no default, CODEX_EXEC_SERVER_URL not set, conflict with
/// opts. LEASH_E_UNSUPPORTED: `local`, which has no server; a url where the build has no
/// WebSocket; a build without environments. Otherwise as leash_connect. *out is NULL then.
///
/// # Safety
///
/// As for leash_connect; path and id are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_connect_env(
    path: *const c_char,
    id: *const c_char,
    opts: *const leash_opts,
    timeout_ms: i64,
    out: *mut *mut leash_conn,
) -> c_int {
    let work = |out: &mut *mut leash_conn| {
        // SAFETY: by this function's contract.
        let (path, id, opts) =
            unsafe { (optional(path, "path")?, optional(id, "id")?, opts.as_ref()) };
        let defaults = Options::default();
        let options = opts.map_or(&defaults, |opts| &opts.options);
        let connection = Connection::open_environment(path, id, options, limit(timeout_ms)?)?;
        *out = Box::into_raw(Box::new(leash_conn { connection }));
        Ok(0)
    };
    // SAFETY: by this function's contract.
    unsafe { status_with(out, work) }
}

/// What a file of environments holds, as JSON without secrets: {"default":"a",
/// "environments":[{"id":"a","kind":"stdio"|"url","connect_timeout_sec":10,
/// "initialize_timeout_sec":10}]}, in the file's order. default is null when the file has
/// none, and may be "local". Both limits are always there; initialize_timeout_sec is for you:
/// the library sends no initialize. path NULL: as for leash_connect_env. Connects to nothing.
/// Any thread.
///
/// *len gets the length, without the NUL. At most cap bytes with a final NUL go to buf;
/// LEASH_E_TOO_BIG when they do not fit: then *len is set all the same, and buf is "" unless
/// cap is 0. So cap 0 (buf may be NULL) asks for the length. LEASH_E_INVALID as for
/// leash_connect_env, with *len 0. LEASH_E_UNSUPPORTED: a build without environments.
/// LEASH_E_FORKED.
///
/// # Safety
///
/// path is NULL or NUL-terminated; buf can be written for cap bytes; len can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_env_list(
    path: *const c_char,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
) -> c_int {
    // SAFETY: NULL or writable, by this function's contract.
    unsafe { write(len, 0) };
    status(|| {
        // SAFETY: by this function's contract.
        let len = unsafe { output(len, "len") }?;
        // SAFETY: as above.
        let (path, buf) = unsafe { (optional(path, "path")?, buffer(buf, cap, "buf")?) };
        let list = Environments::load(path)?.list();
        *len = list.len();
        fill(buf, &list)?;
        Ok(0)
    })
}

/// Descriptor for poll/epoll/kqueue: readable exactly while leash_poll(c, 0, ..) would not
/// return 0 (level-triggered), so for ever once CLOSED was taken: remove it then. Never read,
/// write or close it. Same value until leash_free. From the first leash_fd on, the library
/// reads by itself whenever no thread of yours is waiting. Any thread.
///
/// LEASH_E_INVALID, LEASH_E_FORKED.
///
/// # Safety
///
/// c came from leash_connect and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_fd(c: *const leash_conn) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        Ok(unsafe { conn(c) }?.fd().as_raw_fd())
    })
}

/// Take the next event, in arrival order. stdout and stderr are two pipes: their relative
/// order is approximate. Returns 1 and *out (you own it: leash_event_free), or 0 when
/// timeout_ms passes. Several threads may poll; each event goes to one.
///
/// When the queue is full the library stops reading from the peer: nothing is lost, the peer
/// waits. stderr is still drained; its oldest lines are dropped and counted.
///
/// LEASH_E_CLOSED: CLOSED was taken. LEASH_E_INTERRUPTED: a signal handler ran, or
/// leash_wake. LEASH_E_INVALID, LEASH_E_FORKED, LEASH_E_NO_MEMORY.
///
/// # Safety
///
/// c came from leash_connect and is not freed; out can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_poll(
    c: *mut leash_conn,
    timeout_ms: i64,
    out: *mut *mut leash_event,
) -> c_int {
    let work = |out: &mut _| {
        // SAFETY: by this function's contract.
        let conn = unsafe { conn(c) }?;
        Ok(give(out, conn.poll(limit(timeout_ms)?)?))
    };
    // SAFETY: by this function's contract.
    unsafe { status_with(out, work) }
}

/// Make one leash_poll, running or next, return LEASH_E_INTERRUPTED. Each call counts for
/// one. Async-signal-safe; leaves errno and leash_last_error alone. Any thread.
///
/// LEASH_E_INVALID: c is NULL. LEASH_E_FORKED.
///
/// # Safety
///
/// c came from leash_connect and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_wake(c: *mut leash_conn) -> c_int {
    // Not by `status`, which may allocate.
    if fork::is_copy() {
        return leash_code::LEASH_E_FORKED as c_int;
    }
    // SAFETY: NULL or live, by this function's contract.
    match unsafe { c.as_ref() } {
        Some(c) => {
            crate::sys::keeping_errno(|| c.connection.wake());
            0
        }
        None => leash_code::LEASH_E_INVALID as c_int,
    }
}

/// Send a request; never blocks. Exactly one RESPONSE follows, by leash_poll or leash_wait,
/// whatever happens. It carries tag, which you choose: another thread may see it before this
/// function returns. id (may be NULL) gets a number > 0. params is a JSON array or object of
/// len bytes (or LEASH_NUL), or NULL. timeout_ms runs from now; when it passes the call ends
/// with LEASH_E_TIMEOUT and the peer is told as by leash_cancel (never for `initialize`).
/// Any thread.
///
/// LEASH_E_FULL: send buffer full, nothing queued. LEASH_E_TOO_BIG: over MAX_MESSAGE or
/// SEND_BYTES. LEASH_E_CLOSED. LEASH_E_INVALID: also when timeout_ms is 0.
/// LEASH_E_NO_MEMORY, LEASH_E_FORKED.
///
/// # Safety
///
/// c came from leash_connect and is not freed; method is NUL-terminated; params is NULL,
/// readable for len bytes, or NUL-terminated; id is NULL or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_submit(
    c: *mut leash_conn,
    method: *const c_char,
    params: *const c_char,
    len: usize,
    timeout_ms: i64,
    tag: i64,
    id: *mut i64,
) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        let (conn, method, params) =
            unsafe { (conn(c)?, text(method, "method")?, json(params, len, "params")?) };
        let call = conn.submit(method, params, call_limit(timeout_ms)?, tag)?;
        // SAFETY: NULL or writable, by this function's contract.
        unsafe { write(id, call.get()) };
        Ok(0)
    })
}

/// Wait for one submitted call, out of order with leash_poll, which cannot take its response
/// while this waits. 1 and *out (you own it), or 0 on timeout: the call goes on, wait again or
/// cancel it. A response that came before can be taken, too. Any thread.
///
/// LEASH_E_STATE: unknown, taken already, or another thread waits for it. LEASH_E_FULL as for
/// leash_call. LEASH_E_INTERRUPTED: a signal handler ran. LEASH_E_INVALID, LEASH_E_FORKED,
/// LEASH_E_NO_MEMORY. When the connection ends, the response does come, with LEASH_E_CLOSED as
/// its STATUS.
///
/// # Safety
///
/// c came from leash_connect and is not freed; out can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_wait(
    c: *mut leash_conn,
    id: i64,
    timeout_ms: i64,
    out: *mut *mut leash_event,
) -> c_int {
    let work = |out: &mut _| {
        // SAFETY: by this function's contract.
        let conn = unsafe { conn(c) }?;
        Ok(give(out, conn.wait(call_id(id)?, limit(timeout_ms)?)?))
    };
    // SAFETY: by this function's contract.
    unsafe { status_with(out, work) }
}

/// leash_submit + leash_wait + leash_cancel on failure; leash_poll never sees its response.
/// 0: *out is the response (you own it), result in LEASH_STR_JSON. LEASH_E_RPC: *out is also
/// set, with code, message and data. Otherwise *out is NULL. Any thread.
///
/// Events queue up meanwhile; if the queue is full, so that the answer cannot be read, and no
/// thread takes an event for 1 s: LEASH_E_FULL, never a deadlock.
///
/// LEASH_E_TIMEOUT, LEASH_E_CLOSED, LEASH_E_CANCELLED, LEASH_E_INTERRUPTED, and the errors of
/// leash_submit.
///
/// # Safety
///
/// As for leash_submit; out can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_call(
    c: *mut leash_conn,
    method: *const c_char,
    params: *const c_char,
    len: usize,
    timeout_ms: i64,
    out: *mut *mut leash_event,
) -> c_int {
    let work = |out: &mut _| {
        // SAFETY: by this function's contract.
        let (conn, method, params) =
            unsafe { (conn(c)?, text(method, "method")?, json(params, len, "params")?) };
        let response = conn.call(method, params, call_limit(timeout_ms)?)?;
        let outcome = response.outcome();
        if matches!(&outcome, Err(error) if error.code() != Code::Rpc) {
            return outcome.map(|()| 0);
        }
        give(out, Some(response));
        outcome.map(|()| 0)
    };
    // SAFETY: by this function's contract.
    unsafe { status_with(out, work) }
}

/// Give up on a call: its RESPONSE comes now, with LEASH_E_CANCELLED, and the peer is told if
/// the protocol can (never for `initialize`). A late answer is a NOISE event. Any thread.
///
/// LEASH_E_STATE: already finished, or never was. LEASH_E_INVALID, LEASH_E_FORKED.
///
/// # Safety
///
/// c came from leash_connect and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_cancel(c: *mut leash_conn, id: i64) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        unsafe { conn(c) }?.cancel(call_id(id)?)?;
        Ok(0)
    })
}

/// Send a notification; never blocks. Errors as leash_submit. Any thread.
///
/// # Safety
///
/// As for leash_submit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_notify(
    c: *mut leash_conn,
    method: *const c_char,
    params: *const c_char,
    len: usize,
) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        let (conn, method, params) =
            unsafe { (conn(c)?, text(method, "method")?, json(params, len, "params")?) };
        conn.notify(method, params)?;
        Ok(0)
    })
}

/// Send what LEASH_OPT_CORK has collected; never blocks. LEASH_E_CLOSED, LEASH_E_INVALID,
/// LEASH_E_FORKED. Any thread.
///
/// # Safety
///
/// c came from leash_connect and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_flush(c: *mut leash_conn) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        unsafe { conn(c) }?.flush()?;
        Ok(0)
    })
}

/// A connection field (LEASH_INT_PID, LEASH_INT_QUEUED, LEASH_INT_PENDING), or LEASH_NONE
/// when absent, c is NULL, or this is a forked copy. Any thread.
///
/// # Safety
///
/// c is NULL, or came from leash_connect and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_conn_int(c: *const leash_conn, field: c_int) -> i64 {
    value(LEASH_NONE, || {
        // SAFETY: by this function's contract.
        let conn = unsafe { conn(c) }?;
        Ok(conn_field(field).and_then(|field| conn.int(field)).unwrap_or(LEASH_NONE))
    })
}

/// Tear down: end pending calls with LEASH_E_CLOSED, send what is queued, close stdin (or send
/// a WebSocket close), wait EXIT_AFTER, SIGTERM all, wait KILL_AFTER, SIGKILL all until none is
/// left, reap. "All" is the process group and every descendant, also one that left the group or
/// the session. Survivors of a clean exit are killed too, 100 ms after the server has left.
/// A WebSocket has EXIT_AFTER to take what is queued and to answer the close; then its TCP
/// connection is closed all the same.
///
/// Waits up to timeout_ms for that to finish; it goes on regardless. 0 when done. Idempotent,
/// from any thread. Queued events, then CLOSED, can still be polled.
///
/// LEASH_E_TIMEOUT, LEASH_E_INTERRUPTED (a signal handler ran), LEASH_E_LEFT, LEASH_E_INVALID,
/// LEASH_E_FORKED, LEASH_E_NO_MEMORY (no descriptor to wait on; the teardown goes on).
///
/// # Safety
///
/// c came from leash_connect and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_close(c: *mut leash_conn, timeout_ms: i64) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        unsafe { conn(c) }?.close(limit(timeout_ms)?)?;
        Ok(0)
    })
}

/// leash_close(c, -1), then free (NULL allowed). Bounded by EXIT_AFTER + KILL_AFTER + 1 s. Get
/// other threads out first: leash_close makes their calls return. Does nothing in a forked copy.
///
/// # Safety
///
/// c is NULL, or came from leash_connect and is not freed; no other call on c is running or
/// follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_free(c: *mut leash_conn) {
    release(|| {
        if !c.is_null() {
            // SAFETY: from `Box::into_raw` in `leash_connect`, and freed once,
            // by this function's contract.
            drop(unsafe { Box::from_raw(c) });
        }
    });
}

/// # Safety
///
/// `c` is NULL, or came from `leash_connect` and is not freed while the
/// reference lives.
unsafe fn conn<'a>(c: *const leash_conn) -> Result<&'a Connection> {
    // SAFETY: the caller's promise is the same.
    Ok(&unsafe { borrow(c, "c") }?.connection)
}

/// Give an event to the host: 1, or 0 for none.
#[inline(always)]
fn give(out: &mut *mut leash_event, event: Option<Arrival>) -> c_int {
    match event {
        Some(event) => {
            *out = into_raw(event);
            1
        }
        None => 0,
    }
}

/// # Safety
///
/// `argv` is NULL, or a NULL-terminated list of NUL-terminated texts.
unsafe fn list<'a>(argv: *const *const c_char) -> Result<Option<Vec<&'a str>>> {
    if argv.is_null() {
        return Ok(None);
    }
    let mut items = Vec::new();
    // SAFETY: the items up to the final NULL are readable, and each is text,
    // by this function's contract.
    unsafe {
        while !(*argv.add(items.len())).is_null() {
            items.push(text(*argv.add(items.len()), "an item of argv")?);
        }
    }
    Ok(Some(items))
}

fn call_id(id: i64) -> Result<CallId> {
    CallId::new(id).ok_or_else(|| Error::new(Code::State, "no call has such an id"))
}

fn call_limit(timeout_ms: i64) -> Result<Option<std::time::Duration>> {
    match timeout_ms {
        0 => Err(Error::new(Code::Invalid, "a call needs time: timeout_ms is 0")),
        _ => limit(timeout_ms),
    }
}
