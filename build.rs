//! Builds the guard, a program of its own, with the compiler and the target of
//! the library. `src/sys/spawn.rs` embeds it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/guard");
    println!("cargo::rerun-if-changed=build.rs");
    // The library's thread and its fork handler cannot be unmapped.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // The number of the ABI is the major version: docs/abi.md.
    let major = variable("CARGO_PKG_VERSION_MAJOR");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libleash.so.{major}");
    let guard = PathBuf::from(variable("OUT_DIR")).join("guard");
    let status = Command::new(variable("RUSTC"))
        .args(["--crate-name", "guard", "--crate-type", "bin"])
        .args(["--edition", "2024", "--target", &variable("TARGET")])
        .args(["-C", "opt-level=z", "-C", "panic=abort", "-C", "lto=fat"])
        .args(["-C", "codegen-units=1", "-C", "strip=symbols"])
        .args(["-C", "relocation-model=static"])
        .args(["-C", "force-unwind-tables=no"])
        .args(linker())
        .args(LINK.map(|argument| format!("-Clink-arg={argument}")))
        .arg("-o")
        .arg(&guard)
        .arg("src/guard/main.rs")
        .status()
        .expect("rustc runs");
    assert!(status.success(), "the guard does not compile");
}

/// No libc and no start-up code; the rest of the layout is in the script.
const LINK: [&str; 6] = [
    "-nostartfiles",
    "-nostdlib",
    "-static",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
    "-Wl,-Tsrc/guard/link.ld",
];

/// The linker that Cargo was told to use for this target.
fn linker() -> Option<String> {
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let linker = env::var("RUSTC_LINKER").ok()?;
    Some(format!("-Clinker={linker}"))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name}"))
}
