//! What a guard costs, in time and memory: `cargo bench --bench guard`. The
//! work is done by a host in C, benches/guard.c.

use std::fs;
use std::io::{self, Write as _};
use std::time::Duration;

#[path = "../tests/harness/mod.rs"]
mod harness;
use harness::{BUILDS, Program, c_tool, compile, root};

fn main() {
    // `cargo test --benches` only asks whether it would run.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let host = Program::new(compile(&root().join("benches/guard.c"), BUILDS[0]));
    let host = host.never_under_valgrind().timeout(Duration::from_secs(300));
    let out = host.arg(megabytes().to_string()).arg(c_tool("fixture")).arg("serve").run();
    let _ = io::stdout().write_all(out.stdout.as_bytes());
    out.assert_success();
    out.assert_nothing_left();
}

/// The large host's: 4 GB, or what the machine can spare.
fn megabytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    (kilobytes.unwrap_or(0) / 1024 / 2).min(4096)
}
