//! The Python package: its own tests, and its types.
//!
//! The tools come by pip into a virtual environment under target. What cannot
//! be had is told, and is a failure with `LEASH_REQUIRE_PEERS=1`.

mod harness;
mod markdown;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use harness::{Library, Program, example, library, root, work};

/// pytest runs everything in one process; a busy machine gets its time.
const LONG: Duration = Duration::from_secs(400);

/// A Python that has pytest and mypy; None when it cannot be made.
fn python() -> Option<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match MADE.get_or_init(make_environment) {
        Ok(python) => Some(python),
        Err(missing) => {
            let required = env::var_os("LEASH_REQUIRE_PEERS").is_some_and(|v| v == "1");
            assert!(!required, "{missing}");
            // Past the test runner's capture: a skip must be seen.
            let _ = writeln!(io::stderr(), "SKIPPED python: {missing}");
            None
        }
    }
}

fn make_environment() -> Result<PathBuf, String> {
    let folder = work().ancestors().nth(2).expect("target").join("python-venv");
    let python = folder.join("bin/python");
    let stamp = folder.join("complete-1");
    if stamp.exists() {
        return Ok(python);
    }
    let _ = fs::remove_dir_all(&folder);
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .map_err(|e| format!("python3 with venv is missing: {e}"))?;
    let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
    let packages = ["pytest", "mypy", "orjson"];
    run(Command::new(&python).args(install).args(packages))
        .map_err(|e| format!("pip cannot install {}: {e}", packages.join(", ")))?;
    fs::write(&stamp, "").map_err(|e| e.to_string())?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| e.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or("failed").to_owned())
}

fn package() -> PathBuf {
    root().join("bindings/python")
}

fn peers() -> OsString {
    let target = work().ancestors().nth(2).expect("target").join("peers");
    env::var_os("LEASH_PEERS").unwrap_or_else(|| target.into())
}

#[test]
fn its_tests_pass() {
    let Some(python) = python() else { return };
    example("misbehave");
    example("misbehave_ws");
    let servers = example("demo_server").parent().expect("a folder").to_owned();
    let out = Program::new(python.to_owned())
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"])
        .arg(package())
        .env("LEASH_LIBRARY", library(Library::Shared))
        .env("LEASH_EXAMPLES", servers)
        .env("LEASH_PEERS", peers())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .timeout(LONG)
        .never_under_valgrind()
        .run();
    for line in out.stdout.lines().filter(|line| line.starts_with("SKIPPED")) {
        let _ = writeln!(io::stderr(), "{line}");
    }
    out.assert_success();
    out.assert_nothing_left();
}

#[test]
fn its_types_are_strict() {
    let Some(python) = python() else { return };
    let configuration = package().join("pyproject.toml");
    let cache = work().join("mypy-cache");
    let parts = ["src", "tools", "tests", "benches"].map(|part| package().join(part));
    let examples = ["acp_agent", "asyncio_commands", "diagnostics", "fleet", "quickstart"]
        .map(|name| root().join("examples").join(name).with_extension("py"));
    Program::new(python.to_owned())
        .args(["-m", "mypy", "--strict", "--config-file"])
        .arg(configuration)
        .arg("--cache-dir")
        .arg(cache)
        .args(parts)
        .args(examples)
        .env("MYPYPATH", package().join("src"))
        .timeout(LONG)
        .never_under_valgrind()
        .run()
        .assert_success();
}

/// What a snippet may take as given.
const GIVEN: &str = "\
import asyncio
import base64
import shlex
import sys
from typing import Any, List

import libleash
from libleash.exec_server import PIPE, ExecServer

argv: List[str]
path: str
TOKEN: str
client: libleash.Client
roots: Any
";

#[test]
fn the_code_on_the_pages_has_the_types_that_there_are() {
    let Some(python) = python() else { return };
    let folder = work().join("python-blocks");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the work folder is ours");
    let blocks = markdown::blocks_in("python");
    assert!(blocks.len() > 5, "where have they gone?");
    for block in blocks {
        let name: String =
            block.place.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        // In a function, so that snippets may await.
        let lines = block.code.lines().filter(|line| !line.starts_with("from __future__"));
        let body: String = lines.map(|line| format!("    {line}\n")).collect();
        let code = format!("{GIVEN}\n\nasync def block() -> None:\n{body}");
        fs::write(folder.join(name).with_extension("py"), code).expect("the work folder is ours");
    }
    Program::new(python.to_owned())
        .args(["-m", "mypy", "--check-untyped-defs", "--cache-dir"])
        .arg(work().join("mypy-cache"))
        .arg(&folder)
        .env("MYPYPATH", package().join("src"))
        .timeout(LONG)
        .never_under_valgrind()
        .run()
        .assert_success();
}
