#!/bin/sh
# What a host has on which Debian's nginx ran before: the package starts it once, and that makes the directories for
# temporary files; a site's owner has made a certificate, content and a place for uploads.
set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=harness \
    -addext subjectAltName=IP:127.0.0.1 -keyout /etc/nginx/harness.key -out /etc/nginx/harness.crt
install -d /var/www/harness/list
install -d -o www-data -g www-data /var/www/harness/store
echo one > /var/www/harness/list/one.txt
head -c 12000000 /dev/urandom > /var/www/harness/large.bin
nginx -t -q
