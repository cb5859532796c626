//! examples/fleet.c: two hundred connections in one event loop, of which a third
//! loses its servers. (bindings/python/tests has the same for fleet.py.)

mod harness;
use harness::{BUILDS, Program, compile, example, root, sanitizer};

#[test]
fn two_hundred_connections_need_one_loop_and_no_threads() {
    let fleet = compile(&root().join("examples/fleet.c"), BUILDS[0]);
    for seed in ["1", "2"] {
        let out = Program::new(fleet.clone())
            .args(["1", seed])
            .args([example("demo_server"), example("misbehave_ws")])
            .args(["upgrade", "echo-loop"])
            .never_under_valgrind()
            .run();
        println!("{}", out.stdout);
        // It fails unless every request had one answer, and those ended, and
        // only those, whose server was killed.
        out.assert_success();
        assert!(out.stdout.contains("opened 200 of 200 "), "{}", out.stdout);
        // The program's own, the library's one, and the one by which ThreadSanitizer watches.
        let threads = if sanitizer().is_some_and(|kind| kind == "thread") { 3 } else { 2 };
        assert!(out.stdout.contains(&format!(", {threads} threads\n")), "{}", out.stdout);
        assert!(out.stdout.contains("killed 36 servers: "), "{}", out.stdout);
        out.assert_nothing_left();
    }
}
