#!/bin/sh
# Ends a change that `harness` made to one unit: brings the old state back, unless all had gone well and the change was
# to be kept. It runs as a transient unit of systemd, when the harness asked for it, ended in any way, or when time was
# over. It needs no harness, and may run again at any point.
# usage: rollback.sh UNIT STATE TRIED KEPT
#   STATE: folder of the change     TRIED: its drop-in below /run     KEPT: the lasting one below /etc
set -u
unit=$1 state=$2 tried=$3 kept=$4
staged=$(dirname "$kept")/.50-harness.conf.new

reload() {
    for wait in 1 2 4 8 16; do
        systemctl daemon-reload && return
        sleep "$wait"
    done
}

up() {
    [ "$(systemctl show -p ActiveState --value -- "$unit")" = active ]
}

[ -d "$state" ] || exit 0
# Who renames this file decides: here it is undone, in the harness it is kept. rename(2) succeeds for one of them.
mv "$state/open" "$state/undone" 2>/dev/null

if [ -e "$state/kept" ]; then
    if [ -e "$state/removes" ]; then
        rm -f "$kept"
    elif [ -e "$staged" ]; then
        mv -f "$staged" "$kept"
    fi
    sync "$(dirname "$kept")" 2>/dev/null
    rm -f "$tried" "$tried.part" "$staged.part"
    reload
else
    rm -f "$tried" "$tried.part" "$staged" "$staged.part"
    reload
    # Another invocation than before was started with the new settings loaded, or may have been.
    if [ "$(systemctl show -p InvocationID --value -- "$unit")" != "$(cat "$state/invocation")" ] || ! up; then
        for wait in 0 1 2 4 8 16 32; do
            sleep "$wait"
            # A service that died again and again would not be started any more: systemd.unit(5), StartLimitBurst=.
            systemctl reset-failed -- "$unit" 2>/dev/null
            systemctl restart -- "$unit" && up && break
        done
    fi
fi
# What ran before and is bound to the unit: a start of it that failed took these down, and its restart does not bring
# them back. Sockets stand first: with the service up they would refuse to start, and then it is theirs to start it.
for other in $(cat "$state/bound" 2>/dev/null); do
    systemctl is-active --quiet -- "$other" && continue
    systemctl reset-failed -- "$other" 2>/dev/null
    case $other in *.socket) systemctl stop -- "$unit" ;; esac
    systemctl start -- "$other"
    case $other in *.socket) systemctl start -- "$unit" ;; esac
done
rmdir "$(dirname "$tried")" "$(dirname "$kept")" 2>/dev/null
# The timer is no longer needed; its service is this one, and stopping that would end it here.
systemctl stop "harness-rollback-$(basename "$state").timer" 2>/dev/null
rm -rf "$state"
up
