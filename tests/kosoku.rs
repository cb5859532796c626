//! The Autobahn cases, as kosoku has them: the library's own transport, below
//! the session, where the opcode of a message is visible.

mod harness;

use std::fmt::Write as _;
use std::fs;
use std::future::poll_fn;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use leash::error::Error;
use leash::transport::websocket::{Ending, Incoming, Socket, Target, Trust, Turn};
use serde_json::Value;

use harness::{Started, free_port, peer};

/// 9.*, 12.* and 13.* measure speed and compression, which is not offered.
const LEFT_OUT: [&str; 3] = ["9.*", "12.*", "13.*"];

const AGENT: &str = "libleash";

#[test]
fn every_case_passes() {
    let Some(kosoku) = peer("kosoku") else { return };
    let port = free_port();
    let reports = kosoku.folder.join("reports");
    let mut command = Command::new(kosoku.program());
    command.args(["-m", "fuzzingserver", "-o"]).arg(&reports);
    command.args(LEFT_OUT.iter().flat_map(|group| ["-x", group]));
    command.arg(format!("127.0.0.1:{port}")).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Started::new(command);

    let base = format!("ws://127.0.0.1:{port}");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let count = runtime.block_on(async {
        let count = case_count(&base).await;
        for case in 1..=count {
            echo(&format!("{base}/runCase?case={case}&agent={AGENT}")).await;
        }
        echo(&format!("{base}/updateReports?agent={AGENT}")).await;
        count
    });

    let index = written(&reports.join("index.json"));
    let cases = index[AGENT].as_object().expect("the agent's cases");
    println!("{}", table(cases));
    assert_eq!((cases.len(), count), (247, 247));
    let bad: Vec<_> = cases.iter().filter(|(_, case)| !passes(case)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// The report, once it is there.
fn written(path: &Path) -> Value {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Ok(report) = serde_json::from_str(&text) {
            return report;
        }
        assert!(Instant::now() < patience, "kosoku wrote no {}", path.display());
        thread::sleep(Duration::from_millis(50));
    }
}

fn passes(case: &Value) -> bool {
    let good =
        |member: &str| matches!(case[member].as_str(), Some("OK" | "NON-STRICT" | "INFORMATIONAL"));
    good("behavior") && good("behaviorClose")
}

/// One line a group: how many cases, and how they went.
fn table(cases: &serde_json::Map<String, Value>) -> String {
    let mut groups: std::collections::BTreeMap<u32, Vec<(&String, &Value)>> = Default::default();
    for (name, case) in cases {
        let group = name.split('.').next().and_then(|group| group.parse().ok());
        groups.entry(group.unwrap_or(0)).or_default().push((name, case));
    }
    let mut table = String::from("group  cases  passed  strict  close\n");
    for (group, cases) in groups {
        let count = |test: &dyn Fn(&Value) -> bool| cases.iter().filter(|(_, c)| test(c)).count();
        let passed = count(&passes);
        let strict = count(&|case| case["behavior"] != "NON-STRICT");
        let close = count(&|case| case["behaviorClose"] == "OK");
        let _ =
            writeln!(table, "{group:>5}  {:>5}  {passed:>6}  {strict:>6}  {close:>5}", cases.len());
    }
    table
}

async fn case_count(base: &str) -> u64 {
    let mut socket = dial(&format!("{base}/getCaseCount")).await;
    loop {
        match next(&mut socket).await {
            Some(Incoming::Data(_, bytes)) => {
                return String::from_utf8(bytes).unwrap().parse().expect("a number");
            }
            Some(_) => {}
            None => panic!("no case count came"),
        }
    }
}

/// Send back every message until the server closes.
async fn echo(url: &str) {
    let mut socket = dial(url).await;
    while let Some(incoming) = next(&mut socket).await {
        if let Incoming::Data(opcode, bytes) = incoming {
            while !socket.takes_more() {
                match poll_fn(|cx| socket.poll(cx, false)).await {
                    Ok(Turn::Sent) => {}
                    _ => return,
                }
            }
            if socket.start(opcode, bytes).is_err() {
                return;
            }
        }
    }
}

/// What comes in; `None` when nothing will.
async fn next(socket: &mut Socket) -> Option<Incoming> {
    loop {
        match poll_fn(|cx| socket.poll(cx, true)).await {
            Ok(Turn::Received(incoming)) => return Some(incoming),
            Ok(Turn::Sent) => {}
            Ok(Turn::Ended(Ending::Broken(_, code))) => {
                let _ = socket.start_close(code);
                while socket.is_sending() {
                    let _ = poll_fn(|cx| socket.poll(cx, false)).await;
                }
                socket.linger().await;
                return None;
            }
            Ok(Turn::Ended(_)) | Err(_) => return None,
        }
    }
}

async fn dial(url: &str) -> Socket {
    let target = Target::new(url, None, std::iter::empty(), &Trust::default(), 64 << 20).unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let error: Error = match target.dial().await {
            Ok(socket) => return socket,
            Err(error) => error,
        };
        assert!(Instant::now() < patience, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
