#!/usr/bin/env bash
# The specs on the installed Lua under valgrind: no read or write where nothing is, no use of what
# was never written, and no block that is lost when the state is closed. Only what a spec's own
# process does is seen, so those that start servers are left out, and those that are about documents
# and packages.
set -euo pipefail
cd "$(dirname "$0")/.."

lua=${LUA:-lua5.4}
missing=()
command -v valgrind >/dev/null || missing+=("valgrind:   apt-get install valgrind libc6-dbg")
busted=$(command -v busted) || missing+=("busted:   apt-get install lua-busted")
if [ ${#missing[@]} != 0 ]; then
  echo "valgrind: this is missing:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  exit 1
fi

scripts/build.sh
# The same library with line numbers, in a place of its own.
CARGO_PROFILE_RELEASE_DEBUG=1 CARGO_TARGET_DIR=$PWD/target/valgrind \
  "${CARGO:-cargo}" build --release --locked --lib
mkdir -p build/valgrind
cp target/valgrind/release/libhotreload.so build/valgrind/hotreload.so

files=() left_out=" api comparison cookbook document packaging prosody readme reliability server"
left_out+=" support tick translations version "
for file in spec/*_spec.lua; do
  name=${file#spec/}
  case $left_out in *" ${name%_spec.lua} "*) ;; *) files+=("$file") ;; esac
done

# Elsewhere the specs' programs stand in a folder with a long name (spec/support/program.lua).
export HOTRELOAD_FOLDER=short
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
passed=0
for file in "${files[@]}"; do
  status=0
  HOTRELOAD_COUNTS=$counts valgrind --quiet --error-exitcode=99 --leak-check=full \
    --errors-for-leak-kinds=definite --show-leak-kinds=definite --keep-debuginfo=yes \
    --child-silent-after-fork=yes --num-callers=30 \
    "$lua" "$busted" --ignore-lua --cpath='./build/valgrind/?.so' \
    --output=spec/support/counts.lua --filter-out='reads no file' "$file" </dev/null || status=$?
  if [ "$status" != 0 ]; then
    echo "valgrind: $file ended with status $status (99: valgrind found something)" >&2
    exit 1
  fi
  read -r good _ <"$counts"
  echo "valgrind: $file: $good specs"
  passed=$((passed + good))
done
echo "valgrind: $passed specs in ${#files[@]} files, no error, no block lost"
