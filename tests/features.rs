//! Builds that lack a feature: what is not there is told.
#![cfg(not(all(feature = "websocket", feature = "environments")))]

use leash::{Code, Connection, Options, Result};

#[track_caller]
fn assert_unsupported(connected: Result<Connection>) {
    assert_eq!(connected.map(drop).unwrap_err().code(), Code::Unsupported);
}

#[test]
#[cfg(not(feature = "websocket"))]
fn a_url_is_told_to_be_unknown() {
    assert_unsupported(Connection::dial(
        "ws://127.0.0.1:1/",
        &Options::new(),
        std::time::Duration::ZERO,
    ));
}

#[test]
#[cfg(not(feature = "environments"))]
fn a_file_of_environments_is_told_to_be_unknown() {
    let options = Options::new();
    assert_unsupported(Connection::open_environment("environments.toml", "a", &options, None));
    assert_unsupported(Connection::open_environment(None, None, &options, None));
}
