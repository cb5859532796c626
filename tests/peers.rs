//! Real servers, driven from C. tests/peers/install.sh installs them.

mod harness;
use harness::{c_program, peer, scenario_of};

/// Run a scenario with a server, which asks us that often.
fn run(server: &str, name: &str, asks: &str) {
    let Some(peer) = peer(server) else { return };
    let mut program = c_program("peers").env("ASKS", asks);
    for variable in &peer.env {
        let (name, value) = variable.split_once('=').expect("NAME=value");
        program = program.env(name, value);
    }
    scenario_of(program, name, &peer.argv);
}

#[test]
fn deltachat_answers_a_thousand_calls_each_to_its_own() {
    run("deltachat-rpc-server", "a_thousand_calls_from_one_thread", "");
}

#[test]
fn deltachat_answers_64_threads() {
    run("deltachat-rpc-server", "sixty_four_threads", "");
}

#[test]
fn server_everything_asks_for_the_roots_and_goes_on() {
    run("mcp-server-everything", "roots_are_listed", "");
}

#[test]
fn ruff_is_driven_over_content_length() {
    run("ruff", "ruff", "1");
}

#[test]
fn bash_language_server_is_driven_over_content_length() {
    run("bash-language-server", "bash", "2");
}

#[test]
fn codex_starts_a_process_and_tells_its_end() {
    run("codex", "codex", "");
}
