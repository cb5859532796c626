//! The module table of ARCHITECTURE.md is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use, by the table's second column.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut table = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let module = cells[0].split('`').nth(1).unwrap().to_owned();
        let knows = cells[1].split(", ").map(str::to_owned).collect();
        table.insert(module, knows);
    }
    table
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each source file with the module that it belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    fn visit(folder: &Path, module: Option<&str>, found: &mut Vec<(String, PathBuf)>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_stem().unwrap().to_str().unwrap();
            let module = module.unwrap_or(name);
            if entry.is_dir() {
                visit(&entry, Some(module), found);
            } else if entry.extension().is_some_and(|ending| ending == "rs") {
                found.push((module.to_owned(), entry));
            }
        }
    }
    let mut found = Vec::new();
    visit(&root().join("src"), None, &mut found);
    found.retain(|(module, _)| module != "lib");
    found
}

/// The guard is a program of its own: its `crate::` is another one.
fn is_library(module: &str) -> bool {
    module != "guard"
}

/// The modules that the file's own code, without its tests, names.
fn uses(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>())
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn every_module_is_in_the_table_and_uses_only_what_it_may_know() {
    let table = table();
    let mut wrong = Vec::new();
    for (module, path) in sources().into_iter().filter(|(module, _)| is_library(module)) {
        let Some(knows) = table.get(&module) else {
            wrong.push(format!("{module} is not in the table"));
            continue;
        };
        let may = |used: &String| {
            *used == module || knows.contains(used) || knows.contains("everything below")
        };
        for used in uses(&path).iter().filter(|used| !may(used)) {
            wrong.push(format!("{} uses {used}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md says otherwise:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_is_where_the_architecture_says() {
    for (module, path) in sources() {
        let code = fs::read_to_string(&path).unwrap();
        let has_unsafe = code.lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//") && line.contains("unsafe ") && !line.contains("unsafe_code")
        });
        let allowed = ["ffi", "sys", "guard"].contains(&module.as_str());
        assert!(allowed || !has_unsafe, "{} has unsafe code", path.display());
    }
}

/// What the page calls by name, between backticks.
fn named() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    // Fences have backticks, too, but in threes.
    text.replace("```", "").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `connection/lead.rs`, or `tcp.rs` where the folder was named before.
fn is_file(name: &str) -> bool {
    let folders = ["", "src", "src/connection", "src/transport/websocket"];
    folders.iter().any(|folder| root().join(folder).join(name).exists())
}

/// `Shared::wait_for`, `framing::Decoder`: both parts are declared somewhere.
fn is_declared(name: &str, code: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "mod"];
    let declared = |part: &str| kinds.iter().any(|kind| code.contains(&format!("{kind} {part}")));
    name.split("::").all(declared)
}

#[test]
fn the_functions_and_files_that_it_names_exist() {
    let files = sources().into_iter().map(|(_, path)| path);
    let files = files.chain([root().join("src/lib.rs")]);
    let code: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let names = named();
    let functions = names.iter().filter(|name| name.contains("::") && !name.contains(' '));
    let files = names.iter().filter(|name| name.ends_with(".rs"));
    assert!(functions.clone().count() > 8 && files.clone().count() > 8, "where have they gone?");
    let functions = functions.filter(|name| !is_declared(name, &code));
    let missing: Vec<_> = functions.chain(files.filter(|name| !is_file(name))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}
