#!/bin/sh
# What a host has on which unbound has been set up: a certificate, whose key unbound itself can read.
set -e
cd /etc/unbound
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout harness.key -out harness.crt
chgrp unbound harness.key
chmod 640 harness.key
