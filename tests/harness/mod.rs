//! What the integration tests stand on: C programs that are compiled and run,
//! the example servers, the real servers, and the question whether a process
//! is left.
//!
//! ```ignore
//! mod harness;
//! use harness::{Mark, c_programs, example, peer};
//!
//! #[test]
//! fn a_c_host_can_call() {
//!     for program in c_programs("call") {          // tests/c/call.c, four ways
//!         let out = program.arg(example("demo_server")).run();
//!         out.assert_success();
//!         out.assert_nothing_left();
//!     }
//! }
//!
//! #[test]
//! fn codex_answers() {
//!     let Some(codex) = peer("codex") else { return };
//!     ...codex.argv, codex.env...
//! }
//! ```
//!
//! With `LEASH_VALGRIND=1` the C programs run under valgrind, and what it finds
//! is a failure. With `LEASH_SANITIZER=address` or `thread` they are compiled and
//! linked for that (see tests/sanitizers.rs). With `LEASH_REQUIRE_PEERS=1` a missing server is one.
#![allow(dead_code, reason = "each test uses a part")]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// No C program may take longer; under valgrind, ten times that.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The promise for default options is EXIT_AFTER + KILL_AFTER + 1 s after the
/// host's end. A busy machine gets as much again.
pub const SWEPT: Duration = Duration::from_secs(10);

// ---- C programs -------------------------------------------------------------

/// How a C program is compiled and linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    pub language: Language,
    pub library: Library,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    C99,
    Cxx17,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    Shared,
    Static,
}

/// A host in C would be built in one of these ways.
pub const BUILDS: [Build; 4] = [
    Build { language: Language::C99, library: Library::Shared },
    Build { language: Language::C99, library: Library::Static },
    Build { language: Language::Cxx17, library: Library::Shared },
    Build { language: Language::Cxx17, library: Library::Static },
];

/// All of `BUILDS`; where what they do is watched the first, as the others run
/// the same code.
pub fn builds() -> &'static [Build] {
    if is_watched() { &BUILDS[..1] } else { &BUILDS }
}

/// `tests/c/NAME.c`, in each of `builds`.
pub fn c_programs(name: &str) -> impl Iterator<Item = Program> {
    let source = root().join("tests/c").join(name).with_extension("c");
    builds().iter().map(move |&build| Program::new(compile(&source, build)))
}

/// `tests/c/NAME.c` as C99 with the shared library: where four would only take
/// four times as long.
pub fn c_program(name: &str) -> Program {
    let source = root().join("tests/c").join(name).with_extension("c");
    Program::new(compile(&source, BUILDS[0]))
}

/// Run one scenario of `tests/c/FILE.c` (see tests/c/check.h), in each of
/// `builds`, with a server's argv. It must succeed and leave nothing.
#[track_caller]
pub fn scenario(file: &str, name: &str, server: &[String]) {
    for program in c_programs(file) {
        scenario_of(program, name, server);
    }
}

/// The same in one build, for what takes long or much memory.
#[track_caller]
pub fn scenario_once(file: &str, name: &str, server: &[String]) {
    scenario_of(c_program(file), name, server);
}

/// The same of a program that was set up. What it printed, to look further.
#[track_caller]
pub fn scenario_of(program: Program, name: &str, server: &[String]) -> Output {
    let out = program.arg(name).args(server).run();
    out.assert_success();
    out.assert_nothing_left();
    out
}

