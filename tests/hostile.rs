//! Servers that break off and misbehave, over stdio and WebSocket: see
//! tests/c/hostile.c.

use std::env;
use std::fs;
use std::time::Duration;

mod harness;
use harness::{Mark, Program, c_program, misbehave, scenario_of, work};

// ---- A server that ends after n bytes, n from 0 to 4096 ---------------------

/// Each n to 256, and then some; with `LEASH_HOSTILE=all` each.
fn every_moment(size: usize) -> Program {
    let step = if env::var_os("LEASH_HOSTILE").is_some() { "1" } else { "61" };
    let program = c_program("hostile").never_under_valgrind();
    program.env("STEP", step).env("SIZE", size.to_string()).timeout(Duration::from_secs(600))
}

/// A server that sends the first `N` bytes of these messages, and ends in one
/// of two ways.
#[track_caller]
fn ends_after_each_byte(message: impl Fn(usize) -> String) {
    let size = message(0).len();
    let file = work().join(format!("moments-{}", Mark::new().value()));
    fs::write(&file, (0..5000 / size + 1).map(message).collect::<String>()).expect("ours");
    let path = file.to_str().expect("UTF-8").to_owned();
    let exits = ["head", "-c", "N"].map(str::to_owned).into_iter().chain([path.clone()]);
    let is_killed = "head -c \"$1\" \"$2\"; kill -9 $$";
    let killed = ["sh", "-c", is_killed, "sh", "N"].map(str::to_owned).into_iter().chain([path]);
    for server in [exits.collect::<Vec<_>>(), killed.collect()] {
        let out = scenario_of(every_moment(size), "each_moment", &server);
        print!("{}", out.stdout);
    }
    let _ = fs::remove_file(file);
}

