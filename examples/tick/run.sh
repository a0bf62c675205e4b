#!/usr/bin/env bash
# Runs main.lua in a copy of this directory, since it edits its module: examples/tick/run.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/*.lua "$work"
cd "$work"
LUA_PATH_5_4="./?.lua;$root/lua/?.lua;;" \
  LUA_CPATH_5_4="$root/build/?.so;;" "${LUA:-lua5.4}" main.lua
