#!/usr/bin/env bash
# The two programs of demo/, each in a process of its own; what they print is compared with what
# they should.
# 1. demo/main.lua reloads a module that the running program has changed.
# 2. demo/hotfix/main.lua puts a corrected file in the module's place, and reloads it.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# play EXPECTED SCRIPT [ARGUMENT...]
play() {
  local expected=$1 status=0
  shift
  LUA_PATH_5_4="./?.lua;$root/lua/?.lua;;" LUA_CPATH_5_4="$root/build/?.so;;" \
    "${LUA:-lua5.4}" "$@" |
    tee "$work/output" || status=$?
  if [ "$status" != 0 ]; then
    echo "demo: $1 ended with status $status" >&2
    exit 1
  fi
  if ! diff -u "$expected" "$work/output" >&2; then
    echo "demo: $1 did not print what $expected says" >&2
    exit 1
  fi
}

echo "== demo/main.lua: the program changes its module, then reloads it"
cd "$root/demo"
play "$root/demo/expected.txt" main.lua

echo
echo "== demo/hotfix/main.lua: a corrected TestReload.lua takes the place of the old one"
diff -u --label before --label after \
  "$root/demo/TestReload.lua" "$root/demo/hotfix/TestReload.lua" || true
echo "== what it prints"
mkdir "$work/server"
cp "$root/demo/TestReload.lua" "$work/server/"
cd "$work/server"
play "$root/demo/hotfix/expected.txt" "$root/demo/hotfix/main.lua" \
  "$root/demo/hotfix/TestReload.lua"

echo
echo "Both printed what they should."
