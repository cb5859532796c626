//! Events.

use std::ffi::{c_char, c_int};
use std::ptr;

use super::boundary::{borrow, json, release, status, text, value, write};
use super::enums::{EventInt, LEASH_NONE, event_text, leash_code, leash_kind};
use crate::connection::{Arrival, Event};
use crate::error::Result;

/// One thing that arrived.
// The name that C has for an `Event`: what the host holds is the event itself.
pub struct leash_event(());

/// Give an event to the host, who frees it.
#[inline(always)]
pub(super) fn into_raw(event: Arrival) -> *mut leash_event {
    Box::into_raw(event.into_inner()).cast()
}

/// # Safety
///
/// `event` is NULL, or came from [`into_raw`] and is not freed while the reference
/// lives.
unsafe fn event<'a>(event: *const leash_event, name: &str) -> Result<&'a Event> {
    // SAFETY: an `Event` under its other name, by this function's contract.
    unsafe { borrow(event.cast(), name) }
}

/// Answer a REQUEST event; never blocks. result is any JSON of len bytes (or LEASH_NUL); NULL
/// sends null. The event stays yours. Any thread.
///
/// LEASH_E_STATE: not a REQUEST, or already answered. LEASH_E_CLOSED, LEASH_E_FULL,
/// LEASH_E_TOO_BIG, LEASH_E_INVALID, LEASH_E_NO_MEMORY: not answered, you may try again.
/// LEASH_E_FORKED.
///
/// # Safety
///
/// request came from leash_poll and is not freed; result is NULL, readable for len bytes, or
/// NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_reply(
    request: *mut leash_event,
    result: *const c_char,
    len: usize,
) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        let (request, result) =
            unsafe { (event(request, "request")?, json(result, len, "result")?) };
        request.reply(result)?;
        Ok(0)
    })
}

/// Refuse a REQUEST event with a JSON-RPC error (JSON-RPC 2.0, section 5.1); never blocks.
/// message is text; data is any JSON of len bytes (or LEASH_NUL), or NULL. Errors as
/// leash_reply. Any thread.
///
/// # Safety
///
/// As for leash_reply; message is NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_reply_error(
    request: *mut leash_event,
    rpc_code: i64,
    message: *const c_char,
    data: *const c_char,
    len: usize,
) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        let (request, message, data) = unsafe {
            (event(request, "request")?, text(message, "message")?, json(data, len, "data")?)
        };
        request.refuse(rpc_code, message, data)?;
        Ok(0)
    })
}

/// One of enum leash_kind; 0 for NULL, or in a forked copy. Any thread.
///
/// # Safety
///
/// e is NULL, or came from this library and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_event_kind(e: *const leash_event) -> c_int {
    value(0, || {
        // SAFETY: by this function's contract.
        let e = unsafe { event(e, "e") }?;
        Ok(leash_kind::from(e.kind()) as c_int)
    })
}

/// A number of an event, or LEASH_NONE when it is absent, the field unknown, e NULL, or this a
/// forked copy. Any thread.
///
/// # Safety
///
/// e is NULL, or came from this library and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_event_int(e: *const leash_event, field: c_int) -> i64 {
    value(LEASH_NONE, || {
        // SAFETY: by this function's contract.
        let event = unsafe { event(e, "e") }?;
        let number = match EventInt::new(field) {
            Some(EventInt::Status) => event.status().map(|status| match status {
                Ok(()) => 0,
                Err(code) => i64::from(leash_code::from(code) as c_int),
            }),
            Some(EventInt::Field(field)) => event.int(field),
            None => None,
        };
        Ok(number.unwrap_or(LEASH_NONE))
    })
}

/// A text of an event, or NULL when it is absent, the field unknown, e NULL, or this a forked
/// copy. *len (may be NULL) gets its length in bytes, 0 with NULL. Text lives until
/// leash_event_free(e). JSON is as the peer wrote it; it may contain \u0000 escapes but no raw
/// NUL. In METHOD and TEXT what C cannot hold (NUL, half of a surrogate pair) is U+FFFD. Any
/// thread.
///
/// # Safety
///
/// e is NULL, or came from this library and is not freed; len is NULL or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_event_str(
    e: *const leash_event,
    field: c_int,
    len: *mut usize,
) -> *const c_char {
    // Outside of what a forked copy refuses to run.
    // SAFETY: NULL or writable, by this function's contract.
    unsafe { write(len, 0) };
    value(ptr::null(), || {
        // SAFETY: by this function's contract.
        let event = unsafe { event(e, "e") }?;
        let Some(text) = event_text(field).and_then(|field| event.text(field)) else {
            return Ok(ptr::null());
        };
        // SAFETY: NULL or writable, by this function's contract.
        unsafe { write(len, text.bytes().len()) };
        Ok(text.as_ptr().cast())
    })
}

/// Free an event (NULL allowed); safe before or after leash_free. A REQUEST freed without an
/// answer is answered with -32603, so that the peer does not hang. Any thread; does nothing in
/// a forked copy.
///
/// # Safety
///
/// e is NULL, or came from this library and is not freed; no other call on e is running or
/// follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_event_free(e: *mut leash_event) {
    release(|| {
        if !e.is_null() {
            // SAFETY: from `into_raw`, and freed once, by this function's
            // contract.
            drop(Arrival::from(unsafe { Box::from_raw(e.cast::<Event>()) }));
        }
    });
}
