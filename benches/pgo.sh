#!/bin/sh
# The library, optimised by a profile of what it does (PGO): what runs often is inlined and kept
# together, and what does not is kept out of its way.
#
#     benches/pgo.sh
#
# Makes target/pgo/release/libleash.so, and compares it with the usual build: the medians of the
# ratios to the floor, as `cargo bench --bench floor` has them on one core. Needs the profile
# tools of the compiler: `rustup component add llvm-tools`.
set -eu
cd "$(dirname "$0")/.."
work=${CARGO_TARGET_DIR:-$PWD/target}/pgo
# Many small messages and few large ones: a loop over 64 MB counts for more than all else.
small="roundtrip threads inflight flood"
large="results requests connects"

host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
if [ ! -x "$profdata" ]; then
  echo "pgo.sh: no llvm-profdata; run: rustup component add llvm-tools" >&2
  exit 1
fi

# Build into "$work/$1" with these flags of the compiler.
build() {
  RUSTFLAGS="${RUSTFLAGS:-} $2" cargo build --release --locked --lib --target-dir "$work/$1"
  ln -sf libleash.so "$work/$1/release/libleash.so.0"
}

# The same by a profile, which says where it is worth its size to optimise more.
build_by() {
  CARGO_PROFILE_RELEASE_OPT_LEVEL=3 build "$@"
}

# Run one scenario with the library in "$work/$1".
run() {
  LD_LIBRARY_PATH="$work/$1/release" taskset -c 0 "$work/host" "$2" "$3" "$work/server"
}

mkdir -p "$work"
rm -rf "$work/raw"
build plain ""
flags="-std=gnu99 -D_GNU_SOURCE -O2 -pthread"
cc $flags -static benches/floor/server.c -o "$work/server"
cc $flags -Iinclude benches/floor/host.c "$work/plain/release/libleash.so" -o "$work/host"

build_by instrumented "-Cprofile-generate=$work/raw"
for scenario in $small; do run instrumented "$scenario" 20 >"$work/log"; done
for scenario in $large; do run instrumented "$scenario" 1 >"$work/log"; done
"$profdata" merge -o "$work/leash.profdata" "$work/raw"
build_by . "-Cprofile-use=$work/leash.profdata"

printf '%-42s %8s %8s\n' "" plain "by profile"
for scenario in $small $large; do
  for library in plain .; do
    run "$library" "$scenario" 5 | sed "s|^|$library	|"
  done
done | awk -F '\t' '
  { n[$2, $1]++; ratio[$2, $1, n[$2, $1]] = $5 / $4; if (!seen[$2]++) names[++count] = $2 }
  function median(name, library,   i, j, k, values) {
    k = n[name, library]
    for (i = 1; i <= k; i++) values[i] = ratio[name, library, i]
    for (i = 2; i <= k; i++)
      for (j = i; j > 1 && values[j - 1] > values[j]; j--) {
        ratio_ = values[j]; values[j] = values[j - 1]; values[j - 1] = ratio_
      }
    return values[int((k + 1) / 2)]
  }
  END { for (i = 1; i <= count; i++)
    printf "%-42s %8.2f %8.2f\n", names[i], median(names[i], "plain"), median(names[i], ".") }'
