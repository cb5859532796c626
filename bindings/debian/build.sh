#!/bin/sh
# Make the Debian packages, source and binary, in FOLDER:
#
#   bindings/debian/build.sh FOLDER [OPTION of dpkg-buildpackage...]
#
# With a cargo that is not Debian's: -Ppkg.libleash.rustup
set -eu

[ $# -ge 1 ] || { echo "build.sh FOLDER [OPTION of dpkg-buildpackage...]" >&2; exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
cd "$root"
version=$(cargo pkgid | sed 's/.*[#@]//')
source=$folder/libleash-$version
rm -rf "$source"
mkdir "$source"

# What the crate has, but for the files that only its archive has.
cargo package --list --allow-dirty | while read -r file; do
  [ ! -e "$file" ] || echo "$file"
done | tar -cf - -T - | tar -xf - -C "$source"
tar -czf "$folder/libleash_$version.orig.tar.gz" -C "$folder" "libleash-$version"

# Debian wants its folder at the top, and figures and texts that have their place elsewhere.
cp -R bindings/debian "$source/debian"
sed 's/^$/./; s/^/ /' LICENSE-MIT >"$source/debian/mit"
sed -i -e '/^@MIT@$/{' -e "r $source/debian/mit" -e d -e '}' "$source/debian/copyright"
rm "$source/debian/mit" "$source/debian/build.sh"
cat >"$source/debian/changelog" <<CHANGELOG
libleash ($version-1) UNRELEASED; urgency=medium

  * Upstream's own packaging. Its changes are in CHANGELOG.md.

 -- $(sed -n 's/^Maintainer: //p' bindings/debian/control)  $(date -R)
CHANGELOG

# debhelper gives the build a home of its own; cargo's stays where it is.
export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
cd "$source"
exec dpkg-buildpackage -us -uc "$@"
