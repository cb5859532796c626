//! The binary interface: what a program that was built against it relies on.
//! docs/abi.md has the rules.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Library, Program, example, exported_symbols, library, root, work};

/// The functions that a header declares, by name: what stands before it, and
/// the parameters.
fn functions(header: &Path) -> BTreeMap<String, (String, String)> {
    let text = fs::read_to_string(header).unwrap();
    let code: String = text.split("/*").map(|part| part.rsplit("*/").next().unwrap()).collect();
    let declarations = code.split(';').filter_map(|code| {
        let (head, parameters) = code.split_once('(')?;
        let head = head.rsplit(['\n', '{', '}']).next()?;
        // Of `const struct leash_x *leash_f` the last one is the name.
        let at = head.rfind("leash_").filter(|_| !head.contains("typedef"))?;
        Some((head[at..].to_owned(), (head[..at].to_owned(), format!("({parameters}"))))
    });
    declarations.collect()
}

/// A library with the functions of `folder`/leash.h that do nothing, and with
/// the types of C in its debug information: those of Rust are no part of the ABI.
fn stub(folder: &Path, name: &str) -> PathBuf {
    let place = work().join("abi").join(name);
    fs::create_dir_all(&place).expect("the work folder is ours");
    let mut code = "#include <leash.h>\n".to_owned();
    for (name, (result, parameters)) in functions(&folder.join("leash.h")) {
        let body = if result.trim() == "void" { "" } else { "return 0;" };
        code += &format!("{result}{name}{parameters} {{ {body} }}\n");
    }
    fs::write(place.join("stub.c"), code).expect("the work folder is ours");
    let built = place.join("libleash.so");
    let mut cc = cc();
    // Its name alone gets into the debug information.
    cc.current_dir(&place).arg("stub.c");
    cc.args(["-g", "-fno-eliminate-unused-debug-types", "-fPIC", "-shared"]);
    cc.arg(format!("-Wl,-soname,libleash.so.{}", env!("CARGO_PKG_VERSION_MAJOR")));
    done(cc.arg("-I").arg(folder).arg("-o").arg(&built));
    built
}

fn cc() -> Command {
    let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.arg("-std=c99");
    cc
}

#[track_caller]
fn done(command: &mut Command) -> Output {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&out.stderr));
    out
}

/// Whether abidw and abidiff can be run; if not, that is told.
fn has_abigail() -> bool {
    if Command::new("abidw").arg("--version").output().is_ok() {
        return true;
    }
    let missing = "abidw: apt install abigail-tools";
    let required = env::var_os("LEASH_REQUIRE_PEERS").is_some_and(|v| v == "1");
    assert!(!required, "{missing}");
    let _ = writeln!(io::stderr(), "SKIPPED {missing}");
    false
}

#[test]
fn it_is_the_committed_one() {
    if !has_abigail() {
        return;
    }
    let committed = root().join("tests/abi/leash.abi");
    let now = work().join("abi/now.abi");
    let mut abidw = Command::new("abidw");
    // Types that no function uses, such as the enums; and no paths of this machine.
    abidw.args(["--load-all-types", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs"]);
    abidw.args(["--no-architecture", "--type-id-style", "hash", "--out-file"]).arg(&now);
    done(abidw.arg(stub(&root().join("include"), "now")));

    let differ = |also: &[&str]| {
        let mut abidiff = Command::new("abidiff");
        abidiff.args(["--non-reachable-types", "--no-show-locs"]).args(also);
        let out = abidiff.arg(&committed).arg(&now).output().expect("it is installed");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (breaks, told) = differ(&["--no-added-syms"]);
    assert_eq!(breaks, Some(0), "programs that were built before would break:\n{told}");
    if env::var_os("LEASH_BLESS").is_some() {
        fs::copy(&now, &committed).unwrap();
    }
    let (grows, told) = differ(&["--harmless"]);
    assert_eq!(grows, Some(0), "new here; LEASH_BLESS=1 cargo test --test abi keeps it:\n{told}");
}

#[test]
fn a_program_of_the_oldest_header_runs_with_the_newest_library() {
    // It is built where there is no other library than that of its time.
    let folder = root().join("tests/abi/oldest");
    let oldest = stub(&folder, "oldest");
    let program = work().join("abi/quickstart");
    let mut cc = cc();
    cc.args(["-Wall", "-Wextra", "-Werror", "-I"]).arg(&folder);
    cc.arg(root().join("examples/quickstart.c")).arg(oldest).arg("-o").arg(&program);
    done(&mut cc);

    library(Library::Shared);
    let program = Program::new(program).never_under_valgrind().env("LD_LIBRARY_PATH", work());
    let out = program.arg(example("demo_server")).run();
    out.assert_success();
    assert!(out.stdout.starts_with("line 1\n"), "{}", out.stdout);
    assert!(out.stdout.contains("exit code: 3\nclosed: "), "{}", out.stdout);
    out.assert_nothing_left();
}

#[test]
fn every_function_of_the_oldest_header_is_exported() {
    let oldest: BTreeSet<_> =
        functions(&root().join("tests/abi/oldest/leash.h")).into_keys().collect();
    assert!(oldest.len() >= 29, "{oldest:?}");
    assert!(oldest.is_subset(&exported_symbols()), "{oldest:?}");
}

#[test]
fn the_numbers_agree_with_the_version_of_the_crate() {
    use leash::ffi::{LEASH_ABI, LEASH_VERSION_NUMBER};
    let part = |text: &str| text.parse::<u32>().expect("a number");
    let [major, minor, patch] = [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ]
    .map(part);
    assert_eq!(LEASH_VERSION_NUMBER, major << 16 | minor << 8 | patch);
    assert_eq!(LEASH_ABI, major);
}
