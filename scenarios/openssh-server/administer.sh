# Run by root in a session: what an administrator does there every week. Names each act that worked, and ends at the
# first that did not. Who also runs containers or debuggers there adds a line.
set -e

act() {
    name=$1
    shift
    "$@" >/dev/null && echo "$name"
}

act install install -o visitor -g guests -m 4755 /bin/true /usr/local/bin/of-visitor
act configure sh -c 'echo "# changed" >>/etc/hosts'
act kill sh -c '
    runuser -u visitor -- sleep 30 &
    until pgrep -u visitor -x sleep; do sleep 0.02; done
    kill $(pgrep -u visitor -x sleep)'
act network sh -c 'ip address add 127.0.0.9/8 dev lo && ip address del 127.0.0.9/8 dev lo'
act systemctl systemctl is-active ssh.service
act mount mount -t tmpfs none /mnt
