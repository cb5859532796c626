//! Nothing is left: servers that misbehave, hosts that end in every way.
//!
//! Each cell is a host in C (tests/c/host.c) with a server (tests/c/fixture.c,
//! or a shell), below a child subreaper of its own (tests/c/cell.c) that counts
//! who is left. `LEASH_CELLS=ROW:COLUMN` runs some of the cells, for example
//! `daemon:` or `:abort`; `LEASH_CELLS=tree:kill` one.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

mod harness;
use harness::{Mark, Program, c_program, c_tool, under_valgrind};

/// How often a cell may be late.
const TRIES: u32 = 3;

/// How many cells run at the same time.
const AT_ONCE: usize = 8;

/// EXIT_AFTER and KILL_AFTER, in milliseconds, of servers that need them.
const SHORT: u64 = 300;

/// The same of servers that obey end-of-file: nobody may wait that long.
const LONG: u64 = 5000;

/// What the library promises beyond the two.
const PROMISED: u64 = 1000;

/// Who has not ended by then never will, however busy the machine is.
const NEVER: u64 = 20_000;

/// The same where nothing is promised.
const GIVEN_UP: u64 = 2500;

/// In this time a server that obeys end-of-file should be gone...
const AT_ONCE_MS: f64 = 200.0;

/// ...and in this time it must be, on the slowest of machines.
const SURELY_MS: u64 = 1500;

/// One row: a kind of server.
struct Fixture {
    name: &'static str,
    argv: Vec<String>,
    /// It ends at end-of-file by itself, and what it leaves behind at SIGTERM.
    obeys: bool,
    /// Options of the host.
    options: &'static [&'static str],
}

impl Fixture {
    fn graces(&self) -> u64 {
        if self.obeys { LONG } else { SHORT }
    }

    /// In what time everything must be gone.
    fn bound(&self) -> u64 {
        if self.obeys { SURELY_MS } else { 2 * SHORT + PROMISED }
    }
}

/// The columns: what happens, as host.c calls it.
const EVENTS: [&str; 14] = [
    "close",
    "free",
    "return",
    "exit",
    "abort",
    "segv",
    "term",
    "kill",
    "exec",
    "fork",
    "timeout",
    "interrupt",
    "half-way",
    "guard",
];

/// The guard's own death: what can be done is done, but nothing is promised.
const BEST_EFFORT: &str = "guard";

fn fixtures() -> Vec<Fixture> {
    let program = text(c_tool("fixture"));
    let fixture = |name, obeys, mode: &str| Fixture {
        name,
        argv: [program.as_str()].into_iter().chain(mode.split(' ')).map(str::to_owned).collect(),
        obeys,
        options: &[],
    };
    let shell = |name, obeys, script: &str| Fixture {
        name,
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.replace("FIXTURE", &program)],
        obeys,
        options: &[],
    };
    let with = |fixture: Fixture, options| Fixture { options, ..fixture };
    let mut all = vec![
        with(fixture("A plain", true, "serve"), &["-w"]),
        shell("B helper", true, "sleep 300 >/dev/null 2>&1 & FIXTURE serve"),
        shell("B helper holds stdout", true, "sleep 300 & FIXTURE serve"),
        fixture("D stubborn", false, "stubborn"),
        shell("E setsid", true, "setsid sleep 300 & FIXTURE serve"),
        fixture("F daemon", false, "daemon"),
        fixture("F daemon, no environment", false, "nameless"),
        with(fixture("G leader leaves", true, "leave"), &["-w"]),
        with(fixture("G leader crashes", false, "crash"), &["-c"]),
        with(fixture("H deaf, megabytes queued", false, "deaf"), &["-q"]),
        fixture("I stopped", false, "stopped"),
        fixture("J flood", false, "flood"),
        fixture("K respawns", false, "respawn"),
        fixture("K runs away", false, "run-away"),
        fixture("L tree of 500", false, "tree 500"),
        fixture("M subreaper", false, "subreaper"),
        fixture("M no death signal", false, "undying"),
    ];
    if works(&["python3", "-c", "pass"]) {
        let script = format!("python3 -c '{PYTHON}' FIXTURE stubborn; exit $?");
        all.insert(3, shell("C chain of three", false, &script));
    } else {
        skip("C chain of three: no python3");
    }
    if works(&["npx", "-c", "true"]) {
        all.push(shell("N npx", false, "exec npx -c 'FIXTURE serve'"));
    } else {
        skip("N npx: not installed");
    }
    if works(&["uvx", "--offline", "python", "-c", "pass"]) {
        let script = format!("exec uvx --offline python -c '{PYTHON}' FIXTURE serve");
        all.push(shell("N uvx", false, &script));
    } else {
        skip("N uvx: not installed");
    }
    all
}

