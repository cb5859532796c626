//! What the README shows first: examples/quickstart.c, as a C and as a C++
//! program, with either library.

mod harness;
use harness::{BUILDS, Output, Program, builds, compile, example, peer, root};

#[test]
fn the_quickstart_drives_the_demo_server() {
    for &build in builds() {
        let program = Program::new(compile(&root().join("examples/quickstart.c"), build));
        check(&program.arg(example("demo_server")).run());
    }
}

#[test]
fn the_quickstart_drives_codex() {
    let Some(codex) = peer("codex") else { return };
    let source = root().join("examples/quickstart.c");
    let program = Program::new(compile(&source, BUILDS[0])).args(&codex.argv);
    check(&program.env("CODEX_HOME", &codex.folder).run());
}

#[test]
fn the_quickstart_says_what_is_wrong() {
    let source = root().join("examples/quickstart.c");
    let out = Program::new(compile(&source, BUILDS[0])).arg("/nonexistent/server").run();
    assert_eq!(out.status.code(), Some(1));
    assert!(out.stderr.contains("No such file or directory"), "{}", out.stderr);
}

#[test]
fn the_short_one_drives_the_demo_server() {
    for &build in builds() {
        let program = Program::new(compile(&root().join("examples/hello.c"), build));
        let out = program.arg(example("demo_server")).run();
        out.assert_success();
        assert!(out.stdout.contains("process/exited {\"exitCode\":3"), "{}", out.stdout);
        out.assert_nothing_left();
    }
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for (language, file) in
        [("c", "hello.c"), ("cpp", "quickstart.cpp"), ("python", "quickstart.py")]
    {
        let code = std::fs::read_to_string(root().join("examples").join(file)).unwrap();
        let block = format!("```{language}\n{}\n```", code.trim_end());
        assert!(readme.contains(&block), "README.md shows another {file}");
        assert!(code.lines().count() < 30, "{file} is no quick start any more");
    }
}

#[track_caller]
fn check(out: &Output) {
    out.assert_success();
    let expected = "line 1\nline 2\nline 3\nexit code: 3\nclosed: ";
    assert!(out.stdout.starts_with(expected), "{}", out.stdout);
    assert!(out.stdout.contains("stage 0, killed 0, server's exit code 0\n"), "{}", out.stdout);
    assert!(out.stderr.contains("oops\n"), "{}", out.stderr);
    out.assert_nothing_left();
}
