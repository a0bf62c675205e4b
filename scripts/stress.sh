#!/usr/bin/env bash
# The tests that `make test` runs in part, or for a short while, whole: one after the other, each with what it was told of.
set -euo pipefail
cd "$(dirname "$0")/.."

export HOTRELOAD_STRESS=1
# shellcheck disable=SC2086  # one word for each option
rust() { "${CARGO:-cargo}" test --locked ${TEST_FEATURES:---no-default-features --features vendored,lua54} "$@" </dev/null; }

rust --test raises
rust --test threads -- --nocapture
scripts/build.sh
scripts/hosts.sh 8 20000 64
scripts/hosts.sh 1 2000 1
