#!/usr/bin/env bash
# Installs what is missing: scripts/setup.sh TOOL... [--if-possible TOOL...]
# Tools: make cc lua headers luarocks busted luacheck shellcheck luasocket luv argparse, packages
# (those of spec/support/packages). Says nothing and takes no time where all are there. Some
# specs need the tools behind --if-possible: where they cannot be had, it says so, and succeeds.
# Installing means Debian packages, by apt-get, as root or with a sudo that asks no password.
# Elsewhere it says what to install and fails. Nothing is ever taken from luarocks.org.
set -euo pipefail

lua=${LUA:-lua5.4}

has() {
  case $1 in
    cc) cc -E -x c - <<<'#include <stdio.h>' >/dev/null 2>&1 ;;
    lua) [ "$("$lua" -e 'io.write(_VERSION)' 2>/dev/null </dev/null)" = "Lua 5.4" ] ;;
    headers) grep -qs '^#define LUA_VERSION_NUM[[:space:]]*504' \
      /usr/include/lua5.4/lua.h /usr/include/lua54/lua.h /usr/include/lua.h \
      /usr/local/include/lua5.4/lua.h /usr/local/include/lua.h \
      /opt/homebrew/include/lua5.4/lua.h ;;
    make | luarocks | busted | luacheck | shellcheck) command -v "$1" >/dev/null ;;
    luasocket) "$lua" -e 'require "socket"' >/dev/null 2>&1 </dev/null ;;
    luv | argparse) "$lua" -e "require '$1'" >/dev/null 2>&1 </dev/null ;;
    packages)
      # shellcheck disable=SC2046  # one word for each package
      [ "$(dpkg-query -W -f='${db:Status-Abbrev}\n' $(packages_of packages) 2>/dev/null |
        grep -c '^ii')" = "$(packages_of packages | wc -w)" ]
      ;;
    *) echo "setup: no tool is called '$1'" >&2; exit 2 ;;
  esac
}

packages_of() {
  case $1 in
    make | shellcheck) echo "$1" ;;
    cc) echo gcc libc6-dev ;;
    lua) echo lua5.4 ;;
    headers) echo liblua5.4-dev ;;
    luarocks) echo luarocks ;;
    busted) echo lua-busted ;;
    luacheck) echo lua-check ;;
    luasocket) echo lua-socket ;;
    luv | argparse) echo "lua-$1" ;;
    packages) sed -n 's/^  debian = "\(.*\)",$/\1/p' "${0%/*}"/../spec/support/packages/*.lua |
      paste -s -d ' ' ;;
  esac
}

missing_of() {
  local tool
  for tool in "$@"; do has "$tool" || printf '%s ' "$tool"; done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install() {
  command -v apt-get >/dev/null &&
    { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }
}

apt() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

if ! command -v "${CARGO:-cargo}" >/dev/null; then
  echo "setup: cargo is missing: install Rust, https://rustup.rs" >&2
  exit 1
fi

wanted=() wishes=() list=wanted
for tool in "$@"; do
  case $tool:$list in
    --if-possible:*) list=wishes ;;
    *:wanted) wanted+=("$tool") ;;
    *) wishes+=("$tool") ;;
  esac
done

# The wishes come last, and need no package lists of their own: these are there, or were fetched for
# the rest.
wish() {
  local missing tool packages package
  missing=$(missing_of ${wishes[@]+"${wishes[@]}"})
  [ -n "$missing" ] || return 0
  for tool in $missing; do
    packages=$(packages_of "$tool")
    can_install || continue
    # shellcheck disable=SC2086  # one word for each package
    if apt install --no-install-recommends $packages >/dev/null 2>&1; then
      echo "setup: installed $packages"
    else
      # One that this Debian has not keeps none of the others away.
      for package in $packages; do
        [ "$package" = "$packages" ] ||
          apt install --no-install-recommends "$package" >/dev/null 2>&1 || true
      done
    fi
  done
  missing=$(missing_of ${wishes[@]+"${wishes[@]}"})
  [ -z "$missing" ] || echo "setup: not to be had: ${missing% }; what needs it is skipped"
}

missing=$(missing_of ${wanted[@]+"${wanted[@]}"})
[ -n "$missing" ] || { wish; exit 0; }

packages=
for tool in $missing; do packages+="$(packages_of "$tool") "; done
packages=${packages% }

if can_install; then
  echo "setup: installing $packages"
  # The package lists may be absent, or too old: they are fetched only if it does not go without.
  # shellcheck disable=SC2086  # one word for each package
  apt install --no-install-recommends $packages >/dev/null 2>&1 ||
    { apt update >/dev/null && apt install --no-install-recommends $packages; } || true
fi

missing=$(missing_of ${wanted[@]+"${wanted[@]}"})
[ -n "$missing" ] || { wish; exit 0; }
packages=
for tool in $missing; do packages+="$(packages_of "$tool") "; done
{
  echo "setup: missing: ${missing% }"
  echo "setup: install these Debian packages, or what your system calls them: ${packages% }"
  echo "setup: on Debian, as root: apt-get install ${packages% }"
  case $missing in
    *lua\ *) echo "setup: or name your Lua 5.4: make LUA=/path/to/lua (now: $lua)" ;;
  esac
} >&2
exit 1
