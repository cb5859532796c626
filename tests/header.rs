//! The header that ships: made from the sources, and true to the contract.

mod harness;

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the sources say the header is.
fn generated() -> String {
    let config = cbindgen::Config::from_file(root().join("src/ffi/cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in ["boundary", "conn", "enums", "event", "opts"] {
        builder = builder.with_src(root().join(format!("src/ffi/{source}.rs")));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    in_c_comments(&String::from_utf8(header).unwrap())
}

/// Comments as C has always had them, without Markdown.
fn in_c_comments(header: &str) -> String {
    let header = header.replace("// # Safety\n//\n//", "// Safety:");
    let mut lines: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in header.lines() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let comment = code.strip_prefix("//").map(str::trim_start);
        match (comment, is_inside) {
            (Some(text), false) => lines.push(format!("{indent}/* {text}")),
            (Some(text), true) => lines.push(format!("{indent} * {text}").trim_end().to_owned()),
            (None, true) => {
                lines.last_mut().unwrap().push_str(" */");
                lines.push(line.to_owned());
            }
            (None, false) => lines.push(line.to_owned()),
        }
        is_inside = comment.is_some();
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let path = root().join("include/leash.h");
    let generated = generated();
    if env::var_os("LEASH_BLESS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/leash.h is out of date; refresh it: LEASH_BLESS=1 cargo test --test header"
    );
}

/// Every `leash_*` and `LEASH_*` that is declared, not just mentioned.
fn names(header: &str) -> BTreeSet<String> {
    let code: String = header.split("/*").map(|part| part.rsplit("*/").next().unwrap()).collect();
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("leash_") || word.starts_with("LEASH_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn it_has_exactly_the_names_of_the_contract() {
    let contract = fs::read_to_string(root().join("tests/contract.h")).unwrap();
    let ours = fs::read_to_string(root().join("include/leash.h")).unwrap();
    assert_eq!(names(&ours), names(&contract));
}

#[test]
fn one_c_file_agrees_with_both() {
    for file in ["signatures", "signatures_of_contract"] {
        for program in harness::c_programs(file) {
            program.run().assert_success();
        }
    }
}

#[test]
fn the_shared_library_exports_exactly_the_functions() {
    let header = generated();
    let is_function = |name: &String| header.contains(&format!("{name}("));
    let functions: BTreeSet<_> = names(&header).into_iter().filter(is_function).collect();
    assert_eq!(harness::exported_symbols(), functions);
}
