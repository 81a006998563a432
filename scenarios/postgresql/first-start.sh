#!/bin/sh
# What a host has on which PostgreSQL has been set up: a certificate, and places beside the data directory.
set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -keyout /etc/postgresql/harness.key -out /etc/postgresql/harness.crt
chown postgres:postgres /etc/postgresql/harness.key
chmod 600 /etc/postgresql/harness.key
install -d -o postgres -g postgres -m 750 /srv/postgresql
for directory in archive export tablespace; do
    install -d -o postgres -g postgres -m 700 "/srv/postgresql/$directory"
done
