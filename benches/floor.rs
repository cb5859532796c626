//! What libleash costs above the floor, which is a client in C that does the
//! least: `cargo bench --bench floor`.
//!
//! `benches/floor/host.c` measures both in turn, in one process, round by
//! round. A figure is the median over the rounds of the ratio of the two, with
//! its quartiles; what a busy or slow machine does to both falls out of it.
//!
//! ```sh
//! cargo bench --bench floor                          # everything, 10 minutes
//! cargo bench --bench floor -- roundtrip threads     # some scenarios
//! cargo bench --bench floor -- --quick               # few rounds
//! cargo bench --bench floor -- --markdown            # for docs/performance.md
//! cargo bench --bench floor -- --list
//! ```
//!
//! All figures go to target/bench/floor.json, too.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

#[path = "../tests/harness/mod.rs"]
mod harness;
use harness::{Library, library, link_by_soname, root};

/// What `host.c` can measure, and how.
struct Scenario {
    name: &'static str,
    rounds: usize,
    /// Where both of client and server run on one core, ratios are tight.
    places: &'static [Place],
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    OneCore,
    AnyCore,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    /// With so much memory touched: `posix_spawn` and the library must not care.
    LargeHost,
    /// With a session of its own for the floor's server, too: the scheduler may count
    /// sessions (sched(7), "The autogroup feature").
    Session,
    /// With `count.c` loaded before everything else.
    Counted,
    /// Under callgrind.
    Callgrind,
    /// With a server that listens.
    WebSocket,
}

const BOTH: &[Place] = &[Place::OneCore, Place::AnyCore];
const ONE: &[Place] = &[Place::OneCore];
const ANY: &[Place] = &[Place::AnyCore];

const fn scenario(name: &'static str, rounds: usize, places: &'static [Place]) -> Scenario {
    Scenario { name, rounds, places, how: How::Plain }
}

const SCENARIOS: &[Scenario] = &[
    scenario("roundtrip", 21, BOTH),
    Scenario { how: How::Session, ..scenario("roundtrip", 21, ONE) },
    scenario("threads", 9, BOTH),
    Scenario { how: How::Session, ..scenario("threads", 9, ONE) },
    scenario("inflight", 15, BOTH),
    scenario("flood", 9, BOTH),
    scenario("results", 9, BOTH),
    scenario("requests", 9, BOTH),
    scenario("peak", 1, ONE),
    scenario("connects", 9, BOTH),
    Scenario { name: "connects", rounds: 5, places: ANY, how: How::LargeHost },
    Scenario { how: How::WebSocket, ..scenario("ws_roundtrip", 15, BOTH) },
    Scenario { how: How::WebSocket, ..scenario("ws_memory", 1, ANY) },
    scenario("scale_1", 5, ANY),
    scenario("scale_100", 5, ANY),
    scenario("scale_1000", 3, ANY),
    Scenario { name: "count", rounds: 1, places: ONE, how: How::Counted },
    Scenario { name: "calls", rounds: 1, places: ONE, how: How::Callgrind },
];

