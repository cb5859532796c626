#!/bin/sh
# Build libleash, and install it as a system library:
#
#   bindings/install.sh                  into /usr/local
#   bindings/install.sh uninstall        with the same settings: what that wrote
#   bindings/install.sh native-libs      print what a program needs beside libleash.a
#
# Settings, from the environment:
#
#   PREFIX      where it will be used; /usr/local
#   LIBDIR      the libraries' folder, below PREFIX: "lib", or "lib/x86_64-linux-gnu"
#   DESTDIR     stands before every path that is written; empty
#   CARGOFLAGS  for cargo build: --no-default-features leaves WebSocket out
#
# Needs cargo, and ld and objcopy from the binutils that cargo links with. Cargo's own
# settings hold (CARGO_TARGET_DIR, CARGO_BUILD_TARGET); CARGO, RUSTC, LD, NM and OBJCOPY
# name other tools.
set -eu
umask 022

root=$(cd "$(dirname "$0")/.." && pwd)
PREFIX=${PREFIX:-/usr/local}
LIBDIR=${LIBDIR:-lib}
LIBDIR=${LIBDIR#"$PREFIX"/}
CARGO=${CARGO:-cargo}

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

case $PREFIX in /*) ;; *) fail "PREFIX must be an absolute path" ;; esac
case /$LIBDIR/ in //* | */../*) fail "LIBDIR must be below PREFIX" ;; esac

# cargo_says KEY: what Cargo knows of this package.
cargo_says() {
  "$CARGO" metadata --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
    sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'
}

name=libleash
version=$("$CARGO" pkgid --manifest-path "$root/Cargo.toml" | sed 's/.*[#@]//')
soname=$name.so.${version%%.*}
shared=$name.so.$version
place=${DESTDIR:-}$PREFIX

# What rustc links into anything, in words of the linker. Our dependencies add nothing.
native_libs() {
  empty=$(mktemp -d)
  "${RUSTC:-rustc}" ${CARGO_BUILD_TARGET:+--target "$CARGO_BUILD_TARGET"} --crate-type staticlib \
    --crate-name empty --print native-static-libs --out-dir "$empty" - </dev/null 2>&1 |
    sed -n 's/^note: native-static-libs: //p'
  rm -r "$empty"
}

# one_object FROM SHARED TO: the archive FROM as one object of which only the functions
# of SHARED can be seen. The program may hold another Rust library, with its own copy of
# the same runtime.
one_object() {
  functions=$("${NM:-nm}" -D --defined-only "$2" | awk '{ print $3 }')
  # The linker takes what these need; the sections of one group that another library has
  # as well must not be merged with ours (--force-group-allocation).
  # shellcheck disable=SC2046,SC2086
  "${LD:-ld}" -r --gc-sections --force-group-allocation $(printf -- '-u %s ' $functions) -o "$3" "$1"
  # shellcheck disable=SC2046,SC2086
  "${OBJCOPY:-objcopy}" --strip-unneeded --remove-section .llvmbc --remove-section .llvmcmd \
    $(printf -- '--keep-global-symbol %s ' $functions) "$3"
}

# build FOLDER: put everything into FOLDER as it is to be below PREFIX.
build() {
  # shellcheck disable=SC2086
  "$CARGO" build --release --lib --locked --manifest-path "$root/Cargo.toml" ${CARGOFLAGS:-}
  built=$(cargo_says target_directory)/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release
  mkdir -p "$1/include" "$1/$LIBDIR/pkgconfig" "$1/$LIBDIR/cmake/leash" "$1/share/man/man3"

  cp "$root/include/leash.h" "$root/bindings/cpp/leash.hpp" "$1/include"
  cp "$root/docs/leash.3" "$1/share/man/man3"
  cp "$built/$name.so" "$1/$LIBDIR/$shared"
  ln -s "$shared" "$1/$LIBDIR/$soname"
  ln -s "$soname" "$1/$LIBDIR/$name.so"
  one_object "$built/$name.a" "$built/$name.so" "$1/leash.o"
  "${AR:-ar}" rcs "$1/$LIBDIR/$name.a" "$1/leash.o"
  rm "$1/leash.o"

  cp "$root"/bindings/cmake/*.cmake "$1/$LIBDIR/cmake/leash"
  up=$(echo "$LIBDIR/pkgconfig" | sed 's,[^/][^/]*,..,g')
  sed -e "s|@UP@|$up|; s|@LIBDIR@|$LIBDIR|; s|@NAME@|$name|; s|@VERSION@|$version|" \
    -e "s|@DESCRIPTION@|$(cargo_says description)|; s|@PRIVATE@|$(native_libs)|" \
    "$root/bindings/pkgconfig/leash.pc.in" >"$1/$LIBDIR/pkgconfig/leash.pc"
}

# Everything that is installed, below PREFIX.
files() {
  for file in include/leash.h include/leash.hpp share/man/man3/leash.3 "$LIBDIR/$shared" "$LIBDIR/$soname" \
    "$LIBDIR/$name.so" "$LIBDIR/$name.a" "$LIBDIR/pkgconfig/leash.pc"; do
    echo "$file"
  done
  for file in "$root"/bindings/cmake/*.cmake; do
    echo "$LIBDIR/cmake/leash/${file##*/}"
  done
}

install() {
  stage=$(mktemp -d)
  trap 'rm -rf "$stage"' EXIT
  build "$stage"
  files | while read -r file; do
    mkdir -p "$place/$(dirname "$file")"
    # Not written over: a program that runs keeps the library that it has.
    mv -f "$stage/$file" "$place/$file"
  done
}

uninstall() {
  files | while read -r file; do rm -f "$place/$file"; done
  rmdir "$place/$LIBDIR/cmake/leash" 2>/dev/null || true
}

case ${1:-install} in
install) install ;;
uninstall) uninstall ;;
native-libs) native_libs ;;
*) fail "install.sh [install | uninstall | native-libs]" ;;
esac
