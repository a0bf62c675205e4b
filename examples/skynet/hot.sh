#!/usr/bin/env bash
# Gives the running game a command, as a person does on the debug console:
#
#   ./hot.sh battle.skill plan
#
# Prints what the console answers, and ends with 0 where the command was carried out.
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${CONSOLE:-8000}"
printf '%s\n' "${COMMAND:-hotreload} $*" >&3
while IFS= read -r line <&3; do
  case $line in
    "Welcome to skynet console") ;;
    "<CMD OK>") exit 0 ;;
    "<CMD Error>") exit 1 ;;
    *) printf '%s\n' "$line" ;;
  esac
done
exit 1
