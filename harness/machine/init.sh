#!/bin/sh
# First program of a machine. systemd-nspawn mounts the cgroup v1 controllers read-only, which makes MemoryMax=,
# CPUQuota= and TasksMax= do nothing and say nothing; "bind" changes this mount alone, not the host's.
for tree in /sys/fs/cgroup/*; do
    if mountpoint -q "$tree"; then
        mount -o remount,bind,rw "$tree"
    fi
done
exec "$@"