/// A launcher, as they are written.
const PYTHON: &str = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))";

fn works(argv: &[&str]) -> bool {
    Command::new(argv[0]).args(&argv[1..]).output().is_ok_and(|out| out.status.success())
}

#[test]
fn nothing_is_left_in_any_cell() {
    let Some(_alone) = alone() else { return };
    let begin = Instant::now();
    let (row, column) = match std::env::var("LEASH_CELLS") {
        Ok(cells) => {
            let (row, column) = cells.split_once(':').expect("LEASH_CELLS is ROW:COLUMN");
            (row.to_owned(), column.to_owned())
        }
        Err(_) => Default::default(),
    };
    let fixtures: Vec<Fixture> =
        fixtures().into_iter().filter(|fixture| fixture.name.contains(&row)).collect();
    let events: Vec<&str> = EVENTS.into_iter().filter(|event| event.contains(&column)).collect();
    let host = Host::new();
    let cells =
        fixtures.iter().flat_map(|fixture| events.iter().map(move |event| (fixture, *event)));
    let ends = in_parallel(cells.collect(), |(fixture, event)| {
        let mut options = vec!["-e".to_owned(), fixture.graces().to_string()];
        options.extend(["-k".to_owned(), fixture.graces().to_string()]);
        options.extend(fixture.options.iter().map(|&option| option.to_owned()));
        host.run(fixture.bound(), &options, event, &fixture.argv)
    });

    let mut table = format!("\n{:<26}", "survivors, milliseconds");
    for event in &events {
        let _ = write!(table, "{event:>10}");
    }
    let mut faults = String::new();
    let mut notes = String::new();
    let mut summary = Summary::default();
    for (fixture, row) in fixtures.iter().zip(ends.chunks(events.len())) {
        let _ = write!(table, "\n{:<26}", fixture.name);
        for (event, end) in events.iter().zip(row) {
            let _ = write!(table, "{:>10}", format!("{} {:.0}", end.survivors, end.ms));
            let place = format!("{}, {event}", fixture.name);
            summary.count(fixture, event, end);
            if let Some(fault) = end.fault(fixture.bound()) {
                let text = if *event == BEST_EFFORT { &mut notes } else { &mut faults };
                let _ = write!(text, "\n{place}: {fault}");
            }
        }
    }
    tell(&format!(
        "{table}\n{}{notes}\nin {:.1} s\n",
        summary.text(),
        begin.elapsed().as_secs_f64()
    ));
    assert!(faults.is_empty(), "{faults}");
}

#[derive(Default)]
struct Summary {
    cells: usize,
    leaking: usize,
    best_effort: usize,
    best_effort_leaking: usize,
    obeying: usize,
    slow: usize,
    slowest: f64,
    tried_again: usize,
}

impl Summary {
    fn count(&mut self, fixture: &Fixture, event: &str, end: &End) {
        if event == BEST_EFFORT {
            self.best_effort += 1;
            self.best_effort_leaking += usize::from(end.survivors > 0);
            return;
        }
        self.cells += 1;
        self.tried_again += usize::from(end.tries > 0);
        self.leaking += usize::from(end.survivors > 0);
        self.slowest = self.slowest.max(end.ms);
        if fixture.obeys {
            self.obeying += 1;
            self.slow += usize::from(end.ms > AT_ONCE_MS);
        }
    }

