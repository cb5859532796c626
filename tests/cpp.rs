//! The C++ header, as gcc and clang compile it: with and without exceptions, in
//! two files of one program, and under the sanitizers.

mod harness;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Library, Output, Program, example, library, peer, root, work};

const DEFAULT: &[&str] = &["-std=c++17"];

/// The compilers that are installed; one that is missing is told.
fn compilers() -> Vec<&'static str> {
    let installed = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let (there, missing): (Vec<_>, Vec<_>) = ["g++", "clang++"].into_iter().partition(installed);
    for name in missing {
        let required = env::var_os("LEASH_REQUIRE_PEERS").is_some_and(|v| v == "1");
        assert!(!required, "{name} is missing");
        let _ = writeln!(io::stderr(), "SKIPPED {name}: not installed");
    }
    assert!(!there.is_empty(), "no C++ compiler is installed");
    there
}

fn source(name: &str) -> PathBuf {
    root().join("tests/cpp").join(name).with_extension("cpp")
}

fn command(compiler: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(compiler);
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]);
    // Compiling that takes longer than all the rest. DWARF 4, because an older
    // valgrind cannot read what clang writes by itself.
    command.args(["-gdwarf-4", "-pthread", "-DLEASH_NO_NLOHMANN"]).args(flags);
    for include in ["include", "bindings/cpp"] {
        command.arg("-I").arg(root().join(include));
    }
    command
}

/// Compile the files, each with flags of its own, and link them.
fn build(name: &str, compiler: &str, files: &[(&Path, &[&str])]) -> PathBuf {
    let stem = format!("cpp-{name}-{compiler}-{}", std::process::id());
    let mut objects: Vec<OsString> = Vec::new();
    for (index, (file, flags)) in files.iter().enumerate() {
        let object = work().join(format!("{stem}-{index}.o"));
        run(command(compiler, flags).arg("-c").arg(file).arg("-o").arg(&object));
        objects.push(object.into());
    }
    let program = work().join(&stem);
    // Sanitizers are named to the linker, too.
    let mut link = command(compiler, files[0].1);
    link.args(&objects).arg(library(Library::Shared));
    link.arg(format!("-Wl,-rpath,{}", work().display())).arg("-o").arg(&program);
    run(&mut link);
    objects.iter().for_each(|object| drop(std::fs::remove_file(object)));
    program
}

#[track_caller]
fn run(command: &mut Command) {
    let out = command.output().expect("the compiler was there");
    assert!(out.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&out.stderr));
}

#[track_caller]
fn check(program: PathBuf, arguments: &[PathBuf]) -> Output {
    let out = Program::new(program.clone()).args(arguments).run();
    let _ = std::fs::remove_file(program);
    out.assert_success();
    assert!(out.stdout.contains("fine\n"), "{}", out.stdout);
    out.assert_nothing_left();
    out
}

fn behaves(compiler: &str, name: &str, flags: &[&str]) -> Output {
    let program = build(name, compiler, &[(&source("behaviour"), flags)]);
    check(program, &[example("demo_server"), example("misbehave")])
}

#[test]
fn it_does_what_it_promises() {
    for compiler in compilers() {
        let out = behaves(compiler, "17", &["-std=c++17", "-ULEASH_NO_NLOHMANN"]);
        if !out.stdout.contains("nlohmann") {
            let _ = writeln!(io::stderr(), "SKIPPED nlohmann/json: the header is not installed");
        }
        behaves(compiler, "2b", &["-std=c++2b", "-O2"]);
    }
}

#[test]
fn the_address_and_behaviour_sanitizers_find_nothing() {
    // What they put around memory, valgrind cannot run.
    if harness::under_valgrind() {
        return;
    }
    for compiler in compilers() {
        let flags =
            ["-std=c++17", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        behaves(compiler, "sanitized", &flags);
    }
}

#[test]
fn without_exceptions_results_tell() {
    for compiler in compilers() {
        let flags: &[&str] = &["-std=c++17", "-fno-exceptions", "-fno-rtti"];
        for (name, flags) in [("no-exceptions", flags), ("with-exceptions", DEFAULT)] {
            let program = build(name, compiler, &[(&source("no_exceptions"), flags)]);
            check(program, &[example("demo_server")]);
        }
    }
}

#[test]
fn two_files_make_one_program() {
    let (a, b) = (source("odr_a"), source("odr_b"));
    for compiler in compilers() {
        for (name, other) in [("odr", "-std=c++17"), ("odr-2b", "-std=c++2b")] {
            let program =
                build(name, compiler, &[(&a, DEFAULT), (&b, &[other, "-fno-exceptions", "-O2"])]);
            check(program, &[example("demo_server")]);
        }
    }
}

/// What must not compile, and what the compiler says of it.
const WRONG: [(&str, &str); 7] = [
    ("std::string_view v = c.call(\"m\").json();", "delete"),
    ("std::string_view v = leash::event().method();", "delete"),
    ("auto list = leash::arguments{\"a\"}.c_argv();", "delete"),
    ("leash::connection d = c;", "delete"),
    ("leash::event a, b; a = b;", "delete"),
    ("leash::connection::open(\"sh -c true\");", ""),
    ("c.try_notify(\"m\");", "nodiscard"),
];

#[test]
fn views_of_temporaries_and_copies_do_not_compile() {
    for compiler in compilers() {
        for (index, (statement, reason)) in WRONG.iter().enumerate() {
            let file = work().join(format!("wrong-{compiler}-{index}-{}.cpp", std::process::id()));
            let text = format!(
                "#include <leash.hpp>\nvoid wrong(leash::connection &c) {{\n  (void)c;\n  {statement}\n}}\n"
            );
            std::fs::write(&file, text).unwrap();
            let mut compile = command(compiler, DEFAULT);
            compile.args(["-fsyntax-only", "-Wno-unused-variable"]).arg(&file);
            let out = compile.output().unwrap();
            let _ = std::fs::remove_file(&file);
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(!out.status.success(), "{compiler} takes {statement}");
            assert!(said.contains(reason), "{statement}: {said}");
            assert!(said.contains(":4:"), "it is another line that is wrong: {said}");
        }
    }
}

#[test]
fn the_quickstart_runs_a_command() {
    let file = root().join("examples/quickstart.cpp");
    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    assert!(lines < 30, "{lines} lines");
    for compiler in compilers() {
        let program = build("quickstart", compiler, &[(&file, DEFAULT)]);
        let quick = |argv: &[String], home: &Path| {
            let program = Program::new(program.clone()).args(argv).env("CODEX_HOME", home);
            let out = program.run();
            out.assert_success();
            assert!(out.stdout.contains("\"exitCode\":3"), "{}", out.stdout);
            assert!(out.stdout.ends_with("closed: exit code 0\n"), "{}", out.stdout);
            out.assert_nothing_left();
        };
        quick(&[example("demo_server").to_str().unwrap().to_owned()], Path::new("/"));
        if let Some(codex) = peer("codex") {
            quick(&codex.argv, &codex.folder);
        }
        let out = Program::new(program.clone()).arg("/nonexistent/server").run();
        assert_eq!(out.status.code(), Some(1));
        assert!(out.stderr.contains("No such file or directory"), "{}", out.stderr);
        let _ = std::fs::remove_file(program);
    }
}
