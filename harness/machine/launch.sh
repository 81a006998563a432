#!/bin/sh
# Runs in a mount and PID namespace of its own: mounts a machine's overlays, then becomes the given command.
# usage: launch.sh PLAN COMMAND...      PLAN: lines of "path below the root TAB overlay options"
# All of it ends with the namespace, whichever way the harness ends: the host never has these mounts.
set -eu
plan=$1
shift
mount -t tmpfs -o mode=755,nosuid,nodev harness /run
mkdir /run/root
tab=$(printf '\t')
while IFS="$tab" read -r at options; do
    mount -t overlay -o "$options" harness "/run/root/$at"
done <"$plan"
exec "$@"