/// What a figure must show.
#[derive(Clone, Copy)]
enum Goal {
    /// Times the floor.
    Ratio(Limit),
    /// By itself.
    Value(Limit),
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

use Goal::{Ratio, Value};
use Limit::{AtLeast, AtMost};

/// By the beginning of a figure's name. The first that fits counts.
const GOALS: &[(&str, Place, Goal)] = &[
    ("round trip, p50", Place::OneCore, Ratio(AtMost(1.2))),
    ("round trip, p99", Place::OneCore, Ratio(AtMost(1.5))),
    ("round trip, p50", Place::AnyCore, Ratio(AtMost(1.3))),
    ("WebSocket round trip, p50", Place::OneCore, Ratio(AtMost(1.3))),
    ("100 WebSockets: host memory each", Place::AnyCore, Value(AtMost(30.0))),
    ("64 in flight, corked", Place::OneCore, Ratio(AtLeast(0.5))),
    ("64 threads", Place::OneCore, Ratio(AtLeast(0.9))),
    ("200,000 notifications received", Place::OneCore, Ratio(AtLeast(0.3))),
    ("result of 16 MB", Place::OneCore, Ratio(AtLeast(0.75))),
    ("result of 64 MB", Place::OneCore, Ratio(AtLeast(0.75))),
    ("request of 16 MB", Place::OneCore, Ratio(AtLeast(0.8))),
    ("peak memory, result", Place::OneCore, Ratio(AtMost(1.3))),
    ("connect and first answer", Place::OneCore, Ratio(AtMost(1.6))),
    ("connect and first answer", Place::AnyCore, Ratio(AtMost(1.6))),
    ("1,000 connections: host memory each", Place::AnyCore, Value(AtMost(16.0))),
    ("1,000 connections: descriptors each", Place::AnyCore, Value(AtMost(6.0))),
    ("1,000 connections: threads", Place::AnyCore, Value(AtMost(1.0))),
    ("1,000 connections: CPU when idle", Place::AnyCore, Value(AtMost(100.0))),
    ("allocations a call", Place::OneCore, Value(AtMost(0.0))),
    ("instructions a call", Place::OneCore, Value(AtMost(3500.0))),
];

/// One figure, in all rounds.
struct Figure {
    place: Place,
    name: String,
    unit: String,
    /// Floor and library.
    rounds: Vec<(f64, f64)>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // `cargo test --benches` only asks whether it would run.
    if !has("--bench") {
        return;
    }
    if has("--list") {
        SCENARIOS.iter().for_each(|scenario| println!("{}", scenario.name));
        return;
    }
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |scenario: &&Scenario| {
        wanted.is_empty() || wanted.iter().any(|name| *name == scenario.name)
    };

    let tools = Tools::build();
    let mut figures = Vec::new();
    for scenario in SCENARIOS.iter().filter(is_wanted) {
        let rounds = if has("--quick") { scenario.rounds.min(3) } else { scenario.rounds };
        for &place in scenario.places {
            eprintln!("{}, {}, {rounds} rounds", scenario.name, place.text());
            figures.extend(tools.measure(scenario, place, rounds));
        }
    }
    figures.sort_by_key(|figure| figure.place);
    print!("{}", if has("--markdown") { markdown(&figures) } else { table(&figures) });
    let file = folder().join("floor.json");
    fs::write(&file, json_of(&figures)).expect("the target folder is ours");
}

impl Place {
    fn text(self) -> &'static str {
        match self {
            Self::OneCore => "one core",
            Self::AnyCore => "any core",
        }
    }

    /// A program that runs there, with what it starts.
    fn command(self, program: impl AsRef<OsStr>) -> Command {
        if self == Self::AnyCore {
            return Command::new(program);
        }
        let mut taskset = Command::new("taskset");
        taskset.args(["-c", &last_core()]).arg(program);
        taskset
    }
}

/// Interrupts often go to the first.
fn last_core() -> String {
    let allowed = line_of("/proc/self/status", "Cpus_allowed_list");
    allowed.rsplit([',', '-']).next().expect("a core").to_owned()
}

struct Tools {
    host: PathBuf,
    server: PathBuf,
    ws_server: PathBuf,
    counter: PathBuf,
}

impl Tools {
    fn build() -> Self {
        let library = library(Library::Shared);
        link_by_soname(&library, &folder());
        let [library, include] =
            [library.as_path(), &root().join("include")].map(|path| path.display().to_string());
        let rpath = format!("-Wl,-rpath,{}", folder().display());
        let include = format!("-I{include}");
        Self {
            host: compile("host", &["-g", &include, "-pthread", &library, &rpath, "-ldl"]),
            server: compile("server", &["-static"]),
            ws_server: compile("ws_server", &["-static"]),
            counter: compile("count", &["-fPIC", "-shared", "-Wno-pedantic", "-ldl"]),
        }
    }

    fn measure(&self, scenario: &Scenario, place: Place, rounds: usize) -> Vec<Figure> {
        let mut host = place.command(&self.host);
        let is_websocket = scenario.how == How::WebSocket;
        let server = if is_websocket { &self.ws_server } else { &self.server };
        host.args([scenario.name, &rounds.to_string()]).arg(server);
        match scenario.how {
            How::Callgrind => return self.instructions().into_iter().collect(),
            How::LargeHost => drop(host.env("LEASH_BENCH_MB", megabytes().to_string())),
            How::Session => drop(host.env("LEASH_BENCH_SESSION", "1")),
            How::Counted => drop(host.env("LD_PRELOAD", &self.counter)),
            How::Plain | How::WebSocket => {}
        }
        let mut figures = read_figures(place, &output(&mut host));
        if scenario.how == How::Session {
            figures.iter_mut().for_each(|figure| figure.name.insert_str(0, "both in a session: "));
        }
        figures
    }

