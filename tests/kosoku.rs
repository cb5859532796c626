//! The Autobahn cases, as kosoku has them: the library's own transport, below
//! the session, where the opcode of a message is visible. Once as the runtime
//! drives it, and once as threads of a host do.

mod harness;

use std::fmt::Write as _;
use std::fs;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use leash::error::Error;
use leash::sys::io::wait_readable;
use leash::transport::websocket::{Ending, Incoming, Received, Socket, Target, Trust, Turn};
use serde_json::Value;

use harness::{Started, free_port, peer};

/// 9.*, 12.* and 13.* measure speed and compression, which is not offered.
const LEFT_OUT: [&str; 3] = ["9.*", "12.*", "13.*"];

const BY_RUNTIME: &str = "libleash";
const BY_HAND: &str = "libleash by hand";

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
        let by_hand = BY_HAND.replace(' ', "%20");
        for case in 1..=count {
            echo(&format!("{base}/runCase?case={case}&agent={BY_RUNTIME}")).await;
            echo_by_hand(&format!("{base}/runCase?case={case}&agent={by_hand}")).await;
        }
        echo(&format!("{base}/updateReports?agent={BY_RUNTIME}")).await;
        count
    });

    let index = written(&reports.join("index.json"));
    for agent in [BY_RUNTIME, BY_HAND] {
        let cases = index[agent].as_object().expect("the agent's cases");
        println!("{agent}\n{}", table(cases));
        assert_eq!((cases.len(), count), (247, 247));
        let bad: Vec<_> = cases.iter().filter(|(_, case)| !passes(case)).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
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

/// The same with a socket that the runtime does not watch, until the end.
async fn echo_by_hand(url: &str) {
    let mut socket = dial(url).await;
    let fd = socket.leave_runtime().expect("a plain one");
    loop {
        // What does not fit is tried again after the peer has said something.
        let is_sent = matches!(socket.send_now(), Ok(true)) && !socket.is_sending();
        match socket.receive_now(2) {
            Received::Turn(Turn::Received(Incoming::Data(opcode, bytes))) => {
                while !socket.takes_more() {
                    if socket.send_now().is_err() {
                        return;
                    }
                }
                if socket.start(opcode, bytes).is_err() {
                    return;
                }
            }
            Received::Turn(Turn::Ended(Ending::Broken(_, code))) => {
                let _ = socket.start_close(code);
                while socket.is_sending() && socket.send_now().is_ok() {}
                socket.join_runtime().expect("a descriptor");
                return socket.linger().await;
            }
            Received::Turn(Turn::Ended(_)) => return,
            Received::Turn(_) | Received::Some => {}
            Received::Nothing => {
                let soon = Instant::now() + Duration::from_millis(if is_sent { 20_000 } else { 1 });
                let _ = wait_readable([Some(fd.as_fd())], Some(soon));
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
