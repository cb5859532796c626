//! A build without the feature `websocket`.
#![cfg(not(feature = "websocket"))]

use leash::connection::Connection;
use leash::error::Code;
use leash::options::{Options, TextKey};

#[test]
fn a_url_is_told_to_be_unknown() {
    let mut options = Options::default();
    options.set_text(TextKey::Url, Some("ws://127.0.0.1:1/")).unwrap();
    let error = Connection::open(None, &options, None).map(drop).unwrap_err();
    assert_eq!(error.code(), Code::Unsupported);
}
