#!/usr/bin/env bash
# Build everything, then run the quickstart against the demo server, or
# against the server given as arguments:
#
#   ./examples/quickstart.sh
#   ./examples/quickstart.sh codex exec-server --listen stdio
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/release

# The caller's folder stays the current one: a server's path may be relative.
cargo build --quiet --manifest-path "$root/Cargo.toml" --release --lib
# Programs look for the library by its soname, as after an installation.
ln -sf libleash.so "$out/libleash.so.0"
"${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror -I"$root/include" -o "$out/quickstart" \
  "$root/examples/quickstart.c" -L"$out" -lleash -Wl,-rpath,"$out"

if [ $# = 0 ]; then
  # As `cargo test` builds it: optimised, the tests' dependencies would take
  # minutes.
  cargo build --quiet --manifest-path "$root/Cargo.toml" --example demo_server
  set -- "$target/debug/examples/demo_server"
fi
exec "$out/quickstart" "$@"
