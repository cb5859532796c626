//! What the pages say is true: their code compiles and runs, their links lead
//! somewhere, and each error text of the library is explained.
//!
//! The code in Python is checked by tests/python.rs, which has the tools.

mod harness;
mod markdown;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{BUILDS, Library, Program, compile, example, library, root, work};
#[cfg(feature = "environments")]
use leash::environments::Environments;
use markdown::{Block, blocks_in, pages};

// ---- Code -------------------------------------------------------------------

const LANGUAGES: [&str; 7] = ["c", "cmake", "cpp", "python", "sh", "text", "toml"];

#[test]
fn every_block_says_what_it_is() {
    for block in pages().iter().flat_map(|page| page.blocks()) {
        let known = LANGUAGES.contains(&block.language.as_str());
        assert!(known, "{}: nobody checks {:?}", block.place, block.language);
    }
}

/// What a snippet may take as given.
const C: &str = "#include <leash.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static leash_conn *c;
static leash_opts *opts;
";

const CPP: &str = "#include <cstdio>
#include <iostream>
#include <leash.hpp>
using namespace std::chrono_literals;
static leash::connection c;
static const std::string path;
template <class T> void use(const T &) {}
";

/// A program, a function, or statements: a program of it.
fn whole(block: &Block, prelude: &str) -> String {
    let code = &block.code;
    let is_function = |line: &str| line.starts_with("static ") && line.ends_with('{');
    if code.contains("int main(") {
        return code.clone();
    }
    if code.lines().any(is_function) {
        return format!("{prelude}{code}");
    }
    // An #include stands before the function that the statements are in.
    let (includes, body): (Vec<_>, Vec<_>) =
        code.lines().partition(|line| line.starts_with("#include") || line.starts_with("using "));
    let (includes, body) = (includes.join("\n"), body.join("\n"));
    format!("{prelude}{includes}\nvoid block(void);\nvoid block(void) {{\n{body}\n}}\n")
}

#[track_caller]
fn check_syntax(block: &Block, code: &str, compiler: &[&str], ending: &str) {
    let name = block.place.replace(['/', ':', '.'], "-");
    let file = work().join(format!("{name}.{ending}"));
    fs::write(&file, code).unwrap();
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]);
    // A snippet shows how; what it declares, the reader uses.
    command.args(["-Wno-unused-variable", "-Wno-unused-but-set-variable"]);
    command.args(["-Wno-unused-function", "-DLEASH_NO_NLOHMANN"]);
    for include in ["include", "bindings/cpp"] {
        command.arg("-I").arg(root().join(include));
    }
    let out = command.arg(&file).output().expect("a compiler is installed");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{} does not compile:\n{errors}\n{code}", block.place);
    let _ = fs::remove_file(file);
}

#[test]
fn the_code_in_c_compiles() {
    let blocks = blocks_in("c");
    assert!(blocks.len() > 10, "where have they gone?");
    for block in blocks {
        check_syntax(&block, &whole(&block, C), &["cc", "-std=c99", "-D_GNU_SOURCE"], "c");
    }
}

#[test]
fn the_code_in_cpp_compiles() {
    for block in blocks_in("cpp") {
        check_syntax(&block, &whole(&block, CPP), &["c++", "-std=c++17"], "cpp");
    }
}

#[test]
fn whole_programs_in_c_run() {
    let mut ran = 0;
    for block in blocks_in("c").iter().filter(|block| block.code.contains("int main(")) {
        let file = work().join(format!("{}.c", block.place.replace(['/', ':', '.'], "-")));
        fs::write(&file, &block.code).unwrap();
        let out = Program::new(compile(&file, BUILDS[0])).arg(example("demo_server")).run();
        out.assert_success();
        out.assert_nothing_left();
        let _ = fs::remove_file(file);
        ran += 1;
    }
    assert!(ran >= 2, "only {ran}");
}

#[test]
fn the_commands_name_what_there_is() {
    for block in blocks_in("sh") {
        let script = work().join(format!("block-{}.sh", std::process::id()));
        fs::write(&script, &block.code).unwrap();
        let parsed = Command::new("bash").arg("-n").arg(&script).output().unwrap();
        assert!(parsed.status.success(), "{}: no shell can read it", block.place);
        let _ = fs::remove_file(script);
        check_names(&block);
    }
}

/// Files of the project, tests, benches, examples: each must be there.
fn check_names(block: &Block) {
    let words: Vec<&str> = block.code.split_whitespace().collect();
    for (word, next) in words.iter().zip(words.iter().skip(1).chain([&""])) {
        let target = match *word {
            "--test" => Some(format!("tests/{next}.rs")),
            "--bench" => Some(format!("benches/{next}.rs")),
            "--example" => Some(format!("examples/{next}.rs")),
            _ => None,
        };
        let ours = ["tests/", "benches/", "examples/", "bindings/", ".ci/"];
        let path = word.trim_start_matches("./");
        let path = ours.iter().any(|folder| path.starts_with(folder)).then(|| path.to_owned());
        for file in target.into_iter().chain(path) {
            assert!(root().join(&file).exists(), "{}: there is no {file}", block.place);
        }
    }
}

