//! libleash as others find it: installed by `bindings/install.sh`, moved to another
//! place, and used from there by every kind of consumer. Prints PASS for each.
//!
//! The library is the release build. A tool that is missing is told, and is a failure
//! with `LEASH_REQUIRE_PEERS=1`.

mod harness;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use harness::{Program, example, exported_symbols, forget_package, root, work};

// ---- The installation -------------------------------------------------------

struct Prefix(PathBuf);

impl Prefix {
    fn lib(&self) -> PathBuf {
        self.0.join("lib")
    }

    /// What pkg-config answers, as arguments.
    fn pkg_config(&self, arguments: &[&str]) -> Vec<String> {
        pkg_config(&self.lib(), arguments)
    }

    /// Of libleash.a: its functions alone.
    fn archive_symbols(&self) -> BTreeSet<String> {
        let mut nm = Command::new("nm");
        let text = done(nm.args(["-g", "--defined-only"]).arg(self.lib().join("libleash.a")));
        text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
    }
}

/// What pkg-config answers for the library that is installed in `libdir`.
fn pkg_config(libdir: &Path, arguments: &[&str]) -> Vec<String> {
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(arguments).arg("leash").env("PKG_CONFIG_PATH", libdir.join("pkgconfig"));
    done(&mut pkg_config).split_whitespace().map(str::to_owned).collect()
}

/// Installed once for all tests, and not where it was installed to.
fn installed() -> &'static Prefix {
    static INSTALLED: OnceLock<Prefix> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let (first, moved) = (folder("installed"), work().join("packaging/moved"));
        done(install().env("PREFIX", &first));
        let _ = fs::remove_dir_all(&moved);
        fs::rename(first, &moved).expect("the work folder is ours");
        Prefix(moved)
    })
}

fn install() -> Command {
    let mut install = Command::new(root().join("bindings/install.sh"));
    // Where `cargo build --release` has built it, perhaps a moment ago.
    forget_package(&mut install).env("CARGO_TARGET_DIR", target());
    for variable in ["DESTDIR", "LIBDIR", "CARGOFLAGS"] {
        install.env_remove(variable);
    }
    install
}

/// The target folder. This program is in target/PROFILE/deps.
fn target() -> PathBuf {
    work().ancestors().nth(2).expect("target/PROFILE/harness").to_owned()
}

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = work().join("packaging").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the work folder is ours");
    folder
}

