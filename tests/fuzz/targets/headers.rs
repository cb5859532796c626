//! Headers, tokens and URLs of the host: what is taken can go into an HTTP
//! request, and no text tells a secret.

use std::str;

use leash::options::{ListKey, Options, TextKey};
use leash::transport::websocket::{Target, Trust};

use super::Program;

/// In every value. The fuzzer does not know it, so where it shows it was told.
const TOKEN: &str = "hunter2-swordfish";

pub fn run(data: &[u8]) {
    let mut program = Program::new(data);
    let what = program.byte();
    let Ok(text) = str::from_utf8(program.rest()) else { return };
    if text.contains("hunter2") {
        return;
    }
    match what % 3 {
        0 => header(text),
        1 => bearer(text),
        _ => url(text),
    }
}

fn header(text: &str) {
    for header in [text.to_owned(), format!("{text}{TOKEN}"), format!("X-Secret: {text}{TOKEN}")] {
        let mut options = Options::default();
        match options.set_list(ListKey::Headers, &[&header]) {
            Ok(()) => {
                let (name, value) = header.split_once(':').expect("a header has a colon");
                let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
                assert!(!name.is_empty() && name.bytes().all(is_token), "{header:?}");
                assert!(!value.contains(['\r', '\n', '\0']), "{header:?}");
                let target =
                    Target::new("ws://h", None, [&*header].into_iter(), &Trust::default(), 1000);
                quiet(target.err());
            }
            Err(error) => quiet(Some(error)),
        }
        quiet_debug(&options);
    }
}

fn bearer(text: &str) {
    let token = format!("{TOKEN}{text}");
    let mut options = Options::default();
    match options.set_text(TextKey::Bearer, Some(&token)) {
        Ok(()) => {
            assert!(token.bytes().all(|b| b.is_ascii_graphic()), "{token:?}");
            let none = std::iter::empty();
            let target = Target::new("ws://h", Some(&token), none, &Trust::default(), 1000);
            assert!(target.is_ok(), "what was taken can be sent");
        }
        Err(error) => quiet(Some(error)),
    }
    quiet_debug(&options);
}

fn url(text: &str) {
    let urls = [
        text.to_owned(),
        format!("ws://{text}"),
        format!("ws://user:{TOKEN}@{text}"),
        format!("ws://host/{text}{TOKEN}"),
        format!("wss://host/?{TOKEN}{text}"),
    ];
    for url in urls {
        let none = std::iter::empty();
        match Target::new(&url, None, none, &Trust::default(), 1000) {
            Ok(target) => {
                let label = target.label();
                assert!(label.starts_with("ws://") || label.starts_with("wss://"), "{label}");
                assert!(!label.contains(TOKEN) && !label.contains('@'), "{label}");
                let port = label.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
                assert!(port.is_some_and(|port| port > 0), "{label}");
            }
            Err(error) => quiet(Some(error)),
        }
    }
}

fn quiet(error: Option<leash::error::Error>) {
    let Some(error) = error else { return };
    assert!(!error.text().is_empty());
    assert!(!error.text().contains(TOKEN) && !format!("{error:?}").contains(TOKEN), "{error}");
}

fn quiet_debug(options: &Options) {
    assert!(!format!("{options:?}").contains(TOKEN));
}