    /// What callgrind says between few calls and many. Repeatable.
    fn instructions(&self) -> Option<Figure> {
        if Command::new("valgrind").arg("--version").output().is_err() {
            eprintln!("valgrind is not installed: no instructions");
            return None;
        }
        let each = |scenario: &str| {
            let [few, many] = [1_000, 6_000].map(|n| self.callgrind(scenario, n));
            (many - few) / 5_000.0
        };
        let rounds = vec![(each("plain_calls"), each("leash_calls"))];
        let (name, unit) = ("instructions a call".to_owned(), String::new());
        Some(Figure { place: Place::OneCore, name, unit, rounds })
    }

    fn callgrind(&self, scenario: &str, calls: u32) -> f64 {
        let mut valgrind = Place::OneCore.command("valgrind");
        let file = folder().join(format!("callgrind.{scenario}.{calls}"));
        valgrind.args(["--tool=callgrind", "--quiet"]);
        valgrind.arg(format!("--callgrind-out-file={}", file.display()));
        valgrind.arg(&self.host).args([scenario, &calls.to_string()]).arg(&self.server);
        output(&mut valgrind);
        let text = fs::read_to_string(file).expect("callgrind wrote it");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total.and_then(|total| total.trim().parse().ok()).expect("callgrind sums up")
    }
}

/// `benches/floor/NAME.c`, as an optimised program.
fn compile(name: &str, arguments: &[&str]) -> PathBuf {
    let program = folder().join(name);
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args([
        "-std=c99",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-D_GNU_SOURCE",
    ]);
    compiler.arg(root().join("benches/floor").join(name).with_extension("c"));
    output(compiler.args(arguments).arg("-o").arg(&program));
    program
}

fn output(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {}\n{errors}", out.status);
    String::from_utf8(out.stdout).expect("UTF-8")
}

fn folder() -> PathBuf {
    // This program is target/release/deps/floor-HASH.
    let program = std::env::current_exe().expect("Linux");
    let target = program.ancestors().nth(3).expect("a target folder");
    let folder = target.join("bench");
    fs::create_dir_all(&folder).expect("the target folder is ours");
    folder
}

fn read_figures(place: Place, text: &str) -> Vec<Figure> {
    let mut order: Vec<Figure> = Vec::new();
    for line in text.lines() {
        let parts: Vec<_> = line.split('\t').collect();
        let [name, unit, floor, leash] = parts[..] else { panic!("not a figure: {line}") };
        let round = (floor.parse().expect("a number"), leash.parse().expect("a number"));
        match order.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.rounds.push(round),
            None => order.push(Figure {
                place,
                name: name.to_owned(),
                unit: unit.to_owned(),
                rounds: vec![round],
            }),
        }
    }
    order
}

impl Figure {
    fn floor(&self) -> f64 {
        quantile(self.rounds.iter().map(|round| round.0), 0.5)
    }

    fn leash(&self) -> f64 {
        quantile(self.rounds.iter().map(|round| round.1), 0.5)
    }

    /// Quantile of the ratio, unless there is no floor.
    fn ratio(&self, q: f64) -> Option<f64> {
        let ratios = self.rounds.iter().map(|(floor, leash)| leash / floor);
        (self.floor() > 0.0).then(|| quantile(ratios, q))
    }

    fn goal(&self) -> Option<(Goal, bool)> {
        let fits =
            |goal: &&(&str, Place, Goal)| self.name.starts_with(goal.0) && self.place == goal.1;
        let (_, _, goal) = GOALS.iter().find(fits)?;
        let (value, limit) = match *goal {
            Ratio(limit) => (self.ratio(0.5)?, limit),
            Value(limit) => (self.leash(), limit),
        };
        let is_met = match limit {
            // What is shown as met is met.
            AtMost(most) => value <= most + 0.005,
            AtLeast(least) => value >= least - 0.005,
        };
        Some((*goal, is_met))
    }

