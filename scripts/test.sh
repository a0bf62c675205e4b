#!/usr/bin/env bash
# Runs the Rust tests, then the specs. The last line is the sum of both: `N passed, N failed[, N skipped]`.
# What ends without a count (a crash, a build error, a file that does not load) or runs no test at all has failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

passed=0 failed=0 skipped=0

# add NAME STATUS PASSED FAILED SKIPPED
add() {
  local name=$1 status=$2 bad=$4
  if [ "$bad" = 0 ] && [ "$status" != 0 ]; then
    echo "$name: ended with status $status, though no test failed" >&2
    bad=1
  elif [ "$bad" = 0 ] && [ "$3" = 0 ]; then
    echo "$name: no test was run" >&2
    bad=1
  fi
  passed=$((passed + $3)) failed=$((failed + bad)) skipped=$((skipped + $5))
}

echo "== Rust tests"
# shellcheck disable=SC2086  # one word for each option
"${CARGO:-cargo}" test --locked --no-fail-fast ${TEST_FEATURES:---no-default-features --features vendored,lua54} \
  </dev/null 2>&1 | tee "$work/rust"
status=${PIPESTATUS[0]}
# test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
# shellcheck disable=SC2046
add "cargo test" "$status" $(awk '
  /^test result: / {
    for (i = 2; i <= NF; i++) {
      if ($i == "passed;") passed += $(i - 1)
      if ($i == "failed;") failed += $(i - 1)
      if ($i == "ignored;") ignored += $(i - 1)
    }
  }
  END { print passed + 0, failed + 0, ignored + 0 }' "$work/rust")

echo "== Specs"
HOTRELOAD_COUNTS=$work/specs busted --lua="${LUA:-lua5.4}" --output=spec/support/counts.lua spec/ </dev/null
status=$?
if [ -s "$work/specs" ]; then
  read -r good bad pending <"$work/specs"
  add busted "$status" "$good" "$bad" "$pending"
else
  echo "busted: ended before its last spec, with status $status" >&2
  failed=$((failed + 1))
fi

line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line+=", $skipped skipped"
echo "$line"
[ "$failed" = 0 ]
