#!/usr/bin/env bash
# Mutation tests of one stage: each change of MUTANTS (a file or folder of src/ without `.rs`,
# default: src/stages/matching) must make a Rust test fail. The specs are not run, so a change that
# is reported as missed may still be held by a spec: look there before you delete a rule or write a
# test. Hours: one build and one run of the tests for each change. Results:
# target/mutants/mutants.out/.
set -euo pipefail
cd "$(dirname "$0")/.."

stage=${MUTANTS:-src/stages/matching}
if ! command -v cargo-mutants >/dev/null; then
  echo "mutants: cargo-mutants is missing:   cargo install cargo-mutants --locked" >&2
  exit 1
fi
if [ ! -e "$stage" ] && [ ! -e "$stage.rs" ]; then
  echo "mutants: there is no $stage: MUTANTS names a file or folder of src/ without .rs" >&2
  exit 1
fi
mkdir -p target/mutants
# Given first, the tests of generated programs notice most.
"${CARGO:-cargo}" mutants --file "$stage.rs" --file "$stage/**" --output target/mutants \
  --no-default-features --features vendored,lua54 \
  -- --locked --lib --test generated --test order --test raises
