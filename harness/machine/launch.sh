#!/bin/sh
# Runs in a mount and PID namespace of its own: mounts a machine's overlays, then becomes the given command.
# usage: launch.sh PLAN CGROUP COMMAND...      PLAN: lines of "path below the root TAB overlay options"
# CGROUP, unless empty: the v2 cgroup to move to. systemd-nspawn puts itself and its payload into two cgroups below
# the one it starts in and hands them its controllers, which needs that no other process is in it.
# All of it ends with the namespace, whichever way the harness ends: the host never has these mounts.
set -eu
plan=$1
cgroup=$2
shift 2
[ -z "$cgroup" ] || echo 0 >"$cgroup/cgroup.procs"
mount -t tmpfs -o mode=755,nosuid,nodev harness /run
mkdir /run/root
tab=$(printf '\t')
while IFS="$tab" read -r at options; do
    mount -t overlay -o "$options" harness "/run/root/$at"
done <"$plan"
exec "$@"
