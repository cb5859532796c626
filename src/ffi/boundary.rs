//! What every function of the C API does at its border: no panic crosses it,
//! no pointer is used unchecked, and an error is kept for its thread.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Once;
use std::time::Duration;

use super::enums::{LEASH_ABI, LEASH_NUL, LEASH_VERSION_NUMBER, leash_code};
use crate::error::{Code, Error, Result};
use crate::sys::fork;

/// The calling thread's most recent failure.
struct Failure {
    text: CString,
    os: c_int,
}

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Version of the library in use, e.g. "0.1.0". Static: never free it. number (0xMMmmpp)
/// and abi may be NULL. Bindings that dlopen() should compare abi with LEASH_ABI.
/// Any thread; never fails.
///
/// # Safety
///
/// number and abi are NULL or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_version(number: *mut u32, abi: *mut u32) -> *const c_char {
    // SAFETY: NULL or writable, by this function's contract.
    unsafe {
        write(number, LEASH_VERSION_NUMBER);
        write(abi, LEASH_ABI);
    }
    const TEXT: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => panic!("a version has no NUL"),
        };
    TEXT.as_ptr()
}

/// Text for the calling thread's most recent failure; "" if none. Valid until this
/// thread's next leash call. Success does not clear it: read it only after a failure.
/// Any thread; never fails.
#[unsafe(no_mangle)]
pub extern "C" fn leash_last_error() -> *const c_char {
    let text = LAST.try_with(|last| last.borrow().as_ref().map(|failure| failure.text.as_ptr()));
    text.ok().flatten().unwrap_or(c"".as_ptr())
}

/// errno behind the calling thread's most recent failure (ENOENT, EACCES, ECONNREFUSED,
/// ...); 0 if there is none. Same lifetime as leash_last_error. Any thread; never fails.
#[unsafe(no_mangle)]
pub extern "C" fn leash_last_os_error() -> c_int {
    let os = LAST.try_with(|last| last.borrow().as_ref().map(|failure| failure.os));
    os.ok().flatten().unwrap_or(0)
}

/// Run `work`, give back its number, or the code of its error.
pub(super) fn status(work: impl FnOnce() -> Result<c_int>) -> c_int {
    match guarded(work) {
        Ok(number) => number,
        Err(error) => keep(&error),
    }
}

/// The same, with an output that is NULL after failure, also in a forked copy.
///
/// # Safety
///
/// `out` is NULL or can be written.
pub(super) unsafe fn status_with<T>(
    out: *mut *mut T,
    work: impl FnOnce(&mut *mut T) -> Result<c_int>,
) -> c_int {
    // SAFETY: NULL or writable, by this function's contract.
    unsafe { write(out, ptr::null_mut()) };
    status(|| {
        // SAFETY: as above.
        work(unsafe { output(out, "out") }?)
    })
}

/// Run `work`, give back its value, or `otherwise` when it fails.
pub(super) fn value<T>(otherwise: T, work: impl FnOnce() -> Result<T>) -> T {
    guarded(work).unwrap_or_else(|error| {
        keep(&error);
        otherwise
    })
}

/// Run `work`, which frees something. In a forked copy it does nothing: what it
/// would free is half of a thing whose other half is in the parent.
pub(super) fn release(work: impl FnOnce()) {
    if !fork::is_copy() {
        // A panic here has closed the connection that it was about.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    if fork::is_copy() {
        return Err(Error::new(
            Code::Forked,
            "this process was forked from the one that uses libleash: exec first, or connect there",
        ));
    }
    quiet();
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::new(Code::Internal, "a bug in libleash; please report it")))
}

/// A library prints nothing, not even when it panics. This runs only for C
/// hosts: the standard library in here is our own.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// Keep `error` for [`leash_last_error`], and give back its code.
fn keep(error: &Error) -> c_int {
    let text = CString::new(error.text().replace('\0', "\u{FFFD}")).unwrap_or_default();
    // A thread that is ending has no place for it any more.
    let _ = LAST.try_with(|last| {
        *last.borrow_mut() = Some(Failure { text, os: error.os_error() });
    });
    leash_code::from(error.code()) as c_int
}

/// The object behind `pointer`.
///
/// # Safety
///
/// `pointer` is NULL or came from the function that makes such objects, and is
/// not freed while the reference lives.
pub(super) unsafe fn borrow<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: NULL or live, by this function's contract.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// The place behind `pointer`, for an output.
///
/// # Safety
///
/// `pointer` is NULL or can be written while the reference lives.
pub(super) unsafe fn output<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    // SAFETY: NULL or writable, by this function's contract.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(name))
}