/// What `nm -D` says the shared library defines.
pub fn exported_symbols() -> std::collections::BTreeSet<String> {
    let out =
        Command::new("nm").args(["-D", "--defined-only"]).arg(library(Library::Shared)).output();
    let text = String::from_utf8(out.expect("nm is installed").stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
}

/// Compile `source`, unless what is there is newer than everything it is made of.
pub fn compile(source: &Path, build: Build) -> PathBuf {
    // Tests are threads of one process: one of them compiles, the others find
    // it done. Against other processes the rename below is enough.
    static COMPILING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);

    let stem = source.file_stem().expect("a file").to_string_lossy();
    let program = work().join(format!("{stem}-{:?}-{:?}", build.language, build.library));
    let library = library(build.library);
    let headers = [root().join("include"), root().join("tests/c")];
    let headers_of = |folder: &PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|e| e.path()).filter(|p| p.extension() == Some(OsStr::new("h")))
    };
    let parts = [source.to_owned(), library.clone()].into_iter();
    let newest = parts.chain(headers.iter().flat_map(headers_of)).filter_map(|p| mtime(&p)).max();
    if mtime(&program) > newest {
        return program;
    }

    let mut compiler = match build.language {
        // gcc would link a runtime of its own.
        Language::C99 if sanitizer().is_some() => tool("CLANG", "clang", &["-std=c99"]),
        Language::C99 => tool("CC", "cc", &["-std=c99"]),
        Language::Cxx17 => tool("CXX", "c++", &["-x", "c++", "-std=c++17"]),
    };
    compiler.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-pthread"]);
    // Tests may ask for what POSIX adds to C99.
    compiler.arg("-D_GNU_SOURCE");
    compiler.args(headers.iter().map(|folder| format!("-I{}", folder.display())));
    if let Some(kind) = sanitizer() {
        compiler.args([&format!("-fsanitize={kind},undefined"), "-fno-sanitize-recover=undefined"]);
        // One runtime in the process: that of rustc, which knows both.
        compiler.args(["-fno-sanitize-link-runtime", "-Wl,--whole-archive"]);
        compiler.arg(runtime_of(&kind)).args(["-Wl,--no-whole-archive", "-rdynamic"]);
        compiler.args(["-ldl", "-lm", "-lrt", "-lresolv"]);
    }
    compiler.arg(source).args(["-x", "none"]);
    match build.library {
        Library::Shared => {
            compiler.arg(&library).arg(format!("-Wl,-rpath,{}", work().display()));
        }
        Library::Static => {
            compiler.arg(&library).args(native_static_libs());
        }
    }
    let unfinished = program.with_extension(process::id().to_string());
    compiler.arg("-o").arg(&unfinished);
    let out = compiler.output().expect("a C compiler is installed");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{} does not compile: {compiler:?}\n{errors}", source.display());
    fs::rename(&unfinished, &program).expect("the work folder is ours");
    program
}

/// `tests/c/NAME.c` as a small static program without libleash: a server, or
/// what looks at a host from outside.
pub fn c_tool(name: &str) -> PathBuf {
    static COMPILING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);

    let source = root().join("tests/c").join(name).with_extension("c");
    let program = work().join(format!("{name}-tool"));
    if mtime(&program) > mtime(&source) {
        return program;
    }
    let unfinished = program.with_extension(process::id().to_string());
    let mut compiler = tool("CC", "cc", &["-std=c99", "-O1", "-static"]);
    compiler.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-D_GNU_SOURCE"]);
    compiler.arg(&source).arg("-o").arg(&unfinished);
    let out = compiler.output().expect("a C compiler is installed");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{} does not compile: {compiler:?}\n{errors}", source.display());
    fs::rename(&unfinished, &program).expect("the work folder is ours");
    program
}

fn tool(variable: &str, default: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os(variable).unwrap_or_else(|| default.into()));
    command.args(arguments);
    command
}

/// Without what Cargo tells this test of its package. Some build scripts (ring's)
/// look at that, and a Cargo that inherits it builds what there is already.
pub fn forget_package(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The library under test, as `cargo test` built it for this very run.
///
/// It lies in target/PROFILE/deps, beside the test: there every `cargo test`,
/// `cargo test --test NAME` and `cargo build` writes it, under the plain name,
/// and only the latter copies it to target/PROFILE. The copy may be old.
pub fn library(kind: Library) -> PathBuf {
    let deps = deps();
    match kind {
        Library::Static => deps.join("libleash.a"),
        Library::Shared => {
            let built = deps.join("libleash.so");
            link_by_soname(&built, &work());
            built
        }
    }
}

/// Make `folder` one where programs find the shared library that is at `built`:
/// they look for its soname, which only an installation makes.
pub fn link_by_soname(built: &Path, folder: &Path) {
    let link = folder.join(concat!("libleash.so.", env!("CARGO_PKG_VERSION_MAJOR")));
    if fs::read_link(&link).ok().as_deref() != Some(built) {
        let _ = fs::remove_file(&link);
        let made = symlink(built, &link);
        assert!(made.is_ok() || link.exists(), "{made:?}");
    }
}

/// What a program needs besides libleash.a: what rustc says of an empty one.
/// Our dependencies add nothing to it; if one does, static links fail loudly.
fn native_static_libs() -> &'static [String] {
    static LIBS: OnceLock<Vec<String>> = OnceLock::new();
    LIBS.get_or_init(|| {
        let empty = work().join(format!("empty-{}.rs", process::id()));
        fs::write(&empty, "").expect("the work folder is ours");
        let mut rustc =
            tool("RUSTC", "rustc", &["--crate-type=staticlib", "--print=native-static-libs"]);
        let out = rustc.arg("--out-dir").arg(work()).arg(&empty).output();
        let text = String::from_utf8(out.expect("rustc is installed").stderr).expect("UTF-8");
        let libs = text.split_once("native-static-libs:").expect("rustc prints the list").1;
        let _ = fs::remove_file(work().join(format!("libempty_{}.a", process::id())));
        let _ = fs::remove_file(empty);
        libs.lines().next().unwrap_or("").split_whitespace().map(str::to_owned).collect()
    })
}

