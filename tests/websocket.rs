//! Servers behind a WebSocket: real ones, and one that goes wrong by script.

mod harness;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use leash::connection::{Arrival, Connection, Event, IntField, Kind, TextField};
use leash::error::{Code, Error};
use leash::options::{IntKey, ListKey, Options, TextKey};

use harness::{
    Peer, Program, Started, compile, free_port, misbehave_ws, peer, root, wait_for_port,
};

const SOON: Duration = Duration::from_secs(10);

/// For what is large, or said at length, where a sanitizer watches.
const LONG: Duration = Duration::from_secs(120);

fn options(url: &str) -> Options {
    let mut options = Options::default();
    options.set_text(TextKey::Url, Some(url)).unwrap();
    options
}

#[track_caller]
fn open(options: &Options) -> Connection {
    Connection::open(None, options, Some(LONG)).unwrap_or_else(|e| panic!("{:?} {e}", e.code()))
}

/// The error of a connection that must not come about.
#[track_caller]
fn refused(options: &Options) -> Error {
    match Connection::open(None, options, Some(SOON)) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[track_caller]
fn call(connection: &Connection, method: &str, params: &str) -> Arrival {
    let event = connection.call(method, Some(params.as_bytes()), Some(LONG));
    let event = event.unwrap_or_else(|e| panic!("{method}: {:?} {e}", e.code()));
    event.outcome().unwrap_or_else(|e| panic!("{method}: {:?} {e}", e.code()));
    event
}

fn text(event: &Event, field: TextField) -> String {
    let text = event.text(field).map(|text| text.bytes().to_vec()).unwrap_or_default();
    String::from_utf8(text).expect("UTF-8")
}

/// The next event of that kind; others are passed over.
#[track_caller]
fn next(connection: &Connection, kind: Kind) -> Arrival {
    loop {
        let event = connection.poll(Some(SOON)).unwrap().expect("it comes soon");
        if event.kind() == kind {
            return event;
        }
        assert_ne!(event.kind(), Kind::Closed, "{}", text(&event, TextField::Text));
    }
}

/// How it ended by itself: status, text, close code.
#[track_caller]
fn ended(connection: &Connection) -> (Code, String, Option<i64>) {
    let closed = next(connection, Kind::Closed);
    let status = closed.status().expect("CLOSED has one").expect_err("not by us");
    (status, text(&closed, TextField::Text), closed.int(IntField::CloseCode))
}

// ---- codex ------------------------------------------------------------------

const TOKEN: &str = "a-token-that-nobody-must-see";

struct Codex {
    url: String,
    _server: Started,
    _peer: Peer,
}

fn codex(wants_token: bool) -> Option<Codex> {
    let peer = peer("codex")?;
    let mut command = Command::new(peer.program());
    command.args(["exec-server", "--listen", "ws://127.0.0.1:0"]);
    command.env("CODEX_HOME", &peer.folder);
    if wants_token {
        let file = peer.folder.join("token");
        fs::write(&file, TOKEN).unwrap();
        command.args(["--ws-auth", "capability-token", "--ws-token-file"]).arg(file);
    }
    let (server, url) = Started::with_first_line(command);
    Some(Codex { url, _server: server, _peer: peer })
}

fn bare(url: &str) -> Options {
    let mut options = options(url);
    options.set_int(IntKey::Protocol, 4).unwrap();
    options
}

#[test]
fn codex_wants_its_token() {
    let Some(codex) = codex(true) else { return };
    let mut options = bare(&codex.url);
    for wrong in [None, Some("another-token")] {
        options.set_text(TextKey::Bearer, wrong).unwrap();
        let error = refused(&options);
        assert_eq!(error.code(), Code::Connect);
        assert!(error.text().contains("401"), "{error}");
        assert!(!error.text().contains("token"), "{error}");
    }
    options.set_text(TextKey::Bearer, Some(TOKEN)).unwrap();
    let connection = open(&options);
    call(&connection, "initialize", r#"{"clientName":"test"}"#);
    connection.close(Some(SOON)).unwrap();
}

#[test]
fn the_quickstart_drives_codex_by_its_url() {
    let Some(codex) = codex(true) else { return };
    for &build in harness::builds() {
        let program = compile(&root().join("examples/quickstart.c"), build);
        let out = Program::new(program.clone()).arg(&codex.url).env("LEASH_TOKEN", TOKEN).run();
        out.assert_success();
        let expected = "line 1\nline 2\nline 3\nexit code: 3\nclosed: the connection was closed\n";
        assert_eq!(out.stdout, expected);
        assert!(out.stderr.contains("oops\n"), "{}", out.stderr);

        let out = Program::new(program).arg(&codex.url).env("LEASH_TOKEN", "wrong-token").run();
        assert_eq!(out.status.code(), Some(1));
        assert!(out.stderr.contains("401"), "{}", out.stderr);
        assert!(!out.stderr.contains("token"), "{}", out.stderr);
    }
}

#[test]
fn codex_refuses_an_origin_that_only_the_host_can_give() {
    let Some(codex) = codex(false) else { return };
    let mut options = bare(&codex.url);
    options.set_list(ListKey::Headers, &["Origin: https://example.org"]).unwrap();
    let error = refused(&options);
    assert!(error.text().contains("403"), "{error}");
    open(&bare(&codex.url)).close(Some(SOON)).unwrap();
}

#[test]
fn a_large_request_reaches_codex_in_fragments() {
    let Some(codex) = codex(false) else { return };
    let connection = open(&bare(&codex.url));
    call(&connection, "initialize", r#"{"clientName":"test"}"#);
    connection.notify("initialized", None).unwrap();
    let file = codex._peer.folder.join("large");
    let data = "QUJD".repeat(15 << 20);
    let uri = format!("file://{}", file.display());
    let params = format!(r#"{{"path":"{uri}","dataBase64":"{data}"}}"#);
    let limit = Some(Duration::from_secs(60));
    let event = connection.call("fs/writeFile", Some(params.as_bytes()), limit).unwrap();
    event.outcome().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), (15 << 20) * 3);

    // The answer is longer than the request: base64, and over the default.
    let file = codex._peer.folder.join("larger");
    fs::write(&file, vec![b'x'; 112_500_000]).unwrap();
    let params = format!(r#"{{"path":"file://{}"}}"#, file.display());
    let error = connection.call("fs/readFile", Some(params.as_bytes()), limit).unwrap();
    assert_eq!(error.status(), Some(Err(Code::Closed)));
    let (code, why, close_code) = ended(&connection);
    assert_eq!((code, close_code), (Code::TooBig, Some(1006)), "{why}");
    assert!(why.contains("LEASH_OPT_MAX_MESSAGE"), "{why}");

    let mut options = bare(&codex.url);
    options.set_int(IntKey::MaxMessage, 200 << 20).unwrap();
    let connection = open(&options);
    call(&connection, "initialize", r#"{"clientName":"test"}"#);
    connection.notify("initialized", None).unwrap();
    let event = connection.call("fs/readFile", Some(params.as_bytes()), limit).unwrap();
    assert!(event.text(TextField::Json).unwrap().bytes().len() > 150_000_000);
}

#[test]
fn codex_never_answers_a_close_and_close_ends_all_the_same() {
    let Some(codex) = codex(false) else { return };
    let connection = open(&bare(&codex.url));
    call(&connection, "initialize", r#"{"clientName":"test"}"#);
    let began = Instant::now();
    connection.close(Some(SOON)).unwrap();
    assert!(began.elapsed() < Duration::from_secs(3));
    let closed = next(&connection, Kind::Closed);
    assert_eq!(closed.status(), Some(Ok(())));
    assert_eq!(closed.int(IntField::Stage), None);
    assert_eq!(connection.poll(None).map(drop).unwrap_err().code(), Code::Closed);
}

// ---- aria2 ------------------------------------------------------------------

#[test]
fn aria2_answers_two_thousand_calls() {
    let Some(aria2) = peer("aria2c") else { return };
    let port = free_port();
    let mut command = Command::new(aria2.program());
    command.args(["--no-conf", "--enable-rpc", "--disable-ipv6", "--enable-dht=false", "--quiet"]);
    command.arg(format!("--rpc-listen-port={port}")).arg("-d").arg(&aria2.folder);
    let _server = Started::new(command);
    wait_for_port(port);

    let connection = open(&options(&format!("ws://127.0.0.1:{port}/jsonrpc")));
    let mut ids = Vec::new();
    for n in 0..2000 {
        let id = connection.submit("aria2.getVersion", Some(b"[]"), Some(SOON), n).unwrap();
        ids.push(id.get());
    }
    let mut tags = Vec::new();
    while tags.len() < 2000 {
        let event = next(&connection, Kind::Response);
        assert_eq!(event.status(), Some(Ok(())));
        assert!(text(&event, TextField::Json).contains("enabledFeatures"));
        tags.push(event.int(IntField::Tag).unwrap());
    }
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..2000));

    let error = connection.call("aria2.remove", Some(br#"["0"]"#), Some(SOON)).unwrap();
    assert_eq!(error.status(), Some(Err(Code::Rpc)));
    assert_eq!(error.int(IntField::RpcCode), Some(1));

    // Nothing listens there: the download starts, fails, and both are told.
    let nowhere = format!(r#"[["http://127.0.0.1:{}/x"]]"#, free_port());
    let gid = text(&call(&connection, "aria2.addUri", &nowhere), TextField::Json);
    for expected in ["aria2.onDownloadStart", "aria2.onDownloadError"] {
        let event = next(&connection, Kind::Notification);
        assert_eq!(text(&event, TextField::Method), expected);
        assert!(text(&event, TextField::Json).contains(gid.trim_matches('"')));
    }
    connection.close(Some(SOON)).unwrap();
    assert_eq!(next(&connection, Kind::Closed).status(), Some(Ok(())));
}

// ---- Opening ----------------------------------------------------------------

#[test]
fn an_http_status_is_named() {
    for (step, expected) in [
        ("status:404", "404 Not Found"),
        ("status:403", "403 Forbidden"),
        ("status:503", "503 Service Unavailable"),
        ("status:401", "401 Unauthorized"),
        ("status:200", "200 OK"),
        ("status:301:Location: ws://127.0.0.1:1/", "redirects (301 Moved Permanently); libleash"),
    ] {
        let (_server, url) = misbehave_ws(&[step]);
        let error = refused(&options(&format!("{url}/secret-path?secret=query")));
        assert_eq!(error.code(), Code::Connect, "{error}");
        assert!(error.text().contains(expected), "{error}");
        assert!(error.text().contains(&url), "{error}");
        assert!(!error.text().contains("secret"), "{error}");
    }
}

#[test]
fn a_bad_upgrade_is_refused_with_its_reason() {
    let no_accept = "raw:HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n\
                     Connection: Upgrade\\r\\n\\r\\n";
    for (steps, expected) in [
        (&["head", "raw:SSH-2.0-OpenSSH\\r\\n"][..], "not HTTP/1.1"),
        (&["head", "fin"], "closed the connection during the WebSocket upgrade"),
        (&["head", "rst"], "Connection reset by peer"),
        (&["head", no_accept], "has not the headers of a WebSocket"),
        (&["upgrade:Sec-WebSocket-Extensions: permessage-deflate"], "extension"),
        (&["upgrade:Sec-WebSocket-Protocol: chat"], "subprotocol"),
    ] {
        let (_server, url) = misbehave_ws(steps);
        let error = refused(&options(&url));
        assert_eq!(error.code(), Code::Connect, "{error}");
        assert!(error.text().contains(expected), "{error}");
    }
}

#[test]
fn nobody_listens() {
    let url = format!("ws://127.0.0.1:{}", free_port());
    let error = refused(&options(&url));
    assert_eq!((error.code(), error.os_error()), (Code::Connect, libc::ECONNREFUSED));
    assert_eq!(error.text(), format!("cannot connect to {url}: Connection refused"));
    // By name there are two addresses, perhaps, and both are tried.
    let url = url.replace("127.0.0.1", "localhost");
    assert_eq!(refused(&options(&url)).os_error(), libc::ECONNREFUSED);
}

#[test]
fn a_name_that_is_none_is_told() {
    let error = refused(&options("ws://no-such-host.invalid/"));
    assert_eq!(error.code(), Code::Connect);
    let expected = "cannot look up the host of ws://no-such-host.invalid:80: ";
    assert!(error.text().starts_with(expected), "{error}");
}

#[test]
fn a_stalled_upgrade_ends_at_the_deadline() {
    for steps in [&["stall"][..], &["head", "raw:HTTP/1.1 101 Swi", "stall"]] {
        let (_server, url) = misbehave_ws(steps);
        let began = Instant::now();
        let error = Connection::open(None, &options(&url), Some(Duration::from_millis(300)));
        let error = error.map(drop).unwrap_err();
        assert_eq!(error.code(), Code::Timeout, "{error}");
        assert!(error.text().contains("did not answer the WebSocket upgrade"), "{error}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn with_no_time_it_returns_at_once_and_holds_calls() {
    let (_server, url) = misbehave_ws(&["sleep:1000", "upgrade", "echo-loop"]);
    let began = Instant::now();
    let connection = Connection::open(None, &options(&url), Some(Duration::ZERO)).unwrap();
    assert!(began.elapsed() < Duration::from_millis(900));
    let id = connection.submit("a", Some(b"[1]"), Some(SOON), 7).unwrap();
    let gone = connection.submit("a", None, Some(Duration::from_millis(50)), 8).unwrap();
    let event = connection.wait(gone, Some(SOON)).unwrap().unwrap();
    assert_eq!(event.status(), Some(Err(Code::Timeout)));
    assert_eq!(connection.poll(Some(SOON)).unwrap().unwrap().kind(), Kind::Open);
    let event = connection.wait(id, Some(SOON)).unwrap().unwrap();
    assert_eq!(text(&event, TextField::Json), "[1]");

    let url = format!("ws://127.0.0.1:{}", free_port());
    let connection = Connection::open(None, &options(&url), Some(Duration::ZERO)).unwrap();
    let closed = connection.poll(Some(SOON)).unwrap().unwrap();
    assert_eq!((closed.kind(), closed.status()), (Kind::Closed, Some(Err(Code::Connect))));
    assert_eq!(closed.int(IntField::CloseCode), None);
    assert_eq!(closed.int(IntField::OsError), Some(libc::ECONNREFUSED.into()));
}

#[test]
fn closing_gives_up_a_dial() {
    let (_server, url) = misbehave_ws(&["stall"]);
    let connection = Connection::open(None, &options(&url), Some(Duration::ZERO)).unwrap();
    let began = Instant::now();
    connection.close(Some(SOON)).unwrap();
    assert!(began.elapsed() < Duration::from_millis(1800));
    assert_eq!(next(&connection, Kind::Closed).status(), Some(Ok(())));
}

#[test]
fn the_request_is_what_was_asked_for() {
    let mut command = Command::new(harness::example("misbehave_ws"));
    command.args(["head", "fin"]).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let url = lines.next().unwrap().unwrap();
    let mut options = options(&format!("{url}/p/a?q=1"));
    options.set_text(TextKey::Bearer, Some("t0k")).unwrap();
    options.set_list(ListKey::Headers, &["X-One: 1", "X-Two:  zwei"]).unwrap();
    refused(&options);
    let head: Vec<String> = lines
        .map_while(|line| line.unwrap().strip_prefix("> ").map(str::to_lowercase))
        .take(9)
        .collect();
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(head[0], "get /p/a?q=1 http/1.1");
    let has = |line: &str| head.iter().any(|own| own == line);
    assert!(has("authorization: bearer t0k") && has("x-one: 1") && has("x-two: zwei"), "{head:?}");
    assert!(has(&format!("host: {}", url.trim_start_matches("ws://"))), "{head:?}");
    assert!(!head.iter().any(|line| line.starts_with("origin")), "{head:?}");
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let invalid = |options: &Options, part: &str| {
        let error = refused(options);
        assert_eq!(error.code(), Code::Invalid, "{error}");
        assert!(error.text().contains(part), "{error}");
        assert!(!error.text().contains("hunter2"), "{error}");
    };
    invalid(&options("ws://user:hunter2@h/"), "user info");
    invalid(&options("http://hunter2/"), "must begin with ws:// or wss://");
    let mut both = options("ws://127.0.0.1:1/");
    both.set_text(TextKey::Bearer, Some("hunter2")).unwrap();
    both.set_list(ListKey::Headers, &["authorization: hunter2"]).unwrap();
    invalid(&both, "both give Authorization");
    let mut plain = options("ws://127.0.0.1:1/");
    plain.set_text(TextKey::CaFile, Some("/hunter2")).unwrap();
    invalid(&plain, "wss://");
    let mut env = options("ws://127.0.0.1:1/");
    env.set_list(ListKey::Env, &["A=hunter2"]).unwrap();
    invalid(&env, "LEASH_OPT_ENV");
}

// ---- Messages ---------------------------------------------------------------

#[test]
fn binary_and_foreign_text_are_noise() {
    let (_server, url) =
        misbehave_ws(&["upgrade", "text:hello", "binary:5000", "text:", "echo-loop"]);
    let connection = open(&options(&url));
    assert_eq!(text(&next(&connection, Kind::Noise), TextField::Text), "hello");
    let binary = next(&connection, Kind::Noise);
    assert_eq!(text(&binary, TextField::Text).chars().count(), 4096);
    assert_eq!(text(&next(&connection, Kind::Noise), TextField::Text), "");
    assert_eq!(text(&call(&connection, "a", "[1.0]"), TextField::Json), "[1.0]");
}

#[test]
fn a_message_may_come_in_pieces() {
    let note = r#"pieces:5:{"method":"m","params":["häppchenweise"]}"#;
    let (_server, url) = misbehave_ws(&["upgrade", note]);
    let event = next(&open(&options(&url)), Kind::Notification);
    assert_eq!(text(&event, TextField::Json), r#"["häppchenweise"]"#);
}

#[test]
fn violations_end_the_connection() {
    for (frame, expected, code) in [
        // Reserved bits, a reserved opcode, masked, a long ping, a lone continuation.
        ("raw:\\xC1\\x00", "Reserved bits", Code::Protocol),
        ("raw:\\x83\\x00", "opcode", Code::Protocol),
        ("raw:\\x81\\x81abcd\\x00", "masked", Code::Protocol),
        ("raw:\\x89\\x7E\\x00\\x7E", "WebSocket protocol", Code::Protocol),
        ("raw:\\x80\\x00", "nothing to continue", Code::Protocol),
        ("raw:\\x81\\x02\\xC3\\x28", "not UTF-8", Code::Protocol),
        ("claim:70000000", "LEASH_OPT_MAX_MESSAGE", Code::TooBig),
        ("claim:9000000000000000000", "LEASH_OPT_MAX_MESSAGE", Code::TooBig),
    ] {
        let rest = "x".repeat(126);
        let (_server, url) = misbehave_ws(&["upgrade", "request", frame, &format!("raw:{rest}")]);
        let connection = open(&options(&url));
        let event = connection.call("a", None, Some(SOON)).unwrap();
        assert_eq!(event.status(), Some(Err(Code::Closed)));
        let (status, why, close_code) = ended(&connection);
        assert_eq!((status, close_code), (code, Some(1006)), "{frame}: {why}");
        assert!(why.contains(expected), "{frame}: {why}");
    }
}

#[test]
fn a_frame_that_memory_cannot_hold_does_not_end_the_host() {
    let (_server, url) = misbehave_ws(&["upgrade", "claim:100000000000000"]);
    let mut options = options(&url);
    options.set_int(IntKey::MaxMessage, 1 << 47).unwrap();
    let (status, why, _) = ended(&open(&options));
    assert_eq!(status, Code::NoMemory, "{why}");
}

#[test]
fn large_messages_go_in_fragments_and_others_do_not() {
    let (_server, url) = misbehave_ws(&["upgrade", "request", "measure", "request", "measure"]);
    let connection = open(&options(&url));
    let params = format!("[{:?}]", "x".repeat(15 << 20));
    let measured = text(&call(&connection, "a", &params), TextField::Json);
    assert!(measured.starts_with(r#"{"frames":1,"#), "{measured}");
    let params = format!("[{:?}]", "x".repeat(20 << 20));
    let measured = text(&call(&connection, "a", &params), TextField::Json);
    assert!(measured.starts_with(r#"{"frames":21,"#), "{measured}");
}

#[test]
fn a_large_answer_comes_if_it_may() {
    let (_server, url) = misbehave_ws(&["upgrade", "request", "big:150000000"]);
    let mut options = options(&url);
    let event = open(&options).call("a", None, Some(LONG)).unwrap();
    assert_eq!(event.status(), Some(Err(Code::Closed)));
    options.set_int(IntKey::MaxMessage, 200_000_000).unwrap();
    let event = open(&options).call("a", None, Some(LONG)).unwrap();
    assert_eq!(event.text(TextField::Json).unwrap().bytes().len(), 150_000_002);
}

// ---- Endings ----------------------------------------------------------------

#[test]
fn a_close_of_the_server_is_told_with_its_code() {
    for (step, expected, code) in [
        ("close:1001", "closed the connection: 1001 (going away)", 1001),
        ("close:4321", "closed the connection: 4321", 4321),
        ("raw:\\x88\\x00", "closed the connection", 1005),
        ("fin", "closed the TCP connection without a WebSocket close", 1006),
        ("rst", "Connection reset by peer", 1006),
    ] {
        let (_server, url) = misbehave_ws(&["upgrade", "request", step]);
        let connection = open(&options(&url));
        let event = connection.call("a", None, Some(SOON)).unwrap();
        assert_eq!(event.status(), Some(Err(Code::Closed)));
        let (status, why, close_code) = ended(&connection);
        assert_eq!((status, close_code), (Code::Closed, Some(code)), "{why}");
        assert!(why.contains(expected) && why.contains(&url), "{why}");
    }
}

#[test]
fn a_server_that_is_killed_ends_its_calls() {
    let (mut server, url) = misbehave_ws(&["upgrade", "never-read"]);
    let connection = open(&options(&url));
    let id = connection.submit("a", None, None, 0).unwrap();
    server.child.kill().unwrap();
    let event = connection.wait(id, Some(SOON)).unwrap().unwrap();
    assert_eq!(event.status(), Some(Err(Code::Closed)));
    assert_eq!(ended(&connection).0, Code::Closed);
}

#[test]
fn a_peer_that_never_answers_a_close_is_left_at_the_bound() {
    let (_server, url) = misbehave_ws(&["upgrade", "deaf-loop"]);
    let mut options = options(&url);
    options.set_int(IntKey::ExitAfter, 300).unwrap();
    let connection = open(&options);
    call(&connection, "a", "[]");
    let began = Instant::now();
    connection.close(Some(SOON)).unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(3), "{took:?}");
    let closed = next(&connection, Kind::Closed);
    assert_eq!((closed.status(), closed.int(IntField::CloseCode)), (Some(Ok(())), Some(1006)));
}

#[test]
fn a_peer_that_obeys_is_closed_at_once() {
    let (_server, url) = misbehave_ws(&["upgrade", "echo-loop"]);
    let connection = open(&options(&url));
    let began = Instant::now();
    connection.close(Some(SOON)).unwrap();
    assert!(began.elapsed() < Duration::from_millis(1800));
    assert_eq!(next(&connection, Kind::Closed).int(IntField::CloseCode), Some(1000));
}

#[test]
fn a_peer_that_stops_reading_blocks_nothing() {
    let (_server, url) = misbehave_ws(&["upgrade", "never-read"]);
    let mut options = options(&url);
    options.set_int(IntKey::SendBytes, 32 << 20).unwrap();
    options.set_int(IntKey::ExitAfter, 300).unwrap();
    let connection = open(&options);
    let params = format!("[{:?}]", "x".repeat(1 << 20));
    let began = Instant::now();
    let error = loop {
        if let Err(error) = connection.notify("a", Some(params.as_bytes())) {
            break error;
        }
        assert!(began.elapsed() < SOON);
    };
    assert_eq!(error.code(), Code::Full);
    let error = connection.call("a", None, Some(Duration::from_millis(100))).map(drop).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    // Bounded by EXIT_AFTER, though nothing more can be sent.
    connection.close(Some(SOON)).unwrap();
}

#[test]
fn what_was_sent_before_close_arrives() {
    let (_server, url) = misbehave_ws(&["upgrade", "echo-loop"]);
    for cork in [0, 1] {
        let mut options = options(&url);
        options.set_int(IntKey::Cork, cork).unwrap();
        let connection = open(&options);
        let params = format!("[{:?}]", "x".repeat(3 << 20));
        for _ in 0..5 {
            connection.notify("a", Some(params.as_bytes())).unwrap();
        }
        let last = connection.call("a", Some(b"[5]"), Some(LONG)).unwrap();
        assert_eq!(text(&last, TextField::Json), "[5]");
        connection.close(Some(SOON)).unwrap();
    }
}

// ---- Pings ------------------------------------------------------------------

#[test]
fn a_missing_pong_closes_after_two_periods() {
    let (_server, url) = misbehave_ws(&["upgrade", "deaf-loop"]);
    let mut options = options(&url);
    options.set_int(IntKey::PingEvery, 200).unwrap();
    let connection = open(&options);
    let began = Instant::now();
    let (status, why, _) = ended(&connection);
    assert_eq!(status, Code::Closed);
    assert!(why.contains("answered no ping for two periods"), "{why}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(550) && took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn answered_pings_keep_a_quiet_connection() {
    let (_server, url) = misbehave_ws(&["upgrade", "echo-loop"]);
    let mut options = options(&url);
    options.set_int(IntKey::PingEvery, 30).unwrap();
    let connection = open(&options);
    std::thread::sleep(Duration::from_millis(500));
    call(&connection, "a", "[]");
}

#[test]
fn pings_without_end_cost_no_memory() {
    let (_server, url) = misbehave_ws(&["upgrade", "ping-flood:100000", "text:hello", "echo-loop"]);
    let connection = open(&options(&url));
    let before = resident();
    assert_eq!(text(&next(&connection, Kind::Noise), TextField::Text), "hello");
    assert!(resident() < before + (64 << 20));
}

// ---- A full queue -----------------------------------------------------------

#[test]
fn a_full_queue_stops_reading_and_loses_nothing() {
    let (_server, url) = misbehave_ws(&["upgrade", "flood:20000:1000", "echo-loop"]);
    let mut options = options(&url);
    options.set_int(IntKey::QueueEvents, 100).unwrap();
    // Our own clock stops while nothing is read.
    options.set_int(IntKey::PingEvery, 100).unwrap();
    let connection = open(&options);
    let error = connection.call("a", None, Some(SOON)).map(drop).unwrap_err();
    assert_eq!(error.code(), Code::Full);
    for n in 0..20000 {
        let event = next(&connection, Kind::Notification);
        assert!(text(&event, TextField::Json).starts_with(&format!(r#"{{"n":{n},"#)));
    }
    call(&connection, "a", "[]");
}

fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
