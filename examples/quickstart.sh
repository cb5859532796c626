#!/usr/bin/env bash
# Build everything, then run the quickstart against the demo server, or
# against the server given as arguments:
#
#   ./examples/quickstart.sh
#   ./examples/quickstart.sh codex exec-server --listen stdio
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/release

# Relative server paths are the caller's: stay in the caller's folder.
cargo build --release --quiet --lib --examples --manifest-path "$root/Cargo.toml"
# Programs look for the library by its soname, as after an installation.
ln -sf libleash.so "$out/libleash.so.0"
"${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror -I"$root/include" -o "$out/quickstart" \
  "$root/examples/quickstart.c" -L"$out" -lleash -Wl,-rpath,"$out"

[ $# -gt 0 ] || set -- "$out/examples/demo_server"
exec "$out/quickstart" "$@"