/// A program to run: set arguments and environment, then `run`.
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    timeout: Duration,
    is_watched: bool,
}

impl Program {
    pub fn new(path: PathBuf) -> Self {
        Self { path, args: Vec::new(), env: Vec::new(), timeout: TIMEOUT, is_watched: true }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// For programs that valgrind cannot run, whose point is speed, or that leak
    /// by forking.
    pub fn never_under_valgrind(mut self) -> Self {
        self.is_watched = false;
        self
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Run to the end. A program that takes too long is killed with its process
    /// group, and the test fails. What a program leaves behind when it ends in
    /// time is not touched: to find it is what `assert_nothing_left` is for.
    pub fn run(self) -> Output {
        let mark = Mark::new();
        let mut timeout = self.timeout;
        let mut command = Command::new(&self.path);
        if let Some(kind) = sanitizer() {
            timeout *= 10;
            let leaks = self.is_watched && kind == "address";
            let common = format!(
                "detect_leaks={}:halt_on_error=1:allocator_may_return_null=1",
                u8::from(leaks)
            );
            command.env("ASAN_OPTIONS", &common);
            // It says nothing of an access that it has forgotten the stack of.
            command.env("TSAN_OPTIONS", common + ":history_size=7");
        }
        if self.is_watched && under_valgrind() {
            timeout *= 10;
            command = Command::new("valgrind");
            command.args(["--quiet", "--error-exitcode=99", "--leak-check=full"]);
            command.args(["--errors-for-leak-kinds=definite,indirect", "--track-fds=no"]);
            command.args(["--child-silent-after-fork=yes", "--fair-sched=try"]);
            let suppressions = root().join("tests/valgrind.supp");
            command.arg(format!("--suppressions={}", suppressions.display()));
            command.arg(&self.path);
        }
        command.args(&self.args).envs(self.env).env(Mark::NAME, &mark.0);
        // Into files, not pipes: a process that is left behind would keep a
        // pipe open, and the reader waiting.
        let [stdout, stderr] = ["out", "err"].map(|end| work().join(format!("{}.{end}", mark.0)));
        command.stdin(Stdio::null());
        command.stdout(File::create(&stdout).expect("the work folder is ours"));
        command.stderr(File::create(&stderr).expect("the work folder is ours"));
        let mut child = command.process_group(0).spawn().expect("what was compiled can start");

        let status = wait(&mut child, timeout);
        if status.is_none() {
            let group = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
            let _ = killpg(group, Signal::SIGKILL);
        }
        let text = |path: &Path| {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
            let _ = fs::remove_file(path);
            text
        };
        let what = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let out = Output {
            status: status.unwrap_or_else(|| child.wait().expect("our child")),
            stdout: text(&stdout),
            stderr: text(&stderr),
            mark,
            what,
        };
        if status.is_none() {
            panic!("{} did not end within {timeout:?}\n{}", out.what, out.told());
        }
        out
    }
}

pub fn under_valgrind() -> bool {
    env::var_os("LEASH_VALGRIND").is_some_and(|v| v == "1")
}

/// `address` or `thread`, when the library was built for it.
pub fn sanitizer() -> Option<String> {
    env::var("LEASH_SANITIZER").ok()
}

/// Whether programs are slower and larger than they would be.
pub fn is_watched() -> bool {
    under_valgrind() || sanitizer().is_some()
}

/// The sanitizer's runtime that rustc would link to a program of its own.
fn runtime_of(kind: &str) -> PathBuf {
    let mut rustc = tool("RUSTC", "rustc", &["--print=target-libdir"]);
    let out = rustc.output().expect("rustc is installed").stdout;
    let folder = PathBuf::from(String::from_utf8(out).expect("UTF-8").trim());
    folder
        .join(format!("librustc-nightly_rt.{}.a", if kind == "address" { "asan" } else { "tsan" }))
}

fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().expect("our child") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// What a program did.
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// What the program's processes carry in their environment.
    pub mark: Mark,
    what: String,
}

impl Output {
    #[track_caller]
    pub fn assert_success(&self) {
        assert!(self.status.success(), "{} failed: {}\n{}", self.what, self.status, self.told());
    }