#[cfg(feature = "environments")]
#[test]
fn the_environments_can_be_read() {
    let blocks = blocks_in("toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        let file = work().join(format!("block-{}.toml", std::process::id()));
        fs::write(&file, &block.code).unwrap();
        let loaded = Environments::load(file.to_str());
        assert!(loaded.is_ok(), "{}: {}", block.place, loaded.err().unwrap());
        let _ = fs::remove_file(file);
    }
}

// ---- The picture ---------------------------------------------------------------

#[test]
fn the_picture_shows_what_happens() {
    let script = root().join("docs/tree.py");
    let out = Program::new("/usr/bin/env".into())
        .args(["python3".as_ref(), script.as_os_str(), "--check".as_ref()])
        .env("LEASH_LIBRARY", library(Library::Shared))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .never_under_valgrind()
        .run();
    out.assert_success();
    out.assert_nothing_left();
}

// ---- Links ------------------------------------------------------------------

/// `[text](target)`, and pictures.
fn links(prose: &str) -> Vec<String> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// What a heading is called in links, as forges and mdBook do it.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut broken = Vec::new();
    for page in &pages {
        for link in links(&page.prose()) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            if link.starts_with("https://") {
                continue; // the network is not ours to test
            }
            let target = match file {
                "" => page.path.clone(),
                file => page.path.parent().unwrap().join(file),
            };
            let Ok(target) = target.canonicalize() else {
                broken.push(format!("{}: {link}", page.name()));
                continue;
            };
            let is_found = |target: &Path| {
                let text = pages.iter().find(|page| page.path == target).map(markdown::Page::prose);
                text.is_some_and(|text| anchors(&text).contains(anchor))
            };
            if !anchor.is_empty() && !is_found(&target) {
                broken.push(format!("{}: {link}: no such heading", page.name()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_book_has_every_page_of_the_guide() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut listed = BTreeSet::new();
    for page in links(&summary) {
        // mdBook takes no page twice.
        assert!(!listed.contains(&page), "docs/SUMMARY.md names {page} twice");
        listed.insert(page);
    }
    let there = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in there.filter(|path| path.extension() == Some(OsStr::new("md"))) {
        let name = page.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name == "SUMMARY.md" || listed.contains(&name), "docs/SUMMARY.md has no {name}");
    }
}

// ---- Errors -----------------------------------------------------------------

/// Sentences in the sources that a host may see. What only `LEASH_TRACE` or a
/// programmer sees is none.
fn texts_of_errors() -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    for path in sources(&root().join("src")) {
        let code = fs::read_to_string(&path).unwrap();
        let code = code.split("#[cfg(test)]").next().unwrap();
        for (before, text) in literals(code) {
            let unseen =
                ["reason = ", "expect(", "trace.note(", "panic!(", "assert!(", "compile_error!("];
            let is_unseen = unseen.iter().any(|call| before.contains(call));
            if !is_unseen && text.contains(' ') && !text.contains('\n') {
                texts.push((path.clone(), text));
            }
        }
    }
    texts
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    // The guard says numbers; the trace is no error.
    let is_guard = |path: &PathBuf| path.ends_with("guard");
    let folders = folders.iter().filter(|path| !is_guard(path)).flat_map(|f| sources(f));
    files.into_iter().filter(|path| !path.ends_with("trace.rs")).chain(folders).collect()
}

/// The text literals of Rust code, each with what stands before it.
fn literals(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut before = String::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            rest = raw.find("\"#").map_or("", |end| &raw[end + 2..]);
        } else if rest.starts_with("b'\"'") || rest.starts_with("'\"'") {
            rest = &rest[rest.find("\"'").unwrap() + 2..];
        } else if c == '"' {
            let end = end_of_literal(&rest[1..]) + 1;
            found.push((before.split_off(before.len().saturating_sub(60)), plain(&rest[1..end])));
            before.clear();
            rest = &rest[end + 1..];
        } else {
            before.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    found
}

fn end_of_literal(text: &str) -> usize {
    let mut is_escaped = false;
    let ends = |c: char| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    };
    text.find(ends).expect("a literal ends")
}

/// Without escapes, and the line breaks that the compiler joins.
fn plain(literal: &str) -> String {
    let lines: Vec<_> = literal.split("\\\n").collect();
    let joined = lines.iter().enumerate().map(|(n, l)| if n == 0 { l } else { l.trim_start() });
    joined.collect::<String>().replace("\\\"", "\"")
}

#[test]
fn each_error_text_is_explained() {
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let texts = texts_of_errors();
    assert!(texts.len() > 150, "these are not all: {}", texts.len());
    let mut missing = BTreeSet::new();
    for (path, text) in texts {
        // Between the names and numbers that are put in.
        let parts = text.split(['{', '}']).step_by(2).map(str::trim);
        for part in parts.filter(|part| part.contains(' ')) {
            let part = part.trim_matches([':', ';', ',', '.', '(', ')']).trim();
            if !page.contains(part) {
                missing
                    .insert(format!("{}: {part:?}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    let missing: Vec<_> = missing.into_iter().collect();
    assert!(missing.is_empty(), "docs/errors.md does not explain\n{}", missing.join("\n"));
}