fn body(number: usize) -> String {
    format!(r#"{{"method":"m","params":[{}]}}"#, 1_000_000 + number)
}

#[test]
fn a_server_may_end_after_any_byte_of_its_lines() {
    ends_after_each_byte(|number| format!("{}\n", body(number)));
}

#[test]
fn a_server_may_end_after_any_byte_of_its_bodies() {
    ends_after_each_byte(|number| format!("Content-Length: 33\r\n\r\n{}", body(number)));
}

#[cfg(feature = "websocket")]
#[test]
fn a_websocket_may_end_after_any_byte_of_its_upgrade_and_frames() {
    // A frame of 33 bytes has two more.
    let texts = (0..5000 / 35).map(|number| format!("text:{}", body(number)));
    let script: Vec<_> = ["cut", "upgrade"].map(str::to_owned).into_iter().chain(texts).collect();
    let script: Vec<_> = script.iter().map(String::as_str).collect();
    let (_server, url) = harness::misbehave_ws(&script);
    let out = scenario_of(every_moment(35).env("URL", url), "each_moment", &[]);
    print!("{}", out.stdout);
}

// ---- Scripts of misbehaviours -----------------------------------------------

const OK: i32 = 0;
const CLOSED: i32 = -6;
const PROTOCOL: i32 = -8;
const TOO_BIG: i32 = -9;

/// What no text may hold: here in argv.
const TOKEN: &str = "hunter2";

/// What CLOSED has to say at the end, if it is certain.
#[track_caller]
fn whatever(mut program: Program, server: &[String], wanted: Option<i32>) {
    if let Some(wanted) = wanted {
        program = program.env("OPENS", "1");
        if wanted != OK {
            program = program.env("ENDS", "1");
        }
    }
    let trace = work().join(format!("trace-{}", Mark::new().value()));
    let program = program.env("LEASH_TRACE", &trace).timeout(Duration::from_secs(120));
    let out = scenario_of(program, "whatever_it_does", server);
    // Nothing prints or writes down what was planted: here and in hostile.c.
    let traced = fs::read_to_string(&trace).expect("a trace");
    let _ = fs::remove_file(trace);
    assert!([&out.stdout, &out.stderr, &traced].iter().all(|text| !text.contains(TOKEN)));
    if let Some(wanted) = wanted {
        assert!(out.stdout.starts_with(&format!("status {wanted}:")), "{server:?}: {}", out.stdout);
    }
}

#[test]
fn whatever_a_process_does_calls_end_once_and_nothing_is_left() {
    let header_bomb = format!("raw:Content-Length: 2\\r\\nX: {}", "y".repeat(9000));
    let many_headers = format!("raw:Content-Length: 2\\r\\n{}", "X: y\\r\\n".repeat(1500));
    let half = r#"raw:{"id":1,"result":[1,2"#;
    let unasked = r#"send:{"id":1,"result":"too early"}"#;
    let respawn = "sh:(while :; do sleep 300 & wait; done) >/dev/null 2>&1 &";
    let bomb = "sh:i=0; while [ $i -lt 500 ]; do sleep 300 >/dev/null 2>&1 & i=$((i+1)); done";
    let endless = ["endless:200000", "sleep-forever"];
    let lines: &[(&[&str], Option<i32>)] = &[
        (&["byte-at-a-time", "echo-loop"], Some(OK)),
        (&endless, Some(TOO_BIG)),
        (&["request", "big:200000"], Some(TOO_BIG)),
        (&["recv", half, "exit:0"], Some(CLOSED)),
        (&["recv", half, "abort"], Some(CLOSED)),
        (&[unasked, unasked, "send:{\"id\":2,\"result\":3}", "echo-loop"], Some(OK)),
        (&["flood:100000"], None),
        (&["flood:200:50000"], None),
        (&["stderr-flood:100000", "echo-loop"], Some(OK)),
        (&["never-read"], Some(OK)),
        (&["sleep:300", "echo-loop"], Some(OK)),
        (&["close-stdout", "sleep-forever"], Some(CLOSED)),
        (&["close-stdin", "sleep-forever"], None),
        (&["close-stderr", "echo-loop"], Some(OK)),
        (&["ignore-eof", "ignore-term", "echo-loop"], Some(OK)),
        (&[respawn, "echo-loop"], Some(OK)),
        (&[bomb, "echo-loop"], None),
        (&["shuffle:7", "shuffle:5", "echo-loop"], Some(OK)),
        (&["noise", "raw:\\x00\\xff\\n\\n\\r\\n[]\\n[1]\\n{}\\n", "echo-loop"], Some(OK)),
    ];
    for (steps, wanted) in lines {
        let steps = [&["stderr:hunter2"], *steps].concat();
        whatever(c_program("hostile"), &misbehave(&steps), *wanted);
    }
    let bodies: &[(&[&str], Option<i32>)] = &[
        (&["byte-at-a-time", "echo-loop"], Some(OK)),
        (&["raw:Content-Length: 5\\r\\n\\r\\n{}", "sleep-forever"], Some(OK)),
        (&["raw:Content-Length: 99999\\r\\n\\r\\n{}", "exit:0"], Some(CLOSED)),
        (&["raw:Content-Length: 1\\r\\n\\r\\n{\"id\":1,\"result\":1}\\n", "echo-loop"], Some(OK)),
        (&["raw:Content-Length: 0\\r\\n\\r\\n", "echo-loop"], Some(OK)),
        (&["raw:Content-Length: 100001\\r\\n\\r\\n", "sleep-forever"], Some(TOO_BIG)),
        (&["raw:Content-Length: 18446744073709551617\\r\\n\\r\\n", "sleep-forever"], Some(TOO_BIG)),
        (&["raw:Content-Length: -1\\r\\n\\r\\n", "sleep-forever"], Some(PROTOCOL)),
        (
            &["raw:Content-Length: 2\\r\\nContent-Length: 3\\r\\n\\r\\n{}", "sleep-forever"],
            Some(PROTOCOL),
        ),
        (&[&header_bomb, "sleep-forever"], Some(PROTOCOL)),
        (&[&many_headers, "sleep-forever"], Some(PROTOCOL)),
        (&["raw:Content-Length: 2\\r\\n", "exit:0"], Some(CLOSED)),
    ];
    for (steps, wanted) in bodies {
        let steps = [&["stderr:hunter2", "lsp"], *steps].concat();
        whatever(c_program("hostile").env("LSP", "1"), &misbehave(&steps), *wanted);
    }
}

#[cfg(feature = "websocket")]
#[test]
fn whatever_a_websocket_does_calls_end_once() {
    let bomb = format!("upgrade:X: {}", "y".repeat(100_000));
    let split = format!("pieces:30:{{\"method\":\"m\",\"params\":[\"{}\"]}}", "x".repeat(5000));
    let scripts: &[(&[&str], Option<i32>)] = &[
        (&["stall"], None),
        (&["head", "stall"], None),
        (&["fin"], None),
        (&["rst"], None),
        (&["raw:HTTP/1.1 101 Switching"], None),
        (&[&bomb, "echo-loop"], None),
        (&["status:403"], None),
        (&["upgrade", "stall"], Some(OK)),
        (&["upgrade", "fin"], Some(CLOSED)),
        (&["upgrade", "request", "rst"], Some(CLOSED)),
        (&["upgrade", "claim:1000000000000"], Some(TOO_BIG)),
        (&["upgrade", "claim:90000", "fin"], Some(CLOSED)),
        (&["upgrade", "raw:\\x83\\x05hello", "stall"], Some(PROTOCOL)),
        (&["upgrade", "raw:\\xc1\\x05hello", "stall"], Some(PROTOCOL)),
        (&["upgrade", "raw:\\x81\\x02\\xff\\xfe", "stall"], Some(PROTOCOL)),
        (&["upgrade", "raw:\\x80\\x02hi", "stall"], Some(PROTOCOL)),
        (&["upgrade", "request", "big:200000"], Some(TOO_BIG)),
        (&["upgrade", "flood:20000:100"], None),
        (&["upgrade", "ping-flood:20000", "echo-loop"], Some(OK)),
        (
            &[
                "upgrade",
                "text:{\"id\":1,\"result\":1}",
                "text:{\"id\":9,\"result\":1}",
                "echo-loop",
            ],
            Some(OK),
        ),
        (&["upgrade", "binary:5000", "text:", "text:[]", "echo-loop"], Some(OK)),
        (&["upgrade", &split, "echo-loop"], Some(OK)),
        (&["upgrade", "close:1011"], Some(CLOSED)),
        (&["upgrade", "deaf-loop"], Some(OK)),
    ];
    for (script, wanted) in scripts {
        let (_server, url) = harness::misbehave_ws(script);
        whatever(c_program("hostile").env("URL", url), &[script.join(" ")], *wanted);
    }
}
