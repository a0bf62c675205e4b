#!/usr/bin/env bash
# Links a library for an old glibc: the linker that scripts/dist.sh names to cargo. ZIG_TARGET is
# the target, for instance x86_64-linux-gnu.2.17; zig knows the symbols of each glibc.
#
# Only libraries are for that target. Cargo's build scripts run here, and the C compiler links them.
# zig would link an unwinder of its own in the place of libgcc_s. An exception of a Lua that was
# compiled as C++ would meet both unwinders, and end the process. So the library takes libgcc_s,
# which every system with glibc has.
set -euo pipefail

case " $* " in
  *' -shared '*) ;;
  *) exec "${CC:-cc}" "$@" ;;
esac

arguments=()
for argument in "$@"; do
  case $argument in
    -lgcc_s) arguments+=("$("${CC:-cc}" -print-file-name=libgcc_s.so.1)") ;;
    -fuse-ld=* | -B*) ;; # zig has its own linker
    *) arguments+=("$argument") ;;
  esac
done
exec python3 -m ziglang cc -target "$ZIG_TARGET" "${arguments[@]}"
