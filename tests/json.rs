//! JSON as peers may write it, good and bad, inside of messages and instead of
//! them: what arrives is what was sent, byte for byte, or NOISE, and the next
//! message is never disturbed.

use std::fs;

mod harness;
use harness::{Mark, c_program, misbehave, peer, scenario_of, work};

const RESPONSE: i32 = 2;
const NOTIFY: i32 = 3;
const REQUEST: i32 = 4;
const NOISE: i32 = 6;
const E_RPC: i32 = -7;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Lines,
    Lsp,
}

/// An event, as tests/c/transcript.c prints it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    kind: i32,
    status: i32,
    call: i64,
    method: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
    text: Option<Vec<u8>>,
    peer_id: Option<Vec<u8>>,
}

impl Event {
    fn parse(mut text: &[u8]) -> Vec<Self> {
        let mut events = Vec::new();
        while !text.is_empty() {
            let end = text.iter().position(|b| *b == b'\n').expect("a line");
            let head = std::str::from_utf8(&text[..end]).expect("numbers");
            let head: Vec<i64> = head.split(' ').map(|n| n.parse().expect("a number")).collect();
            text = &text[end + 1..];
            let mut part = |at: usize| {
                let length = usize::try_from(head[at]).ok()?;
                let (part, rest) = text.split_at(length);
                text = rest;
                Some(part.to_vec())
            };
            events.push(Self {
                kind: head[0] as i32,
                status: head[1] as i32,
                call: head[2],
                method: part(3),
                json: part(4),
                text: part(5),
                peer_id: part(6),
            });
            text = &text[1..];
        }
        events
    }
}

/// Answer `calls` calls with these frames; what the host got.
fn transcript(framing: Framing, calls: usize, frames: &[Vec<u8>]) -> Vec<Event> {
    let end = br#"{"method":"end"}"#.to_vec();
    let mut stream = Vec::new();
    for frame in frames.iter().chain([&end]) {
        if framing == Framing::Lsp {
            stream.extend(format!("Content-Length: {}\r\n\r\n", frame.len()).bytes());
        }
        stream.extend(frame);
        if framing == Framing::Lines {
            stream.push(b'\n');
        }
    }
    let file = work().join(format!("stream-{}", Mark::new().value()));
    fs::write(&file, stream).expect("the work folder is ours");
    let (receive, send) = (format!("recv:{calls}"), format!("file:{}", file.display()));
    let mut steps = vec![send.as_str()];
    if calls > 0 {
        steps.insert(0, &receive);
    }
    if framing == Framing::Lsp {
        steps.insert(0, "lsp");
    }
    let program = c_program("transcript")
        .env("FRAMING", format!("{framing:?}").to_lowercase())
        .env("CALLS", calls.to_string());
    let out = scenario_of(program, "transcript", &misbehave(&steps));
    let _ = fs::remove_file(file);
    // The texts of the events that hold no UTF-8 are not compared below.
    Event::parse(out.stdout.as_bytes())
}

// ---- JSONTestSuite ----------------------------------------------------------

/// A file of <https://github.com/nst/JSONTestSuite>: y_ is JSON, n_ is not, and
/// of i_ a parser may think as it likes.
struct Case {
    name: String,
    bytes: Vec<u8>,
}

fn suite() -> Option<Vec<Case>> {
    let suite = peer("JSONTestSuite")?;
    let folder = std::path::Path::new(suite.program()).join("test_parsing");
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    let case = |path: std::path::PathBuf| Case {
        name: path.file_name().expect("a file").to_string_lossy().into_owned(),
        bytes: fs::read(&path).expect("readable"),
    };
    let mut cases: Vec<_> = entries.map(case).filter(|case| case.name.ends_with(".json")).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(cases.len(), 318);
    Some(cases)
}