/// Write `value` unless `pointer` is NULL.
///
/// # Safety
///
/// `pointer` is NULL or can be written.
pub(super) unsafe fn write<T>(pointer: *mut T, value: T) {
    if !pointer.is_null() {
        // SAFETY: not NULL, and writable by this function's contract.
        unsafe { pointer.write(value) };
    }
}

/// The host's memory for a text of ours.
///
/// # Safety
///
/// `pointer` can be written for `capacity` bytes while the reference lives.
pub(super) unsafe fn buffer<'a>(
    pointer: *mut c_char,
    capacity: usize,
    name: &str,
) -> Result<&'a mut [MaybeUninit<u8>]> {
    if capacity == 0 {
        return Ok(&mut []);
    }
    if pointer.is_null() {
        return Err(Error::new(Code::Invalid, format!("{name} is NULL but has a size")));
    }
    if capacity > isize::MAX as usize {
        return Err(Error::new(Code::Invalid, format!("the size of {name} is impossible")));
    }
    // SAFETY: not NULL, and writable by this function's contract; the size fits
    // an allocation. Nothing is said of what is in there.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), capacity) })
}

/// Put `text` and a NUL there, or the NUL alone if both do not fit.
pub(super) fn fill(buffer: &mut [MaybeUninit<u8>], text: &str) -> Result<()> {
    let fits = text.len() < buffer.len();
    let shown = if fits { text } else { "" };
    for (place, byte) in buffer.iter_mut().zip(shown.bytes().chain([0])) {
        place.write(byte);
    }
    match fits {
        true => Ok(()),
        false => Err(Error::new(
            Code::TooBig,
            format!(
                "the text needs {} bytes with its NUL, and has {}",
                text.len() + 1,
                buffer.len()
            ),
        )),
    }
}

/// NUL-terminated text of the host's; `None` for NULL.
///
/// # Safety
///
/// `text` is NULL or NUL-terminated, and does not change while the reference
/// lives.
pub(super) unsafe fn optional<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and NUL-terminated by this function's contract.
    let text = unsafe { CStr::from_ptr(text) };
    let bytes = text.to_bytes();
    if bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8. Most names are, and are known faster so.
        return Ok(Some(unsafe { std::str::from_utf8_unchecked(bytes) }));
    }
    let text = std::str::from_utf8(bytes);
    text.map(Some).map_err(|_| Error::new(Code::Invalid, format!("{name} is not UTF-8")))
}

/// NUL-terminated text of the host's.
///
/// # Safety
///
/// As for [`optional`].
pub(super) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: the caller's promise is the same.
    unsafe { optional(text, name) }?.ok_or_else(|| null(name))
}

/// JSON of the host's, `length` bytes or NUL-terminated; `None` for NULL.
///
/// # Safety
///
/// `json` is NULL, or readable for `length` bytes, or NUL-terminated when that
/// is `LEASH_NUL`; it does not change while the reference lives.
#[inline(always)]
pub(super) unsafe fn json<'a>(
    json: *const c_char,
    length: usize,
    name: &str,
) -> Result<Option<&'a [u8]>> {
    if json.is_null() {
        return match length {
            0 | LEASH_NUL => Ok(None),
            _ => Err(Error::new(Code::Invalid, format!("{name} is NULL but has a length"))),
        };
    }
    if length == LEASH_NUL {
        // SAFETY: NUL-terminated, by this function's contract.
        return Ok(Some(unsafe { CStr::from_ptr(json) }.to_bytes()));
    }
    if length > isize::MAX as usize {
        return Err(Error::new(Code::Invalid, format!("the length of {name} is impossible")));
    }
    // SAFETY: readable for `length` bytes, by this function's contract; the
    // length fits an allocation.
    Ok(Some(unsafe { std::slice::from_raw_parts(json.cast(), length) }))
}

/// A limit in milliseconds: -1 is none.
pub(super) fn limit(timeout_ms: i64) -> Result<Option<Duration>> {
    match timeout_ms {
        -1 => Ok(None),
        0.. => Ok(Some(Duration::from_millis(timeout_ms.unsigned_abs()))),
        _ => Err(Error::new(Code::Invalid, "timeout_ms must be -1 (no limit) or not negative")),
    }
}

fn null(name: &str) -> Error {
    Error::new(Code::Invalid, format!("{name} is NULL"))
}