fn files_below(folder: &Path) -> BTreeSet<String> {
    fn visit(folder: &Path, top: &Path, found: &mut BTreeSet<String>) {
        for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.is_symlink() {
                visit(&path, top, found);
            } else {
                found.insert(path.strip_prefix(top).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    visit(folder, folder, &mut found);
    found
}

// ---- Running things ---------------------------------------------------------

fn passed(consumer: &str) {
    // Past the test runner's capture: it is what one wants to see.
    let _ = writeln!(io::stderr(), "PASS {consumer}");
}

/// Whether `tool` can be run; if not, that is told.
fn has(tool: &str, package: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(tool).exists()) {
        return true;
    }
    let missing = format!("{tool}: apt install {package}");
    let required = env::var_os("LEASH_REQUIRE_PEERS").is_some_and(|v| v == "1");
    assert!(!required, "{missing}");
    let _ = writeln!(io::stderr(), "SKIPPED {missing}");
    false
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let [stdout, stderr] = [&out.stdout, &out.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(out.status.success(), "{command:?}:\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// `cc` with the warnings that a careful host has.
fn cc(source: &Path, program: &Path, arguments: &[String]) {
    let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]);
    done(cc.arg(source).args(arguments).arg("-o").arg(program));
}

fn own(name: &str) -> PathBuf {
    root().join("tests/packaging").join(name)
}

/// Run a program that drives the demo server as examples/hello.c does.
#[track_caller]
fn runs_a_command(program: &Path, libraries: Option<&Path>) {
    let mut program = Program::new(program.to_owned()).never_under_valgrind();
    program = program.env("LD_LIBRARY_PATH", libraries.unwrap_or(Path::new("")));
    let out = program.arg(example("demo_server")).run();
    out.assert_success();
    assert!(out.stdout.contains("\"exitCode\":3"), "{}", out.stdout);
    out.assert_nothing_left();
}

/// What the dynamic linker will look for.
fn needed(program: &Path) -> String {
    done(Command::new("readelf").arg("-d").arg(program))
}

// ---- The tests --------------------------------------------------------------

#[test]
fn it_has_its_links_its_soname_and_nothing_else() {
    let prefix = installed();
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        "include/leash.h",
        "include/leash.hpp",
        "lib/cmake/leash/leash-config-version.cmake",
        "lib/cmake/leash/leash-config.cmake",
        "lib/cmake/leash/leash-places.cmake",
        "lib/libleash.a",
        "lib/libleash.so",
        "lib/libleash.so.0",
        &format!("lib/libleash.so.{version}"),
        "lib/pkgconfig/leash.pc",
        "share/man/man3/leash.3",
    ];
    assert_eq!(files_below(&prefix.0), expected.map(str::to_owned).into());
    let dynamic = needed(&prefix.lib().join("libleash.so"));
    assert!(dynamic.contains("soname: [libleash.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    assert_eq!(prefix.archive_symbols(), exported_symbols());
    assert_eq!(prefix.pkg_config(&["--modversion"]), [version]);
    passed("installed: soname, links, symbols");
}

#[test]
fn destdir_and_libdir_hold_and_uninstall_takes_it_all_away() {
    let stage = folder("stage");
    let staged = |install: &mut Command| {
        done(
            install.env("DESTDIR", &stage).env("PREFIX", "/usr").env("LIBDIR", "lib/some-triplet"),
        );
    };
    staged(&mut install());
    let files = files_below(&stage);
    assert_eq!(files.len(), files_below(&installed().0).len());
    assert!(files.contains("usr/lib/some-triplet/libleash.so.0"), "{files:?}");
    let pc = fs::read_to_string(stage.join("usr/lib/some-triplet/pkgconfig/leash.pc")).unwrap();
    assert!(pc.starts_with("prefix=${pcfiledir}/../../..\nlibdir=${prefix}/lib/some-triplet\n"));
    let build_paths = [root().to_str().unwrap(), stage.to_str().unwrap()];
    assert!(!build_paths.iter().any(|path| pc.contains(path)), "{pc}");
    staged(install().arg("uninstall"));
    assert!(files_below(&stage).is_empty());
    passed("installed: DESTDIR, LIBDIR, uninstall");
}

#[test]
fn c_finds_the_shared_library_by_pkg_config() {
    let prefix = installed();
    let program = folder("c-shared").join("hello");
    cc(&root().join("examples/hello.c"), &program, &prefix.pkg_config(&["--cflags", "--libs"]));
    assert!(needed(&program).contains("[libleash.so.0]"));
    runs_a_command(&program, Some(&prefix.lib()));
    passed("C, pkg-config, shared");
}

#[test]
fn c_finds_the_static_library_by_pkg_config() {
    let prefix = installed();
    let program = folder("c-static").join("hello");
    let flags = prefix.pkg_config(&["--cflags", "--libs", "--static"]);
    // Both kinds are installed: the name of the file says which.
    let archive = |flag: String| if flag == "-lleash" { "-l:libleash.a".to_owned() } else { flag };
    cc(
        &root().join("examples/hello.c"),
        &program,
        &flags.into_iter().map(archive).collect::<Vec<_>>(),
    );
    assert!(!needed(&program).contains("libleash"));
    runs_a_command(&program, None);
    passed("C, pkg-config, static");
}

#[test]
fn the_static_library_links_beside_another_one_in_rust() {
    let prefix = installed();
    let folder = folder("two-runtimes");
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    // By LTO it is one object, with the runtime in it, as one of another rustc would be.
    rustc.args(["--edition", "2024", "--crate-type", "staticlib", "-O", "-C", "lto=fat"]);
    rustc.arg("--out-dir");
    done(rustc.arg(&folder).arg(own("other.rs")));
    // In both orders: the linker keeps what it sees first.
    for order in [["-l:libleash.a", "-lother"], ["-lother", "-l:libleash.a"]] {
        let mut flags = prefix.pkg_config(&["--cflags", "--libs", "--static"]);
        flags.retain(|flag| flag != "-lleash");
        let folder_flag = format!("-L{}", folder.display());
        let libraries = order.map(str::to_owned).into_iter();
        let flags: Vec<_> = libraries.chain([folder_flag]).chain(flags).collect();
        let program = folder.join(format!("host{}", order[0]));
        cc(&own("two_runtimes.c"), &program, &flags);
        Program::new(program).never_under_valgrind().run().assert_success();
    }
    passed("C, static beside another Rust library");
}

#[test]
fn a_program_opens_it_by_dlopen() {
    let prefix = installed();
    let program = folder("dlopen").join("load");
    let flags = [format!("-I{}", prefix.0.join("include").display()), "-ldl".to_owned()];
    cc(&own("load.c"), &program, &flags);
    let load = || {
        let program = Program::new(program.clone()).never_under_valgrind();
        let program = program.env("LD_LIBRARY_PATH", prefix.lib()).arg(example("demo_server"));
        let out = program.run();
        out.assert_success();
        out.assert_nothing_left();
        out.stdout.trim().parse::<u32>().expect("microseconds")
    };
    // The fastest: others use the machine, too.
    let microseconds = (0..20).map(|_| load()).min().unwrap_or_default();
    assert!(microseconds < 2_000, "dlopen to the first call took {microseconds} us");
    passed(&format!("dlopen, first call after {microseconds} us, no thread before connect"));
}

/// Configure and build `source`, and run what comes of it.
fn by_cmake(name: &str, settings: &[(&str, &OsStr)]) {
    let build = folder(name);
    let mut cmake = Command::new("cmake");
    cmake.arg("-S").arg(own("cmake")).arg("-B").arg(&build).arg("-DCMAKE_BUILD_TYPE=Release");
    cmake.arg(format!("-DVERSION={}", env!("CARGO_PKG_VERSION")));
    for (name, value) in settings {
        cmake.arg(format!("-D{name}={}", value.to_str().expect("UTF-8")));
    }
    done(&mut cmake);
    let mut cmake = Command::new("cmake");
    done(cmake.arg("--build").arg(&build).env("CARGO_TARGET_DIR", target()));
    // CMake wrote the run path of the shared one into the program.
    for kind in ["shared", "static"] {
        runs_a_command(&build.join(format!("quickstart-{kind}")), None);
    }
}

#[test]
fn cmake_finds_the_package() {
    if has("cmake", "cmake") {
        by_cmake("cmake-package", &[("CMAKE_PREFIX_PATH", installed().0.as_os_str())]);
        passed("C++, CMake find_package, shared and static");
    }
}

#[test]
fn cmake_builds_it_from_its_sources() {
    if has("cmake", "cmake") {
        installed(); // so that cargo has built it, and is not waited for in there
        by_cmake("cmake-sources", &[("LEASH_SOURCES", root().as_os_str())]);
        passed("C++, CMake FetchContent, shared and static");
    }
}

#[test]
fn meson_finds_it() {
    if !has("meson", "meson") {
        return;
    }
    let prefix = installed();
    let (source, build) = (folder("meson-source"), folder("meson"));
    for file in [own("meson/meson.build"), root().join("examples/hello.c")] {
        fs::copy(&file, source.join(file.file_name().unwrap())).unwrap();
    }
    let mut meson = Command::new("meson");
    meson.arg("setup").arg(&build).arg(&source);
    done(meson.env("PKG_CONFIG_PATH", prefix.lib().join("pkgconfig")));
    done(Command::new("meson").args(["compile", "-C"]).arg(&build));
    runs_a_command(&build.join("hello-shared"), Some(&prefix.lib()));
    runs_a_command(&build.join("hello-static"), None);
    passed("C, Meson, shared and static");
}

#[test]
fn a_wheel_brings_it_to_python() {
    if !has("python3", "python3-venv") {
        return;
    }
    let (venv, wheels) = (folder("venv"), folder("wheels"));
    done(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let python = venv.join("bin/python");
    let pip = |arguments: &[&str]| {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "-q", "--disable-pip-version-check"]).args(arguments);
        pip
    };
    let library = installed().lib().join("libleash.so");
    let mut wheel = pip(&["wheel", "--no-deps", "--no-index", "-w"]);
    done(wheel.arg(&wheels).arg(root().join("bindings/python")).env("LEASH_LIBRARY", library));
    let wheel = fs::read_dir(wheels).unwrap().next().expect("it was built").unwrap().path();
    done(pip(&["install", "--no-deps", "--no-index"]).arg(&wheel));

    let quickstart = root().join("examples/quickstart.py");
    let program = Program::new(python.clone()).never_under_valgrind().arg(quickstart);
    let out = program.arg(example("demo_server")).env("PYTHONPATH", "").run();
    out.assert_success();
    assert!(out.stdout.contains("exit code: 3"), "{}", out.stdout);
    out.assert_nothing_left();
    passed("Python, from the wheel");
    let tag = manylinux(&wheel);
    done(&mut pip(&["install", "auditwheel"]));
    let said = done(Command::new(venv.join("bin/auditwheel")).arg("show").arg(&wheel));
    assert!(said.split('"').any(|word| word == tag), "it calls itself {tag}:\n{said}");
    passed(&format!("wheel, {tag} by auditwheel"));
}

/// What a wheel's name says it runs on.
fn manylinux(wheel: &Path) -> String {
    let name = wheel.file_stem().expect("a wheel").to_str().expect("ASCII");
    name.rsplit('-').next().expect("parts").to_owned()
}

#[test]
fn go_calls_it_by_cgo() {
    if !has("go", "golang-go") {
        return;
    }
    let (prefix, folder) = (installed(), folder("go"));
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(folder.join("hello")).arg(".");
    go.current_dir(root().join("bindings/go"));
    go.env("PKG_CONFIG_PATH", prefix.lib().join("pkgconfig"));
    go.env("GOCACHE", work().join("packaging/go-cache")).env("GOFLAGS", "").env("GOPROXY", "off");
    done(&mut go);
    runs_a_command(&folder.join("hello"), Some(&prefix.lib()));
    passed("Go, cgo");
}

#[test]
fn rust_depends_on_it_as_a_crate() {
    let folder = folder("rust");
    let main = own("rust/main.rs");
    // With the features of a host that starts its servers: these build in no time.
    let manifest = format!(
        "[package]\nname = \"host\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n\
         [[bin]]\nname = \"host\"\npath = {main:?}\n\n\
         [dependencies.libleash]\npath = {:?}\ndefault-features = false\n\n[workspace]\n",
        root(),
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The versions that are tested.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let target = work().join("packaging/rust-target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    done(cargo.env("CARGO_TARGET_DIR", &target));
    runs_a_command(&target.join("debug/host"), None);
    passed("Rust, crate");
}

#[test]
fn debian_is_told_each_function() {
    let symbols = fs::read_to_string(root().join("bindings/debian/libleash0.symbols")).unwrap();
    let told = symbols.lines().filter_map(|line| line.strip_prefix(' ')?.split('@').next());
    assert_eq!(told.map(str::to_owned).collect::<BTreeSet<_>>(), exported_symbols());
}

/// Of the shared library, which cargo has stripped.
fn size(library: &Path) -> u64 {
    fs::metadata(library).expect("it was built").len()
}

#[test]
fn it_is_small() {
    let full = size(&installed().lib().join("libleash.so"));
    assert!(full < 3_000_000, "{full} bytes");
    passed(&format!("size, {full} bytes"));
}

#[test]
#[ignore = "builds the library anew"]
fn without_websocket_it_is_smaller() {
    let mut install = install();
    install.env("CARGOFLAGS", "--no-default-features").env("PREFIX", folder("stdio-only"));
    done(install.env("CARGO_TARGET_DIR", target().join("stdio-only")));
    let stdio = size(&work().join("packaging/stdio-only/lib/libleash.so"));
    assert!(stdio < 900_000, "{stdio} bytes");
    passed(&format!("size, stdio only, {stdio} bytes"));
}

/// Where Debian keeps libraries, as cargo-c knows.
#[test]
#[ignore = "builds the library anew, and needs cargo-c"]
fn cargo_c_installs_it() {
    let prefix = folder("cargo-c");
    let mut cinstall = Command::new(env!("CARGO"));
    forget_package(&mut cinstall).current_dir(root()).args(["cinstall", "--release", "--locked"]);
    cinstall.arg("--prefix").arg(&prefix);
    done(cinstall.env("CARGO_TARGET_DIR", target().join("cargo-c")));
    let files = files_below(&prefix);
    // cargo-c knows where this system keeps libraries.
    let lib = files.iter().find_map(|file| file.strip_suffix("/pkgconfig/leash.pc")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        "include/leash.h",
        "include/leash.hpp",
        &format!("{lib}/libleash.a"),
        &format!("{lib}/libleash.so"),
        &format!("{lib}/libleash.so.0"),
        &format!("{lib}/libleash.so.{version}"),
        &format!("{lib}/pkgconfig/leash.pc"),
        "share/cmake/leash/leash-config-version.cmake",
        "share/cmake/leash/leash-config.cmake",
        "share/cmake/leash/leash-places.cmake",
    ];
    assert_eq!(files, expected.map(str::to_owned).into());
    let libdir = prefix.join(lib);
    let dynamic = needed(&libdir.join("libleash.so"));
    assert!(dynamic.contains("soname: [libleash.so.0]") && dynamic.contains("NODELETE"));

    let flags = pkg_config(&libdir, &["--cflags", "--libs"]);
    let program = folder("c-cargo-c").join("hello");
    cc(&root().join("examples/hello.c"), &program, &flags);
    runs_a_command(&program, Some(&libdir));
    by_cmake("cmake-cargo-c", &[("CMAKE_PREFIX_PATH", prefix.as_os_str())]);
    passed("cargo cinstall: files, soname, C by pkg-config, C++ by CMake");
}

#[test]
#[ignore = "builds the library anew"]
fn debian_packages_are_built() {
    let folder = folder("debian");
    let mut build = Command::new(root().join("bindings/debian/build.sh"));
    build.arg(&folder).arg("-Ppkg.libleash.rustup");
    done(build.env("CARGO_TARGET_DIR", target().join("debian")));
    let built = files_below(&folder);
    for package in ["libleash0", "libleash-dev", "python3-libleash"] {
        let is_it =
            |file: &String| file.starts_with(&format!("{package}_")) && file.ends_with(".deb");
        assert!(built.iter().any(is_it), "{built:?}");
    }
    passed("Debian, source and binary packages");
}

#[test]
fn the_crate_is_packed_with_its_licences_and_without_what_is_not_its() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package", "--list", "--allow-dirty", "--manifest-path"]);
    let files = done(cargo.arg(root().join("Cargo.toml")));
    let files: BTreeSet<_> = files.lines().collect();
    for needed in
        ["LICENSE-APACHE", "LICENSE-MIT", "build.rs", "include/leash.h", "src/guard/link.ld"]
    {
        assert!(files.contains(needed), "{needed} is missing");
    }
    let is_junk =
        |file: &&&str| ["target/", "__pycache__", ".so", ".whl"].iter().any(|j| file.contains(j));
    assert_eq!(files.iter().find(is_junk), None);
}
