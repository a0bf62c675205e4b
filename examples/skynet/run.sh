#!/bin/sh
# Starts the game: SKYNET is a built checkout of skynet 1.8.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${SKYNET:?set SKYNET to a built checkout of skynet}"
export SKYNET GAME="${GAME:-.}" HOTRELOAD="${HOTRELOAD:-../..}"
export AGENTS="${AGENTS:-200}" CONSOLE="${CONSOLE:-8000}"
cd "$here"
exec "$SKYNET/skynet" config
