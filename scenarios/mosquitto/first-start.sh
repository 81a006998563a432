#!/bin/sh
# What a host has on which mosquitto has been set up: a certificate, users and their rights.
set -e
cd /etc/mosquitto
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -keyout harness.key -out harness.crt
mosquitto_passwd -c -b users teller teller-word
mosquitto_passwd -b users reader reader-word
printf 'user teller\ntopic readwrite #\nuser reader\ntopic read #\ntopic read $SYS/#\nuser other\ntopic readwrite #\n' >rights
for file in harness.key users rights; do
    chown mosquitto "$file"
    chmod 600 "$file"
done
