//! The C API, driven by a program of bytes against a server that is driven by
//! another: any calls in any order with any arguments that C may pass. Each
//! request gets one response, each failure has a text, and the end comes.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

use super::Program;

// So that the library is linked in.
use leash as _;

type Handle = *mut c_void;

unsafe extern "C" {
    fn leash_last_error() -> *const c_char;
    fn leash_connect(
        argv: *const *const c_char,
        opts: Handle,
        limit: i64,
        out: *mut Handle,
    ) -> c_int;
    fn leash_fd(c: Handle) -> c_int;
    fn leash_poll(c: Handle, limit: i64, out: *mut Handle) -> c_int;
    fn leash_wake(c: Handle) -> c_int;
    fn leash_submit(
        c: Handle,
        method: *const c_char,
        params: *const c_char,
        len: usize,
        limit: i64,
        tag: i64,
        id: *mut i64,
    ) -> c_int;
    fn leash_wait(c: Handle, id: i64, limit: i64, out: *mut Handle) -> c_int;
    fn leash_call(
        c: Handle,
        method: *const c_char,
        params: *const c_char,
        len: usize,
        limit: i64,
        out: *mut Handle,
    ) -> c_int;
    fn leash_cancel(c: Handle, id: i64) -> c_int;
    fn leash_notify(c: Handle, method: *const c_char, params: *const c_char, len: usize) -> c_int;
    fn leash_flush(c: Handle) -> c_int;
    fn leash_conn_int(c: Handle, field: c_int) -> i64;
    fn leash_close(c: Handle, limit: i64) -> c_int;
    fn leash_free(c: Handle);
    fn leash_reply(request: Handle, result: *const c_char, len: usize) -> c_int;
    fn leash_reply_error(
        request: Handle,
        code: i64,
        message: *const c_char,
        data: *const c_char,
        len: usize,
    ) -> c_int;
    fn leash_event_kind(e: Handle) -> c_int;
    fn leash_event_int(e: Handle, field: c_int) -> i64;
    fn leash_event_str(e: Handle, field: c_int, len: *mut usize) -> *const c_char;
    fn leash_event_free(e: Handle);
    fn leash_opts_new() -> Handle;
    fn leash_opts_free(opts: Handle);
    fn leash_opts_set_str(opts: Handle, key: c_int, value: *const c_char) -> c_int;
    fn leash_opts_set_int(opts: Handle, key: c_int, value: i64) -> c_int;
    fn leash_opts_set_list(opts: Handle, key: c_int, list: *const *const c_char, n: usize)
    -> c_int;
}

const NUL: usize = usize::MAX;
const E_CLOSED: c_int = -6;
const E_INTERRUPTED: c_int = -11;
const RESPONSE: c_int = 2;
const REQUEST: c_int = 4;
const CLOSED: c_int = 7;
const INT_STATUS: c_int = 1;
const INT_CALL: c_int = 2;
const INT_TAG: c_int = 3;
const INT_SEQ: c_int = 4;
const OPT_ENV: c_int = 21;
const OPT_STDERR: c_int = 42;
const OPT_EXIT_AFTER: c_int = 47;
const OPT_KILL_AFTER: c_int = 48;

/// In the server's environment and in what is sent.
const TOKEN: &str = "hunter2-swordfish";

/// Longer than anything here takes.
const LONG: i64 = 20_000;

/// One program. `path` is that of examples/misbehave.
pub fn run(path: &str, data: &[u8]) {
    let mut program = Program::new(data);
    let argv = server(path, &mut program);
    let pointers: Vec<_> = argv.iter().map(|item| item.as_ptr()).chain([null()]).collect();
    let mut c = null_mut();
    let limit = if program.byte().is_multiple_of(4) { 0 } else { LONG };
    // SAFETY: as the contract of each function in leash.h wants it: pointers
    // are NULL or live, and nothing is used after it was freed.
    unsafe {
        let opts = options(&mut program);
        let code = check(leash_connect(pointers.as_ptr(), opts, limit, &mut c));
        leash_opts_free(opts);
        assert_eq!(code == 0, !c.is_null());
        if code != 0 {
            return;
        }
    }
    Host { c, calls: HashMap::new(), known: vec![0, -1, 1, i64::MAX], held: Vec::new(), seq: 0 }
        .run(&mut program);
}