    fn text(&self) -> String {
        format!(
            "{} cells, {} with survivors; slowest {:.0} ms; {} were late and tried again; \
             obeying servers: {} of {} over {} ms; guard killed: {} of {} with survivors",
            self.cells,
            self.leaking,
            self.slowest,
            self.tried_again,
            self.slow,
            self.obeying,
            AT_ONCE_MS,
            self.best_effort_leaking,
            self.best_effort,
        )
    }
}

// ---- Hosts of every kind ------------------------------------------------------

/// What host.c makes of itself before it connects.
const PREPARATIONS: [&str; 9] = [
    "ignored",
    "reaping",
    "blocked",
    "closed",
    "first",
    "first-elsewhere",
    "subreaper",
    "nobody",
    "tight",
];

#[test]
fn hosts_of_every_kind_leave_nothing() {
    let Some(_alone) = alone() else { return };
    let program = text(c_tool("fixture"));
    let servers = [
        ("plain", vec![program.clone(), "serve".to_owned()]),
        ("stubborn", vec![program.clone(), "stubborn".to_owned()]),
        ("daemon", vec![program.clone(), "daemon".to_owned()]),
        ("tree", vec![program, "tree".to_owned(), "20".to_owned()]),
    ];
    let mut cells = Vec::new();
    for preparation in PREPARATIONS {
        for (name, argv) in &servers {
            for event in ["close", "kill", "interrupt"] {
                // The signals that should interrupt or kill never arrive there.
                let is_deaf = preparation == "blocked" && event == "interrupt";
                let is_first = preparation.starts_with("first") && event == "kill";
                if !is_deaf && !is_first {
                    cells.push((preparation, *name, argv, event));
                }
            }
        }
    }
    let host = Host::new();
    let bound = 2 * SHORT + PROMISED;
    let ends = in_parallel(cells.clone(), |(preparation, _, argv, event)| {
        let options = ["-p", preparation].map(str::to_owned);
        host.run(bound, &options, event, argv)
    });
    let mut faults = String::new();
    let mut skipped = Vec::new();
    for ((preparation, name, _, event), end) in cells.iter().zip(&ends) {
        if let Some(fault) = end.fault(bound) {
            let _ = write!(faults, "\n{preparation}, {name}, {event}: {fault}");
        }
        let reason = end.told.lines().find_map(|line| line.split_once("SKIPPED: "));
        if let Some((_, reason)) = reason.filter(|_| !skipped.contains(preparation)) {
            skip(&format!("{preparation}: {reason}"));
            skipped.push(preparation);
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn a_large_host_connects_as_fast_as_a_small_one() {
    let Some(_alone) = alone() else { return };
    let available = available_megabytes();
    let megabytes = (available / 3).min(4096);
    if megabytes < 1024 {
        skip(&format!("a large host: {available} MB are available"));
        return;
    }
    let argv = [text(c_tool("fixture")), "serve".to_owned()];
    let options = ["-m".to_owned(), megabytes.to_string()];
    let end = Host::new().run(SURELY_MS, &options, "memory", &argv);
    tell(&end.told);
    assert_eq!(end.fault(SURELY_MS), None);
}

fn available_megabytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

#[test]
fn five_hundred_connections_end_with_their_host() {
    let Some(_alone) = alone() else { return };
    let program = text(c_tool("fixture"));
    for (mode, graces) in [("serve", LONG), ("stubborn", SHORT)] {
        let argv = [program.clone(), mode.to_owned()];
        let bound = if mode == "serve" { 2 * PROMISED } else { 2 * SHORT + PROMISED };
        let graces = graces.to_string();
        let options = ["-n", "500", "-e", &graces, "-k", &graces].map(str::to_owned);
        let end = Host::new().run(bound, &options, "kill", &argv);
        tell(&format!("500 connections, {mode}: {:.0} ms", end.ms));
        assert_eq!(end.fault(bound), None);
    }
}

#[test]
fn what_other_threads_start_inherits_nothing() {
    let Some(_alone) = alone() else { return };
    let program = c_program("hygiene").never_under_valgrind().timeout(Duration::from_secs(120));
    let program = program.arg("10000").arg(c_tool("inherits")).arg(c_tool("fixture")).arg("serve");
    let out = program.run();
    tell(out.stdout.trim());
    out.assert_success();
    out.assert_nothing_left();
}

// ---- Cells --------------------------------------------------------------------

/// The host, and what watches it.
struct Host {
    program: PathBuf,
    cell: PathBuf,
}

/// What was left, and when.
struct End {
    ms: f64,
    survivors: u32,
    /// Zombies in the host, who escaped unmarked, and calls that went wrong.
    bad: u32,
    /// Calls that took too long.
    late: u32,
    /// How many tries it took before this one.
    tries: u32,
    /// What host and cell had to say.
    told: String,
}

impl Host {
    fn new() -> Self {
        Self { program: c_program("host").path().to_owned(), cell: c_tool("cell") }
    }

    /// Run one cell. If it takes too long, the machine may be too busy: it gets
    /// another try. Who survives, survives: there is no other try for that.
    fn run(&self, bound: u64, options: &[String], event: &str, argv: &[String]) -> End {
        let patience = if event == BEST_EFFORT { GIVEN_UP } else { NEVER };
        let mut end = self.run_once(patience, options, event, argv);
        for tries in 1..TRIES {
            if event == BEST_EFFORT || !end.is_late(bound) || end.is_bad() {
                break;
            }
            end = End { tries, ..self.run_once(patience, options, event, argv) };
        }
        end
    }

    fn run_once(&self, patience: u64, options: &[String], event: &str, argv: &[String]) -> End {
        let mark = Mark::new();
        let program = Program::new(self.cell.clone()).never_under_valgrind();
        let program = program.timeout(Duration::from_secs(120));
        let program = program.args([mark.env(), patience.to_string()]);
        let program = program.arg(&self.program).args(options).arg(event).args(argv);
        let out = program.env(Mark::NAME, mark.value()).run();
        let number = |name: &str| {
            let line = out.stdout.lines().last().unwrap_or("");
            let value = line.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<f64>().ok())
        };
        let count = |name| number(name).map_or(1, |value| value as u32);
        End {
            ms: number("ms").unwrap_or(f64::INFINITY),
            survivors: count("survivors"),
            bad: count("zombies") + count("escaped") + count("bad"),
            late: count("late"),
            tries: 0,
            told: out.stdout + &out.stderr,
        }
    }
}

impl End {
    fn is_bad(&self) -> bool {
        self.survivors + self.bad > 0
    }

    fn is_late(&self, bound: u64) -> bool {
        self.late > 0 || self.ms > bound as f64
    }

    /// What is wrong with it, if anything.
    fn fault(&self, bound: u64) -> Option<String> {
        let told = self.told.trim().replace('\n', "; ");
        let is_wrong = self.is_bad() || self.is_late(bound);
        is_wrong.then(|| format!("{told} ({bound} ms are allowed)"))
    }
}

/// Do all of that, some at a time. The results are in the order of the work.
fn in_parallel<W: Send, R: Send>(work: Vec<W>, run: impl Fn(W) -> R + Sync) -> Vec<R> {
    let queue: Mutex<VecDeque<(usize, W)>> = Mutex::new(work.into_iter().enumerate().collect());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((index, work)) = next else { return };
                    let result = run(work);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Each test takes the machine for itself, for the sake of the times. Under
/// valgrind there is nothing to do: what is left would be valgrind's.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ALONE: Mutex<()> = Mutex::new(());
    (!under_valgrind()).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().expect("UTF-8")
}

/// Past the test runner's capture: figures and skips must be seen.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn skip(what: &str) {
    tell(&format!("SKIPPED {what}"));
}