    /// Name, floor, libleash, ratio, spread, goal, whether it is met.
    fn columns(&self) -> [String; 7] {
        // A count says more than its ratio to next to nothing.
        let is_count = self.unit.is_empty();
        let ratio = |q| match self.ratio(q) {
            Some(ratio) if !is_count => format!("{ratio:.2}"),
            _ => String::new(),
        };
        let spread = match self.rounds.len() {
            0..3 => String::new(),
            _ => format!("{}..{}", ratio(0.25), ratio(0.75)),
        };
        let goal = self.goal().map(|(goal, is_met)| {
            let limit = match goal {
                Ratio(AtMost(limit)) => format!("<= {limit}x"),
                Ratio(AtLeast(limit)) => format!(">= {limit}x"),
                Value(AtMost(limit)) => format!("<= {limit}"),
                Value(AtLeast(limit)) => format!(">= {limit}"),
            };
            (limit, if is_met { "yes" } else { "no" })
        });
        let (limit, is_met) = goal.unwrap_or_default();
        let name = if self.unit.is_empty() {
            self.name.clone()
        } else {
            format!("{} ({})", self.name, self.unit)
        };
        let [floor, leash] = [self.floor(), self.leash()].map(number);
        [name, floor, leash, ratio(0.5), spread, limit, is_met.to_owned()]
    }
}

fn quantile(values: impl Iterator<Item = f64>, q: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

/// Three digits or all of them.
fn number(value: f64) -> String {
    match value.abs() {
        v if v < 0.005 => "0".to_owned(),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let separated = digits.as_bytes().rchunks(3).rev();
            separated
                .map(|group| str::from_utf8(group).expect("digits"))
                .collect::<Vec<_>>()
                .join(",")
        }
    }
}

const HEADINGS: [&str; 7] = ["", "floor", "libleash", "ratio", "quartiles", "goal", "met"];

fn table(figures: &[Figure]) -> String {
    let mut text = String::new();
    for (place, rows) in by_place(figures) {
        let _ = writeln!(text, "\n{} ({})", place.text(), machine());
        let rows: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(rows).collect();
        let widths: [usize; 7] =
            std::array::from_fn(|i| rows.iter().map(|row| row[i].len()).max().unwrap_or(0));
        for row in rows {
            let _ = write!(text, "{:<1$}", row[0], widths[0]);
            row[1..].iter().zip(&widths[1..]).for_each(|(cell, width)| {
                let _ = write!(text, "  {cell:>width$}");
            });
            text.push('\n');
        }
    }
    text
}

fn markdown(figures: &[Figure]) -> String {
    let mut text = String::new();
    for (place, rows) in by_place(figures) {
        let _ = writeln!(text, "\n### {} ({})\n", place.text(), machine());
        let _ = writeln!(text, "| {} |\n|---|--:|--:|--:|--:|--:|---|", HEADINGS.join(" | "));
        rows.iter().for_each(|row| {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        });
    }
    text
}

fn by_place(figures: &[Figure]) -> BTreeMap<Place, Vec<[String; 7]>> {
    let mut places = BTreeMap::new();
    for figure in figures {
        places.entry(figure.place).or_insert_with(Vec::new).push(figure.columns());
    }
    places
}

fn json_of(figures: &[Figure]) -> String {
    let figure = |figure: &Figure| {
        json!({
            "name": figure.name, "unit": figure.unit, "place": figure.place.text(),
            "floor": figure.floor(), "libleash": figure.leash(),
            "ratio": figure.ratio(0.5), "low": figure.ratio(0.25), "high": figure.ratio(0.75),
            "rounds": figure.rounds, "met": figure.goal().map(|(_, is_met)| is_met),
        })
    };
    let figures: Vec<_> = figures.iter().map(figure).collect();
    json!({"machine": machine(), "figures": figures}).to_string()
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = line_of("/proc/cpuinfo", "model name");
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

/// What stands behind `name:` in a file of /proc.
fn line_of(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
}

/// A large host's: 4 GB, or what the machine can spare.
fn megabytes() -> u64 {
    let available = line_of("/proc/meminfo", "MemAvailable");
    let kilobytes: u64 = available.trim_end_matches(" kB").parse().unwrap_or(0);
    (kilobytes / 1024 / 2).min(4096)
}
