#!/bin/sh
# soon.sh COMMAND...: repeats a command until it succeeds, for about 1.5 seconds; then fails as it did the last time.
tries=30
until "$@" 2>/tmp/soon.stderr; do
    status=$?
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { cat /tmp/soon.stderr >&2; exit "$status"; }
    sleep 0.03
done
