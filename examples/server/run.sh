#!/usr/bin/env bash
# Runs the server and its client in a copy of this directory: examples/server/run.sh
# Needs a built library (make build) and LuaSocket (on Debian: lua-socket). What the server prints
# goes to stderr.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
lua=${LUA:-lua5.4}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

export LUA_PATH_5_4="./?.lua;$root/lua/?.lua;;" LUA_CPATH_5_4="$root/build/?.so;;"
"$lua" -e 'require "socket"' || {
  echo "run: LuaSocket is missing (on Debian: apt-get install lua-socket)" >&2
  exit 1
}

cp "$here"/*.lua "$work"
cd "$work"
timeout 120 "$lua" main.lua 0 0 "$work/reload" >"$work/log" 2>&1 &
server=$!
for _ in $(seq 200); do
  grep -q '^listening' "$work/log" && break
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.05
done
read -r port admin_port < <(
  sed -nE 's/^listening: players on ([0-9]+), admins on ([0-9]+)$/\1 \2/p' "$work/log"
)

status=0
timeout 100 "$lua" client.lua "$port" "$admin_port" "$work/reload" "$work" || status=$?
if [ "$status" = 0 ]; then wait "$server" || status=$?; server=; fi
sed 's/^/server: /' "$work/log" >&2
exit "$status"