    #[track_caller]
    pub fn assert_signal(&self, signal: Signal) {
        let told = self.told();
        assert_eq!(
            self.status.signal(),
            Some(signal as i32),
            "{}: {}\n{told}",
            self.what,
            self.status
        );
    }

    #[track_caller]
    pub fn assert_nothing_left(&self) {
        self.mark.assert_nothing_left(SWEPT);
    }

    fn told(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr)
    }
}

// ---- Processes that are left ------------------------------------------------

/// A value that one test's processes carry, to find them by.
///
/// It is looked for in environments and in argument lists: a server that clears
/// the environment of what it starts is followed by giving it the mark as an
/// argument. Dropping a mark kills what still carries it, so that no test
/// disturbs the next.
pub struct Mark(String);

/// One process that carries a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub pid: i32,
    pub command: String,
}

impl Mark {
    /// The name of the environment variable.
    pub const NAME: &str = "LEASH_TEST_MARK";

    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("mark-{}-{since:x}-{count}", process::id()))
    }

    /// `NAME=value`, for LEASH_OPT_ENV.
    pub fn env(&self) -> String {
        format!("{}={}", Self::NAME, self.0)
    }

    pub fn value(&self) -> &str {
        &self.0
    }

    /// The processes that carry the mark now; zombies do not, having no memory.
    pub fn carriers(&self) -> Vec<Left> {
        let mut left = Vec::new();
        for entry in fs::read_dir("/proc").expect("Linux").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // This process names the mark in neither, whatever it hands down.
            let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
            let command = read("cmdline");
            let carries =
                |bytes: &[u8]| bytes.windows(self.0.len()).any(|w| w == self.0.as_bytes());
            if carries(&read("environ")) || carries(&command) {
                let command = String::from_utf8_lossy(&command).replace('\0', " ");
                left.push(Left { pid, command });
            }
        }
        left
    }

    /// Fail unless every process that carries the mark goes within that time.
    #[track_caller]
    pub fn assert_nothing_left(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut was_empty = false;
        loop {
            let left = self.carriers();
            // Not at once: who is just executing a program shows neither arguments nor
            // environment.
            if left.is_empty() && std::mem::replace(&mut was_empty, true) {
                return;
            }
            was_empty &= left.is_empty();
            if !left.is_empty() && Instant::now() > deadline {
                let list = left.iter().fold(String::new(), |mut list, one| {
                    let _ = write!(list, "\n  {} {}", one.pid, one.command);
                    list
                });
                panic!("{} left after {within:?}:{list}", left.len());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill_all(&self) {
        for _ in 0..20 {
            let left = self.carriers();
            if left.is_empty() {
                return;
            }
            for one in left {
                let _ = kill(Pid::from_raw(one.pid), Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.kill_all();
    }
}

// ---- Servers ----------------------------------------------------------------

/// The program made of `examples/NAME.rs`: `demo_server` or `misbehave`.
///
/// `cargo test` builds the examples, `cargo test --test NAME` does not: then it
/// is done here, so that no test runs against yesterday's server.
pub fn example(name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);

    let profile = deps().parent().expect("target/PROFILE").to_owned();
    let program = profile.join("examples").join(name);
    let shared = root().join("examples/shared/json.rs");
    let source = root().join("examples").join(name).with_extension("rs");
    if mtime(&program) < mtime(&source).max(mtime(&shared)) {
        let mut cargo = tool("CARGO", "cargo", &["build", "--quiet", "--example", name]);
        cargo.arg("--manifest-path").arg(root().join("Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().expect("target"));
        match profile.file_name().and_then(OsStr::to_str) {
            Some("debug") | None => {}
            Some(other) => drop(cargo.args(["--profile", other])),
        }
        let built = forget_package(&mut cargo).status().expect("cargo is installed");
        assert!(built.success(), "{cargo:?}");
    }
    program
}

/// The argv of a misbehaving server: `misbehave(&["noise", "recv", "exit:3"])`.
pub fn misbehave(steps: &[&str]) -> Vec<String> {
    let program = example("misbehave").into_os_string().into_string().expect("UTF-8");
    [program].into_iter().chain(steps.iter().map(|&step| step.to_owned())).collect()
}

/// A misbehaving WebSocket server, and its URL:
/// `misbehave_ws(&["upgrade", "echo-loop"])`.
pub fn misbehave_ws(steps: &[&str]) -> (Started, String) {
    let mut command = Command::new(example("misbehave_ws"));
    command.args(steps);
    Started::with_first_line(command)
}

/// A real server: how to start it on stdio, with what environment.
pub struct Peer {
    pub argv: Vec<String>,
    /// `NAME=value`, over the inherited set.
    pub env: Vec<String>,
    /// Its own empty folder, removed on drop.
    pub folder: PathBuf,
}

impl Peer {
    /// The program alone, for a command line of the test's own.
    pub fn program(&self) -> &str {
        &self.argv[0]
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The real servers by the name of their program, with what starts them on
/// stdio. tests/peers/install.sh installs them.
const PEERS: &[(&str, &[&str])] = &[
    ("codex", &["exec-server", "--listen", "stdio"]),
    ("codex-acp", &[]),
    ("mcp-server-everything", &["stdio"]),
    ("bash-language-server", &["start"]),
    ("deltachat-rpc-server", &[]),
    ("ruff", &["server"]),
    ("aria2c", &[]),
    ("websocketd", &[]),
    ("stunnel4", &[]),
    ("sshd", &[]),
    ("kosoku", &[]),
    // A folder, not a program.
    ("JSONTestSuite", &[]),
];

/// A real server, or None and a line that says how to get it. The test then
/// returns; with `LEASH_REQUIRE_PEERS=1` it fails here.
#[track_caller]
pub fn peer(name: &str) -> Option<Peer> {
    let (_, arguments) = PEERS.iter().find(|(known, _)| *known == name).expect("a server of PEERS");
    let target = deps().ancestors().nth(2).expect("target/PROFILE/deps").to_owned();
    let peers = env::var_os("LEASH_PEERS").map_or_else(|| target.join("peers"), PathBuf::from);
    let program = peers.join("bin").join(name);
    if !program.exists() {
        skip(name, &format!("tests/peers/install.sh {name}"));
        return None;
    }
    // Not under /tmp: codex then warns on stderr that it will not write there.
    let folder = work().join(format!("{name}-{}", Mark::new().value()));
    fs::create_dir_all(&folder).expect("the work folder is ours");
    let here = folder.to_str().expect("UTF-8").to_owned();
    let env = match name {
        "codex" | "codex-acp" => vec![format!("CODEX_HOME={here}")],
        "deltachat-rpc-server" => vec![format!("DC_ACCOUNTS_PATH={here}/accounts")],
        "ruff" => vec![format!("RUFF_CACHE_DIR={here}")],
        _ => Vec::new(),
    };
    let program = program.into_os_string().into_string().expect("UTF-8");
    let argv = [program].into_iter().chain(arguments.iter().map(|&a| a.to_owned())).collect();
    Some(Peer { argv, env, folder })
}

/// Tell that `name` is missing, and how to get it; with `LEASH_REQUIRE_PEERS=1`
/// fail.
#[track_caller]
pub fn skip(name: &str, install: &str) {
    let required = env::var_os("LEASH_REQUIRE_PEERS").is_some_and(|v| v == "1");
    assert!(!required, "{name} is missing: {install}");
    // Past the test runner's capture: a skip must be seen.
    let _ = writeln!(io::stderr(), "SKIPPED {name}: {install}");
}

/// A server that a test started by itself: one that listens.
pub struct Started {
    pub child: Child,
    /// What it and what it starts carry in their environment.
    pub mark: Mark,
}

impl Started {
    pub fn new(mut command: Command) -> Self {
        let mark = Mark::new();
        command.env(Mark::NAME, mark.value()).stdin(Stdio::null()).process_group(0);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, mark }
    }

    /// The first line that it prints: where it listens, for those that say so.
    /// What it prints later is read and forgotten.
    pub fn with_first_line(mut command: Command) -> (Self, String) {
        command.stdout(Stdio::piped());
        let mut started = Self::new(command);
        let mut out = io::BufReader::new(started.child.stdout.take().expect("piped"));
        let mut line = String::new();
        let read = io::BufRead::read_line(&mut out, &mut line);
        assert!(matches!(read, Ok(n) if n > 0), "it printed nothing");
        thread::spawn(move || io::copy(&mut out, &mut io::sink()));
        (started, line.trim().to_owned())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Wait until a server listens at 127.0.0.1:`port`.
pub fn wait_for_port(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nothing listens at port {port}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port of 127.0.0.1 that nobody listens at.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

// ---- Places -----------------------------------------------------------------

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// target/PROFILE/deps: where the running test is.
fn deps() -> PathBuf {
    let test = env::current_exe().expect("Linux");
    test.parent().expect("a folder").to_owned()
}

/// Where compiled programs and their output go, beside the deps folder.
pub fn work() -> PathBuf {
    let work = deps().with_file_name("harness");
    fs::create_dir_all(&work).expect("the target folder is ours");
    work
}

fn mtime(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}
