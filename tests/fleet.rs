//! examples/fleet.c: two hundred connections in one event loop, of which a third
//! loses its servers. (bindings/python/tests has the same for fleet.py.)

mod harness;
use harness::{BUILDS, Program, compile, example, root};

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
        // The program's own, and the library's one.
        assert!(out.stdout.contains(", 2 threads\n"), "{}", out.stdout);
        assert!(out.stdout.contains("killed 36 servers: "), "{}", out.stdout);
        out.assert_nothing_left();
    }
}
