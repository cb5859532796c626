//! Any text as an environments.toml: taken or refused, and nothing of its
//! values told.

use std::str;

use leash::environments::Environments;
use leash::error::Code;
use leash::options::Options;

/// In the values that may be secret.
const TOKEN: &str = "hunter2-swordfish";

/// What may follow the fuzzer's text.
const TAILS: [&str; 4] = [
    "",
    "\nargs = [\"--token=hunter2-swordfish\"]\n",
    "\nenv = { T = \"hunter2-swordfish\" }\n",
    "\n[[environments]]\nid = \"last\"\nurl = \"ws://u:hunter2-swordfish@h/?hunter2-swordfish\"\n",
];

pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if text.contains("hunter2") {
        return;
    }
    for tail in TAILS {
        check(&format!("{text}{tail}"));
    }
    // The same with a value that is cut off in the middle.
    check(&format!("{text}\nargs = [\"{TOKEN}"));
}

fn check(text: &str) {
    let environments = match Environments::parse(text, "/folder/environments.toml") {
        Ok(environments) => environments,
        Err(error) => {
            assert_eq!(error.code(), Code::Invalid);
            return quiet(&error, "/folder/environments.toml");
        }
    };
    let list: serde_json::Value = serde_json::from_str(&environments.list()).expect("JSON");
    assert!(!list.to_string().contains(TOKEN) && !format!("{environments:?}").contains(TOKEN));
    let ids = list["environments"].as_array().expect("a list").iter();
    let ids: Vec<_> = ids.map(|each| each["id"].as_str().expect("an id").to_owned()).collect();
    for id in &ids {
        assert!((1..=64).contains(&id.len()) && !["local", "none"].contains(&id.as_str()), "{id}");
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{id}");
        let environment = environments.find(Some(id)).expect("a listed one is found");
        match environment.plan(&Options::default()) {
            Ok(plan) => assert!(!format!("{plan:?}").contains(TOKEN)),
            Err(error) => quiet(&error, id),
        }
    }
    if let Err(error) = environments.find(Some(TOKEN)) {
        assert!(error.text().contains("environments.toml"));
    }
    match (environments.find(None), list["default"].as_str()) {
        (Ok(_), Some(default)) => assert!(ids.iter().any(|id| id == default)),
        (Ok(_), None) => panic!("a default that the list does not tell"),
        (Err(error), _) => quiet(&error, "environments.toml"),
    }
}

fn quiet(error: &leash::error::Error, names: &str) {
    assert!(error.text().contains(names), "{error}");
    assert!(!error.text().contains(TOKEN) && !format!("{error:?}").contains(TOKEN), "{error}");
}
