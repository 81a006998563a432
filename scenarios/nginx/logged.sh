#!/bin/sh
# logged.sh NAME: asks for a page that is not there; both logs must have it, and not those that were moved away.
curl -sS -o /dev/null "http://127.0.0.1/$1" || exit 1
for log in access error; do
    grep -q "/$1" "/var/log/nginx/$log.log" || { echo "$log.log does not have the request" >&2; exit 1; }
done
