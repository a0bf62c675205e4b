#!/usr/bin/env bash
# Runs the Rust tests, then the specs. The last line is the sum of both:
# `N passed, N failed[, N skipped]`. What ends without a count (a crash, a build error, a file that
# does not load) or runs no test at all has failed.
#
# `scripts/test.sh --all` (`make test-all`) runs the same tests. Those that repeat themselves with
# another request, byte or seed do so more often: see tests/support/effort.rs.
#
# Each file of specs has a process of its own. JOBS (default: the number of cores) run at a time.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

[ "${1:-}" != --all ] || export HOTRELOAD_ALL=1

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

passed=0 failed=0 skipped=0

# add NAME STATUS PASSED FAILED SKIPPED
add() {
  local name=$1 status=$2 bad=$4
  if [ "$bad" = 0 ] && [ "$status" != 0 ]; then
    echo "$name: ended with status $status, though no test failed" >&2
    bad=1
  elif [ "$bad" = 0 ] && [ $(($3 + $5)) = 0 ]; then
    echo "$name: no test was run" >&2
    bad=1
  fi
  passed=$((passed + $3)) failed=$((failed + bad)) skipped=$((skipped + $5))
}

echo "== Rust tests"
# shellcheck disable=SC2086  # one word for each option
"${CARGO:-cargo}" test --locked --no-fail-fast \
  ${TEST_FEATURES:---no-default-features --features vendored,lua54} </dev/null 2>&1 |
  tee "$work/rust"
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

# spec FILE: runs one file of specs, and prints its output in one piece when it has ended.
spec() {
  local results=$work/${1##*/} status=0
  HOTRELOAD_COUNTS=$results.counts busted --lua="${LUA:-lua5.4}" \
    --output=spec/support/counts.lua "$1" </dev/null >"$results.log" 2>&1 || status=$?
  echo "$status" >"$results.status"
  printf '%s\n' "-- $1" "$(<"$results.log")"
}
export -f spec
export work

echo "== Specs"
files=(spec/*_spec.lua)
# shellcheck disable=SC2016  # the inner shell expands it
printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" bash -c 'spec "$1"' spec
for file in "${files[@]}"; do
  results=$work/${file##*/}
  status=$(cat "$results.status" 2>/dev/null) || status="unknown"
  if [ -s "$results.counts" ]; then
    read -r good bad pending <"$results.counts"
    add "$file" "$status" "$good" "$bad" "$pending"
  else
    echo "$file: ended before its last spec, with status $status" >&2
    failed=$((failed + 1))
  fi
done

line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line+=", $skipped skipped"
echo "$line"
[ "$failed" = 0 ]