/// A script of examples/misbehave: what it can do without taking long.
fn server(path: &str, program: &mut Program<'_>) -> Vec<CString> {
    let mut argv = vec![path.to_owned()];
    for _ in 0..program.byte() % 9 {
        argv.push(match program.byte() % 28 {
            0 => "recv".into(),
            1 => "request".into(),
            2 => r#"reply:{"ok":true}"#.into(),
            3 => "error:-1:no".into(),
            4 => r#"notify:n:{"a":1}"#.into(),
            5 => "ask:1:x".into(),
            6 | 7 => "echo-loop".into(),
            8 => "shuffle:3".into(),
            9 => "flood:20".into(),
            10 => "flood:3:5000".into(),
            11 => "big:70000".into(),
            12 => "endless:3000".into(),
            13 => "noise".into(),
            14..=16 => raw(program),
            17 => "stderr:x".into(),
            18 => "lsp".into(),
            19 => "byte-at-a-time".into(),
            20 => "close-stdout".into(),
            21 => "close-stdin".into(),
            22 => "exit:0".into(),
            23 => "exit:3".into(),
            24 => "abort".into(),
            25 => "sleep:1".into(),
            26 => "ignore-eof".into(),
            _ => format!(r#"send:{{"id":{},"method":"ask","params":[]}}"#, program.byte()),
        });
    }
    argv.into_iter().map(|item| CString::new(item).expect("no NUL in it")).collect()
}

/// Any bytes, as the script writes them.
fn raw(program: &mut Program<'_>) -> String {
    let length = usize::from(program.byte() % 64);
    let bytes = program.bytes(length).iter().map(|byte| format!("\\x{byte:02x}"));
    format!("raw:{}", bytes.collect::<String>())
}

unsafe fn options(program: &mut Program<'_>) -> Handle {
    // SAFETY: as in `run`.
    unsafe {
        let opts = leash_opts_new();
        for _ in 0..program.byte() % 4 {
            let key = c_int::from(program.byte() % 64) - 2;
            match program.byte() % 4 {
                0 => check(leash_opts_set_str(opts, key, c"/".as_ptr())),
                _ => check(leash_opts_set_int(opts, key, i64::from(program.byte()))),
            };
        }
        // What would make a run long, or print.
        let variable = CString::new(format!("T={TOKEN}")).expect("no NUL in it");
        check(leash_opts_set_list(opts, OPT_ENV, [variable.as_ptr()].as_ptr(), 1));
        check(leash_opts_set_int(opts, OPT_STDERR, i64::from(program.byte() % 2)));
        check(leash_opts_set_int(opts, OPT_EXIT_AFTER, i64::from(program.byte() % 10)));
        check(leash_opts_set_int(opts, OPT_KILL_AFTER, i64::from(program.byte() % 10)));
        opts
    }
}

struct Host {
    c: Handle,
    /// Submitted and not answered: id and tag.
    calls: HashMap<i64, i64>,
    /// Ids to try.
    known: Vec<i64>,
    /// Events that were not freed.
    held: Vec<Handle>,
    /// The last one that a poll gave.
    seq: i64,
}

impl Host {
    fn run(mut self, program: &mut Program<'_>) {
        let mut steps = 0;
        while let (Some(step), true) = (program.next(), steps < 64) {
            steps += 1;
            // SAFETY: as in the function `run`.
            unsafe { self.step(step, program) };
        }
        // SAFETY: the same.
        unsafe { self.end() };
    }

    unsafe fn step(&mut self, step: u8, program: &mut Program<'_>) {
        let c = self.c;
        let mut event = null_mut();
        // SAFETY: as in `run`.
        unsafe {
            match step % 20 {
                0..=2 => {
                    let (params, length) = Json::take(program);
                    let limit = [-1, -1, 1, 5, LONG, 0, -2][usize::from(program.byte() % 7)];
                    let tag = i64::from(program.byte());
                    let mut id = 0;
                    let method = method(program);
                    let pointer = params.pointer();
                    if check(leash_submit(c, method, pointer, length, limit, tag, &mut id)) == 0 {
                        assert!(id > 0 && self.calls.insert(id, tag).is_none());
                        self.known.push(id);
                    }
                }
                3 | 4 => {
                    let (params, length) = Json::take(program);
                    let limit = i64::from(program.byte() % 8);
                    let method = method(program);
                    let code =
                        check(leash_call(c, method, params.pointer(), length, limit, &mut event));
                    assert_eq!(!event.is_null(), code == 0 || code == -7);
                    leash_event_free(event);
                }
                5 | 6 => {
                    let id = self.known[usize::from(program.byte()) % self.known.len()];
                    if check(leash_wait(c, id, i64::from(program.byte() % 4), &mut event)) == 1 {
                        self.answered(event);
                        leash_event_free(event);
                    }
                }
                7 => {
                    let id = self.known[usize::from(program.byte()) % self.known.len()];
                    check(leash_cancel(c, id));
                }
                8 => {
                    let (params, length) = Json::take(program);
                    check(leash_notify(c, method(program), params.pointer(), length));
                }
                9..=12 => drop(self.poll(i64::from(program.byte() % 4))),
                13 => {
                    let (result, length) = Json::take(program);
                    let request = self.held(program);
                    check(leash_reply(request, result.pointer(), length));
                }
                14 => {
                    let (data, length) = Json::take(program);
                    let request = self.held(program);
                    let code = i64::from(program.byte()) - 100;
                    check(leash_reply_error(
                        request,
                        code,
                        method(program),
                        data.pointer(),
                        length,
                    ));
                }
                15 if !self.held.is_empty() => {
                    let at = usize::from(program.byte()) % self.held.len();
                    leash_event_free(self.held.swap_remove(at));
                }
                16 => {
                    let event = self.held(program);
                    let field = c_int::from(program.byte());
                    leash_event_int(event, field);
                    text(event, field);
                    leash_conn_int(c, field);
                }
                17 => {
                    leash_wake(c);
                    check(leash_flush(c));
                }
                18 if program.byte().is_multiple_of(4) => {
                    let fd = check(leash_fd(c));
                    assert!(fd > 2);
                }
                19 if program.byte().is_multiple_of(8) => drop(check(leash_close(c, 0))),
                _ => {}
            }
        }
    }

    /// Close, take all that is left, and hold the ledger against it.
    unsafe fn end(mut self) {
        // SAFETY: as in `run`.
        unsafe {
            while check(leash_close(self.c, LONG)) == E_INTERRUPTED {}
            assert_eq!(check(leash_close(self.c, 0)), 0, "nothing is left");
            let mut last = None;
            loop {
                match self.poll(LONG) {
                    Ok(kind) => last = Some(kind),
                    Err(E_CLOSED) => break,
                    Err(E_INTERRUPTED) => {}
                    Err(code) => panic!("a poll after the end says {code}"),
                }
            }
            assert!(last.is_none_or(|kind| kind == CLOSED), "CLOSED is the last event");
            assert!(self.calls.is_empty(), "{:?} got no response", self.calls);
            assert_eq!(leash_conn_int(self.c, 22), 0, "nothing is pending");
            leash_free(self.c);
            self.held.drain(..).for_each(|event| leash_event_free(event));
        }
    }

    /// One event, or the code.
    unsafe fn poll(&mut self, limit: i64) -> Result<c_int, c_int> {
        let mut event = null_mut();
        // SAFETY: as in `run`.
        unsafe {
            let code = check(leash_poll(self.c, limit, &mut event));
            assert_eq!(!event.is_null(), code == 1);
            if code != 1 {
                return Err(code);
            }
            let seq = leash_event_int(event, INT_SEQ);
            assert!(seq > self.seq, "{seq} after {}", self.seq);
            self.seq = seq;
            let kind = leash_event_kind(event);
            match kind {
                RESPONSE => self.answered(event),
                CLOSED => quiet(&text(event, 42)),
                REQUEST => assert!(!text(event, 43).is_empty()),
                _ => {}
            }
            if kind == REQUEST || self.held.len() < 4 {
                self.held.push(event);
            } else {
                leash_event_free(event);
            }
            Ok(kind)
        }
    }

    /// A response: of a call that was submitted and had none yet.
    unsafe fn answered(&mut self, event: Handle) {
        // SAFETY: as in `run`.
        unsafe {
            let (id, tag) = (leash_event_int(event, INT_CALL), leash_event_int(event, INT_TAG));
            assert_eq!(self.calls.remove(&id), Some(tag), "call {id}");
            match leash_event_int(event, INT_STATUS) {
                0 => assert!(!text(event, 41).is_empty()),
                -7 => {}
                status => {
                    assert!((-16..0).contains(&status) && status != -14, "{status}");
                    quiet(&text(event, 42));
                }
            }
        }
    }

    /// An event that is held, or NULL.
    fn held(&self, program: &mut Program<'_>) -> Handle {
        self.held.get(usize::from(program.byte() % 4)).copied().unwrap_or(null_mut())
    }
}

/// JSON that a host passes, good and bad.
struct Json(Option<CString>);

impl Json {
    /// With its length.
    fn take(program: &mut Program<'_>) -> (Self, usize) {
        let length = |text: &CString, how: u8| if how < 128 { NUL } else { text.as_bytes().len() };
        let how = program.byte();
        let text = match how % 8 {
            0 | 1 => return (Self(None), usize::from(how / 128) * usize::from(how)),
            2 => CString::from(c"[]"),
            3 => CString::from(c"{\"a\":[1,\"hunter2-swordfish\"]}"),
            4 => CString::from(c"\"hunter2-swordfish\""),
            5 => CString::new(format!("[\"{}\"]", "x".repeat(9000))).expect("no NUL in it"),
            _ => {
                let length = usize::from(program.byte() % 32);
                let bytes = program.bytes(length).iter().copied().filter(|byte| *byte != 0);
                CString::new(bytes.collect::<Vec<_>>()).expect("no NUL in it")
            }
        };
        let length = length(&text, how);
        (Self(Some(text)), length)
    }

    fn pointer(&self) -> *const c_char {
        self.0.as_ref().map_or(null(), |text| text.as_ptr())
    }
}

fn method(program: &mut Program<'_>) -> *const c_char {
    match program.byte() % 8 {
        0 => null(),
        1 => c"\xff".as_ptr(),
        2 => c"hunter2-swordfish\n\"".as_ptr(),
        3 => c"initialize".as_ptr(),
        4 => c"".as_ptr(),
        _ => c"m".as_ptr(),
    }
}

/// A result: one that leash.h knows, with a text if it is a failure, and never
/// a bug.
fn check(code: c_int) -> c_int {
    assert!(code >= -16 && code != -14 && code != -13, "{code}: {}", last_error());
    if code < 0 {
        assert!(!last_error().is_empty(), "{code} without a text");
        quiet(&last_error());
    }
    code
}

fn last_error() -> String {
    // SAFETY: this thread's text, until its next call.
    unsafe { CStr::from_ptr(leash_last_error()) }.to_str().expect("UTF-8").to_owned()
}

fn quiet(text: &str) {
    assert!(!text.contains(TOKEN), "{text}");
}

/// A text of an event; empty when it has none.
unsafe fn text(event: Handle, field: c_int) -> String {
    let mut length = 99;
    // SAFETY: as in `run`; the text lives as long as the event.
    unsafe {
        let text = leash_event_str(event, field, &mut length);
        if text.is_null() {
            assert_eq!(length, 0);
            return String::new();
        }
        let text = CStr::from_ptr(text);
        assert_eq!(text.count_bytes(), length);
        text.to_str().expect("UTF-8").to_owned()
    }
}

/// A run may leave what later ones use again, but not one after the other. For a
/// process that does nothing else.
pub fn count_descriptors() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static FIRST: AtomicUsize = AtomicUsize::new(0);
    let count = std::fs::read_dir("/proc/self/fd").expect("Linux").count();
    if let Err(first) = FIRST.compare_exchange(0, count, Ordering::Relaxed, Ordering::Relaxed) {
        assert!(count < first + 8, "{count} descriptors, {first} at first");
    }
}
