#!/bin/sh
# What a host has that people log in to: a user with a key, a group and limits, and the client's side of it.
set -e
groupadd guests
useradd --create-home --shell /bin/sh --groups guests visitor
install -d -m 700 /etc/harness-client
cd /etc/harness-client
ssh-keygen -q -t ed25519 -N '' -C visitor -f key
ssh-keygen -q -t ed25519 -N '' -C nobody -f wrong-key
install -d -o visitor -g visitor -m 700 /home/visitor/.ssh
install -o visitor -g visitor -m 600 key.pub /home/visitor/.ssh/authorized_keys
install -d -m 700 /root/.ssh
install -m 600 key.pub /root/.ssh/authorized_keys
sed 's/^/* /' /etc/ssh/ssh_host_ed25519_key.pub >known_hosts
printf 'visitor - nofile 600\nvisitor - core 1024\n' >/etc/security/limits.d/harness.conf
head -c 3000000 /dev/urandom >large
# Sessions stay in the server's own control group, as on a host without logind: so they are judged along with it.
sed -i '/pam_systemd\.so/d' /etc/pam.d/common-session
