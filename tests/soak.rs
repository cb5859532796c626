//! Everything at once, for a while: see tests/c/soak.c. Fifteen seconds, or
//! `LEASH_SOAK` minutes.

use std::env;
use std::time::Duration;

mod harness;
use harness::{c_program, is_watched, misbehave, scenario_of};

#[test]
fn both_ledgers_agree_after_a_while_of_everything() {
    let minutes = env::var("LEASH_SOAK").ok().and_then(|minutes| minutes.parse::<u64>().ok());
    let seconds = minutes.map_or(15, |minutes| minutes * 60);
    let mut program = c_program("soak").env("SECONDS_TO_RUN", seconds.to_string());
    if is_watched() {
        program = program.env("UNCOUNTED", "1");
    }
    let program = program.timeout(Duration::from_secs(seconds + 120));
    let out = scenario_of(program, "soak", &misbehave(&["ledger-loop"]));
    print!("{}", out.stdout);
}