fn marker(number: usize) -> Vec<u8> {
    format!(r#"{{"method":"marker","params":[{number}]}}"#).into_bytes()
}

#[test]
fn the_test_suite_arrives_byte_for_byte_or_as_noise() {
    let Some(cases) = suite() else { return };
    check_suite(Framing::Lsp, &cases);
    // A line feed ends a message where each is a line.
    let lines: Vec<_> = cases.into_iter().filter(|case| !case.bytes.contains(&b'\n')).collect();
    assert!(lines.len() > 280, "{}", lines.len());
    check_suite(Framing::Lines, &lines);
}

/// Each file as a result, as params and as a whole frame, with a marker behind.
fn check_suite(framing: Framing, cases: &[Case]) {
    let mut frames = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let id = index + 1;
        let around = |head: String| [head.as_bytes(), &case.bytes, b"}"].concat();
        frames.push(around(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#)));
        frames.push(around(format!(r#"{{"jsonrpc":"2.0","method":"m{id}","params":"#)));
        frames.push(case.bytes.clone());
        frames.push(marker(id));
    }
    let events = transcript(framing, cases.len(), &frames);
    let mut rest = &events[..];
    let (mut whole, mut noise) = (0, 0);
    for (index, case) in cases.iter().enumerate() {
        let Case { name, bytes } = case;
        let is_marker = |event: &Event| event.method.as_deref() == Some(b"marker");
        let end = rest.iter().position(is_marker).unwrap_or_else(|| panic!("{name}: no marker"));
        let (seen, after) = rest.split_at(end);
        assert_eq!(after[0].json, Some(format!("[{}]", index + 1).into_bytes()), "{name}");
        rest = &after[1..];
        // An empty line is none, and so no frame.
        let frames = if bytes.is_empty() && framing == Framing::Lines { 2 } else { 3 };
        assert_eq!(seen.len(), frames, "{name}: {seen:?}");
        let must_arrive = name.starts_with("y_");
        let wanted = [(RESPONSE, index as i64 + 1), (NOTIFY, 0)];
        let arrived = wanted.iter().zip(seen).filter(|(wanted, event)| {
            if event.kind == NOISE {
                assert!(!must_arrive, "{name} did not arrive");
                return false;
            }
            assert_eq!((event.kind, event.call), **wanted, "{name}");
            assert_eq!(event.status, 0, "{name}");
            assert_eq!(event.json.as_deref(), Some(bytes.trim_ascii()), "{name}");
            true
        });
        match arrived.count() {
            0 => noise += 1,
            2 => whole += 1,
            _ => panic!("{name} is good as a result or as params, but not as both"),
        }
        // None of the files is JSON-RPC.
        assert!(seen[2..].iter().all(|event| event.kind == NOISE), "{name}: {seen:?}");
    }
    assert!(rest.is_empty());
    println!("{framing:?}: {} files: {whole} arrived, {noise} were NOISE", cases.len());
}

// ---- What peers write -------------------------------------------------------

/// What one frame should give.
struct Row {
    frame: Vec<u8>,
    events: Vec<Event>,
}

fn row(frame: impl AsRef<[u8]>, events: Vec<Event>) -> Row {
    Row { frame: frame.as_ref().to_vec(), events }
}

fn noise(frame: impl AsRef<[u8]>) -> Row {
    let event = noise_of(&String::from_utf8_lossy(frame.as_ref()));
    row(frame, vec![event])
}

/// Its beginning is shown.
fn large_noise(frame: String) -> Row {
    let event = noise_of(&frame[..4096]);
    row(frame, vec![event])
}

fn noise_of(text: &str) -> Event {
    let text = Some(text.replace('\0', "\u{FFFD}").into_bytes());
    Event { kind: NOISE, text, ..Event::default() }
}

fn result(call: i64, json: &str) -> Event {
    Event { kind: RESPONSE, call, json: Some(json.into()), ..Event::default() }
}

fn notification(method: &str, json: Option<&str>) -> Event {
    let (method, json) = (Some(method.into()), json.map(|json| json.as_bytes().to_vec()));
    Event { kind: NOTIFY, method, json, ..Event::default() }
}

fn request(id: &str, method: &str, json: Option<&str>) -> Event {
    let event = notification(method, json);
    Event { kind: REQUEST, peer_id: Some(id.into()), ..event }
}

fn refusal(call: i64, message: &str, data: Option<&str>) -> Event {
    Event {
        kind: RESPONSE,
        status: E_RPC,
        call,
        text: Some(message.into()),
        json: data.map(|data| data.as_bytes().to_vec()),
        ..Event::default()
    }
}

/// Send the rows' frames in both framings, and expect their events.
#[track_caller]
fn check_rows(calls: usize, rows: &[Row]) {
    for framing in [Framing::Lines, Framing::Lsp] {
        let frames: Vec<_> = rows.iter().map(|row| row.frame.clone()).collect();
        let events = transcript(framing, calls, &frames);
        let mut rest = events.iter();
        for Row { frame, events } in rows {
            let frame = String::from_utf8_lossy(&frame[..frame.len().min(200)]).into_owned();
            let seen: Vec<_> = rest.by_ref().take(events.len()).collect();
            assert_eq!(seen, events.iter().collect::<Vec<_>>(), "{framing:?}: {frame}");
        }
        assert_eq!(rest.next(), None, "{framing:?}");
    }
}

/// They are looked at as they arrive: whatever is large in them, and whatever is
/// before or behind.
#[test]
fn large_messages_arrive_as_small_ones_do() {
    let text = format!("\"{}\"", "a\u{e9}\\\\\\\"b".repeat(60_000));
    let plain = format!("\"{}\"", "x".repeat(700_001));
    let nested = format!("[{}0]", r#"{"a":["]","\\"],"b":{}},"#.repeat(20_000));
    let members = r#""a":1,"#.repeat(80_000);
    let broken = format!("{}}}", &nested[..nested.len() - 1]);
    check_rows(
        4,
        &[
            row(format!(r#"{{"id":1,"result":{text}}}"#), vec![result(1, &text)]),
            row(format!(r#"{{"result":{nested},"id":2}}"#), vec![result(2, &nested)]),
            row(r#"{"method":"small"}"#, vec![notification("small", None)]),
            row(
                format!("{{{members}\"method\":\"m\",\"params\":{nested}}}"),
                vec![notification("m", Some(&nested))],
            ),
            row(
                format!(r#"{{"x":{plain},"id":{plain},"method":"m","params":[{text}]}}"#),
                vec![request(&plain, "m", Some(&format!("[{text}]")))],
            ),
            row(
                format!(r#"{{"id":3,"error":{{"code":1,"message":"no","data":{plain}}}}}"#),
                vec![refusal(3, "no", Some(&plain))],
            ),
            row(
                format!(r#"[{{"id":4,"result":{nested}}},{{"method":"n","params":{nested}}}]"#),
                vec![result(4, &nested), notification("n", Some(&nested))],
            ),
            large_noise(format!(r#"{{"id":4,"result":{broken}}}"#)),
            large_noise(format!(r#"{{"method":"m","params":[{}]}}"#, &plain[..plain.len() - 1])),
            row(r#"{"method":"last"}"#, vec![notification("last", None)]),
        ],
    );
}

/// Section 7 of <https://www.jsonrpc.org/specification>: what its server says
/// to a client, and what its client would say to one that serves.
#[test]
fn the_examples_of_the_specification_mean_what_it_says() {
    let error = |code: i32, message: &str| {
        format!(
            r#"{{"jsonrpc": "2.0", "error": {{"code": {code}, "message": "{message}"}}, "id": null}}"#
        )
    };
    check_rows(
        9,
        &[
            row(r#"{"jsonrpc": "2.0", "result": 19, "id": 1}"#, vec![result(1, "19")]),
            row(r#"{"jsonrpc": "2.0", "result": -19, "id": 2}"#, vec![result(2, "-19")]),
            row(
                r#"{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": 3}"#,
                vec![refusal(3, "Method not found", None)],
            ),
            noise(error(-32700, "Parse error")),
            noise(error(-32600, "Invalid Request")),
            row(
                format!("[{},{0}]", error(-32600, "Invalid Request")),
                vec![noise_of(&error(-32600, "Invalid Request")); 2],
            ),
            row(
                r#"[{"jsonrpc": "2.0", "result": 7, "id": 4}, {"jsonrpc": "2.0", "result": 19, "id": 5}, {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": 6}, {"jsonrpc": "2.0", "result": ["hello", 5], "id": 9}]"#,
                vec![
                    result(4, "7"),
                    result(5, "19"),
                    refusal(6, "Method not found", None),
                    result(9, r#"["hello", 5]"#),
                ],
            ),
            row(
                r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#,
                vec![request("1", "subtract", Some("[42, 23]"))],
            ),
            row(
                r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}"#,
                vec![request("4", "subtract", Some(r#"{"minuend": 42, "subtrahend": 23}"#))],
            ),
            row(
                r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#,
                vec![notification("update", Some("[1,2,3,4,5]"))],
            ),
            row(r#"{"jsonrpc": "2.0", "method": "foobar"}"#, vec![notification("foobar", None)]),
            noise(r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#),
            noise(r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#),
            noise(
                r#"[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method" ]"#,
            ),
            noise("[]"),
            noise("[1]"),
            noise("[1,2,3]"),
            row(
                r#"[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}, {"foo": "boo"}, {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]"#,
                vec![
                    request(r#""1""#, "sum", Some("[1,2,4]")),
                    notification("notify_hello", Some("[7]")),
                    noise_of(r#"{"foo": "boo"}"#),
                    request(r#""9""#, "get_data", None),
                ],
            ),
        ],
    );
}

#[test]
fn odd_text_is_delivered_or_noise() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let unclosed = "[".repeat(100_000);
    let params = |json: &str| format!(r#"{{"method":"m","params":{json}}}"#);
    let kept = |json: &str| row(params(json), vec![notification("m", Some(json))]);
    check_rows(
        2,
        &[
            row(format!(r#"{{"id":1,"result":{deep}}}"#), vec![result(1, &deep)]),
            kept(&deep),
            row(&unclosed, vec![noise_of(&unclosed[..4096])]),
            kept(r#"{"a":1,"a":2}"#),
            kept(r#"["\ud800","\udc00\ud800","\u0000"]"#),
            kept("[\"\u{2028}\u{2029}\u{85}\u{FEFF}\"]"),
            kept(
                "[1e400,-0,1E-2,9007199254740993,9223372036854775808,0.1000000000000000055511151231257827]",
            ),
            // What C cannot hold.
            row(r#"{"method":"a\u0000\ud800b"}"#, vec![notification("a\u{FFFD}\u{FFFD}b", None)]),
            row("\u{FEFF}{\"method\":\"m\"}", vec![notification("m", None)]),
            noise(b"{\"method\":\"m\",\"params\":[\"\xff\"]}"),
            noise(b"{\"method\":\"m\",\"params\":[\"\xed\xa0\x80\"]}"),
            noise(b"{\"method\":\"m\",\"params\":[\"\0\"]}"),
            noise(b"\0"),
            row("{\"method\":\"m\"}\r", vec![notification("m", None)]),
            row(" \t{ \"method\" : \"m\" } \t", vec![notification("m", None)]),
            noise(r#"{"method":"m"}{"method":"m"}"#),
            noise(r#"{"method":"m"},"#),
            noise(r#"{'method':'m'}"#),
        ],
    );
}

#[test]
fn ids_of_every_type_meet_no_call_but_their_own() {
    let asked =
        |id: &str| row(format!(r#"{{"id":{id},"method":"m"}}"#), vec![request(id, "m", None)]);
    let answered = |id: &str| noise(format!(r#"{{"id":{id},"result":1}}"#));
    let mut rows = Vec::new();
    // The peer's own ids are anything, ours among them.
    for id in [
        "1",
        "0",
        "-1",
        "1.5",
        "1e2",
        "9007199254740992",
        "9223372036854775808",
        "null",
        "\"1\"",
        "\"\\u0000\"",
    ] {
        rows.push(asked(id));
    }
    for id in ["true", "[1]", "{}", "false"] {
        rows.push(noise(format!(r#"{{"id":{id},"method":"m"}}"#)));
    }
    // To no call of ours, however close.
    for id in [
        "0",
        "-1",
        "4",
        "1.0",
        "1e0",
        "1e2",
        "01",
        "\"1\"",
        "null",
        "true",
        "[1]",
        "{\"id\":1}",
        "9007199254740992",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551617",
        "4294967297",
        "-9223372036854775808",
    ] {
        rows.push(answered(id));
    }
    rows.push(noise(r#"{"result":1}"#));
    rows.push(noise(r#"{"error":{"code":1,"message":"no id"}}"#));
    rows.push(noise(r#"{"id":1}"#));
    rows.push(noise(r#"{"id":1,"id":1,"result":1}"#));
    rows.push(noise(r#"{"id":1,"\u0069d":2,"result":1}"#));
    rows.push(noise(r#"{"id":1,"method":"m","result":1}"#));
    // All three calls are still open. Then each is answered, and once.
    rows.push(row(r#"{"id":1,"result":null}"#, vec![result(1, "null")]));
    rows.push(noise(r#"{"id":1,"result":null}"#));
    rows.push(row(
        r#"[{"id":3,"result":3},{"id":3,"result":3},{"id":2,"error":{"code":7,"message":"no","data":[2]}}]"#,
        vec![result(3, "3"), noise_of(r#"{"id":3,"result":3}"#), refusal(2, "no", Some("[2]"))],
    ));
    check_rows(3, &rows);
}
