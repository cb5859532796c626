//! Settings.

use std::ffi::{c_char, c_int};
use std::ptr;

use super::boundary::{optional, output, release, status, text, value};
use super::enums::Key;
use crate::error::{Code, Error, Result};
use crate::options::Options;
use crate::sys::fork;

/// Settings for one connection.
pub struct leash_opts {
    pub(super) options: Options,
}

/// New settings with the defaults above; NULL only when out of memory, or in a forked
/// copy of a host that has used the library. Caller owns it: leash_opts_free. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn leash_opts_new() -> *mut leash_opts {
    value(ptr::null_mut(), || {
        fork::watch().map_err(|e| Error::os(Code::NoMemory, "cannot watch for forks", &e))?;
        Ok(Box::into_raw(Box::new(leash_opts { options: Options::default() })))
    })
}

/// Free opts (NULL allowed) and wipe its secrets. Connections do not refer to it. Any
/// thread, as long as no other call on opts is running or follows.
///
/// # Safety
///
/// opts is NULL, or came from leash_opts_new and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_opts_free(opts: *mut leash_opts) {
    release(|| {
        if !opts.is_null() {
            // SAFETY: from `Box::into_raw` in `leash_opts_new`, and freed once,
            // by this function's contract.
            drop(unsafe { Box::from_raw(opts) });
        }
    });
}

/// Set a text option (LEASH_OPT_URL to LEASH_OPT_CWD). The value is copied; NULL restores
/// the default.
///
/// LEASH_E_UNSUPPORTED: key unknown, so an old library never ignores a new option.
/// LEASH_E_INVALID: wrong setter for key, not UTF-8, or out of range; nothing changed.
///
/// # Safety
///
/// opts came from leash_opts_new; value is NULL or NUL-terminated. Setting one opts from
/// two threads needs a lock of yours.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_opts_set_str(
    opts: *mut leash_opts,
    key: c_int,
    value: *const c_char,
) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        let (opts, value) = unsafe { (output(opts, "opts")?, optional(value, "value")?) };
        match key_of(key)? {
            Key::Text(key) => opts.options.set_text(key, value)?,
            Key::List(_) => return Err(wrong("leash_opts_set_list")),
            Key::Int(_) => return Err(wrong("leash_opts_set_int")),
        }
        Ok(0)
    })
}

/// Set a number option (from LEASH_OPT_PROTOCOL on). Errors as leash_opts_set_str.
///
/// # Safety
///
/// As for leash_opts_set_str.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_opts_set_int(
    opts: *mut leash_opts,
    key: c_int,
    value: i64,
) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        let opts = unsafe { output(opts, "opts") }?;
        match key_of(key)? {
            Key::Int(key) => opts.options.set_int(key, value)?,
            Key::Text(_) => return Err(wrong("leash_opts_set_str")),
            Key::List(_) => return Err(wrong("leash_opts_set_list")),
        }
        Ok(0)
    })
}

/// Set a list option (LEASH_OPT_HEADERS, LEASH_OPT_ENV). list has n items, all copied; a
/// NULL list restores the default, which is empty. Errors as leash_opts_set_str.
///
/// # Safety
///
/// As for leash_opts_set_str; list is NULL or has n items, each NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leash_opts_set_list(
    opts: *mut leash_opts,
    key: c_int,
    list: *const *const c_char,
    n: usize,
) -> c_int {
    status(|| {
        // SAFETY: by this function's contract.
        let (opts, list) = unsafe { (output(opts, "opts")?, items(list, n)?) };
        match key_of(key)? {
            Key::List(key) => opts.options.set_list(key, &list)?,
            Key::Text(_) => return Err(wrong("leash_opts_set_str")),
            Key::Int(_) => return Err(wrong("leash_opts_set_int")),
        }
        Ok(0)
    })
}

/// # Safety
///
/// `list` is NULL or has `n` items, each NULL or NUL-terminated.
unsafe fn items<'a>(list: *const *const c_char, n: usize) -> Result<Vec<&'a str>> {
    if list.is_null() {
        return match n {
            0 => Ok(Vec::new()),
            _ => Err(Error::new(Code::Invalid, "list is NULL but has items")),
        };
    }
    // SAFETY: `n` items are readable, and each is text, by this function's
    // contract.
    (0..n).map(|index| unsafe { text(*list.add(index), "an item of list") }).collect()
}

fn key_of(key: c_int) -> Result<Key> {
    Key::new(key).ok_or_else(|| {
        Error::new(Code::Unsupported, format!("option {key} is unknown to this build"))
    })
}

fn wrong(setter: &str) -> Error {
    Error::new(Code::Invalid, format!("this option is set by {setter}"))
}
