//! What we depend on has a licence that deny.toml allows, and comes from the
//! registry. cargo-deny knows more, but takes minutes to build; this is the part
//! that must hold on every machine.

use std::env;
use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_dependency_has_an_allowed_licence() {
    let rules = Rules::read();
    for package in packages() {
        let name = package["name"].as_str().expect("packages have names");
        let licence = package["license"].as_str().unwrap_or("none told");
        assert!(rules.allow(name, licence), "{name}: {licence} is not allowed in deny.toml");
    }
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let rules = Rules::read();
    for package in packages() {
        // Only this package has no source: it is here.
        let source = package["source"].as_str().map(|s| s.trim_start_matches("registry+"));
        let known = source.is_none_or(|s| rules.registries.iter().any(|r| r == s));
        assert!(
            known && (source.is_some() || package["name"] == "libleash"),
            "{}",
            package["name"]
        );
    }
}

#[test]
fn licence_expressions_are_understood() {
    let rules = Rules {
        allowed: vec!["MIT".into(), "Apache-2.0".into(), "Zlib WITH x".into()],
        exceptions: vec![("odd".into(), vec!["MPL-2.0".into()])],
        registries: Vec::new(),
    };
    for good in ["MIT", "MIT/GPL-3.0", "GPL-3.0 OR MIT", "(MIT OR X) AND Apache-2.0", "Zlib WITH x"]
    {
        assert!(rules.allow("any", good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND X", "(MIT OR X) AND X", "Zlib", "MIT WITH x", "none told"] {
        assert!(!rules.allow("any", bad), "{bad}");
    }
    assert!(rules.allow("odd", "MPL-2.0") && !rules.allow("any", "MPL-2.0"));
}

/// All packages that Cargo.lock holds for this platform: what is here already,
/// so that no network is needed.
fn packages() -> Vec<Value> {
    let version = run(&tool("RUSTC", "rustc"), &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc says");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform", host];
    let text =
        run(&tool("CARGO", "cargo"), &[&arguments[..], &["--manifest-path", manifest]].concat());
    let mut metadata: Value = serde_json::from_str(&text).expect("cargo prints JSON");
    match metadata["packages"].take() {
        Value::Array(packages) if packages.len() > 10 => packages,
        other => panic!("that is not all: {other}"),
    }
}

fn tool(variable: &str, default: &str) -> String {
    env::var(variable).unwrap_or_else(|_| default.to_owned())
}

fn run(program: &str, arguments: &[&str]) -> String {
    let out =
        Command::new(program).args(arguments).output().expect("cargo and rustc are installed");
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("UTF-8")
}

struct Rules {
    allowed: Vec<String>,
    exceptions: Vec<(String, Vec<String>)>,
    registries: Vec<String>,
}

impl Rules {
    /// The lists of deny.toml. Not a TOML parser: it relies on one exception a
    /// line, and on no `]` inside a string.
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
        let text = fs::read_to_string(path).expect("deny.toml is committed");
        let exceptions = text.lines().filter_map(|line| line.trim().strip_prefix("{ crate = "));
        let exceptions = exceptions.map(|line| {
            let mut strings = strings(line);
            (strings.remove(0), strings)
        });
        Self {
            allowed: list(&text, "\nallow = ["),
            exceptions: exceptions.collect(),
            registries: list(&text, "\nallow-registry = ["),
        }
    }

    fn allow(&self, name: &str, licence: &str) -> bool {
        let own = self.exceptions.iter().filter(|(of, _)| of == name).flat_map(|(_, list)| list);
        let allowed: Vec<&String> = self.allowed.iter().chain(own).collect();
        let spaced = licence.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut rest = words.as_slice();
        either(&mut rest, &allowed) && rest.is_empty()
    }
}

fn list(text: &str, opening: &str) -> Vec<String> {
    let after = text.split_once(opening).expect("deny.toml has the list").1;
    strings(after.split_once(']').expect("the list ends").0)
}

fn strings(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn either(rest: &mut &[&str], allowed: &[&String]) -> bool {
    let mut any = both(rest, allowed);
    while let ["OR", tail @ ..] = rest {
        *rest = tail;
        any |= both(rest, allowed);
    }
    any
}

fn both(rest: &mut &[&str], allowed: &[&String]) -> bool {
    let mut all = one(rest, allowed);
    while let ["AND", tail @ ..] = rest {
        *rest = tail;
        all &= one(rest, allowed);
    }
    all
}

fn one(rest: &mut &[&str], allowed: &[&String]) -> bool {
    let (name, tail) = match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let inner = either(rest, allowed);
            let [")", tail @ ..] = *rest else { return false };
            *rest = tail;
            return inner;
        }
        [name, "WITH", exception, tail @ ..] => (format!("{name} WITH {exception}"), tail),
        [name, tail @ ..] => ((*name).to_owned(), tail),
        [] => return false,
    };
    *rest = tail;
    allowed.iter().any(|licence| **licence == name)
}
