"""Services that are refused one thing by one line of theirs, beside lines that have nothing to do with it."""

from dataclasses import dataclass

DO = "/usr/bin/python3 -IB /srv/do.py"
# In every unit, before its own lines; none of them refuses what any of the services does.
BESIDE = """\
KeyringMode=private
UMask=0027
LimitCORE=0
TasksMax=500
LimitNOFILE=4000
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictRealtime=yes
ProtectHostname=yes
SystemCallArchitectures=native
MemoryMax=400M
IPAddressDeny=192.0.2.0/24
ReadWritePaths=/srv
"""


@dataclass(frozen=True)
class Provoked:
    """A service that runs `command` under `lines`: refused by `directive`, "" where no line of its own refuses.

    `kernel` marks those of which the kernel says more than the service; they are started one at a time. `without` are
    lines of `BESIDE` that would refuse it as well. `thorough` ones are much like another one.
    """

    name: str
    directive: str
    lines: str
    command: str
    kernel: bool = False
    without: tuple[str, ...] = ()
    thorough: bool = False

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return f"provoked-{self.name}.service"

    def text(self) -> str:
        """The unit file."""
        beside = "".join(line + "\n" for line in BESIDE.splitlines() if line.partition("=")[0] not in self.without)
        return f"[Service]\nType=exec\nExecStart={self.command}\n{beside}{self.lines}"


def sh(command: str) -> str:
    return f"/bin/sh -c '{command}'"


def of(name: str, directive: str, lines: str, command: str, **more: object) -> Provoked:
    return Provoked(name, directive, lines, command, **more)  # type: ignore[arg-type]


CHOWN_ERRNO = "SystemCallFilter=~@chown\nSystemCallErrorNumber=EPERM\n"
OWNERS = "CapabilityBoundingSet=~CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH\n"
LOCAL_ONLY = "IPAddressDeny=any\nIPAddressAllow=localhost\n"
SMALL = "MemoryMax=30M\nMemorySwapMax=0\n"
BOUND = "ProtectSystem=strict\nBindReadOnlyPaths=/usr/bin /usr/lib /usr/lib64\n"
PROVOKED = (
    # Files
    of("etc", "ProtectSystem", "ProtectSystem=full\n", "touch /etc/new"),
    of("state", "ProtectSystem", "ProtectSystem=strict\n", sh("echo x > /var/lib/app/data")),
    of("usr", "ProtectSystem", "ProtectSystem=yes\nProtectHome=read-only\n", "mkdir /usr/local/new", thorough=True),
    of("home-write", "ProtectHome", "ProtectHome=read-only\nProtectSystem=full\n", "touch /root/new"),
    of("home", "ProtectHome", "ProtectHome=yes\n", "cat /root/secret"),
    of("home-empty", "ProtectHome", "ProtectHome=tmpfs\nProtectSystem=strict\n", "cat /root/secret", thorough=True),
    of("read-only", "ReadOnlyPaths", "ProtectSystem=full\nReadOnlyPaths=/var/lib/app\n", "touch /var/lib/app/new"),
    of("inaccessible", "InaccessiblePaths", "InaccessiblePaths=/srv/data\nProtectHome=yes\n", "cat /srv/data/file"),
    of("emptied", "TemporaryFileSystem", "TemporaryFileSystem=/srv/data:ro\n", "cat /srv/data/file", thorough=True),
    of("tmp", "PrivateTmp", "PrivateTmp=yes\nProtectSystem=full\n", "cat /tmp/of-a-peer"),
    of("device", "PrivateDevices", "PrivateDevices=yes\nPrivateTmp=yes\n", "cat /dev/extra"),
    of("device-policy", "DevicePolicy", "DevicePolicy=strict\nDeviceAllow=/dev/null rw\n", "head -c 1 /dev/random"),
    of("cgroups", "ProtectControlGroups", "ProtectControlGroups=yes\n", "mkdir /sys/fs/cgroup/pids/new"),
    of("modules", "ProtectKernelModules", "ProtectKernelModules=yes\n", "cat /usr/lib/modules/known"),
    of("processes", "ProtectProc", "ProtectProc=invisible\nUser=nobody\n", "cat /proc/1/status"),
    of("proc", "ProcSubset", "ProcSubset=pid\n", "cat /proc/meminfo"),
    of("no-exec", "NoExecPaths", "NoExecPaths=/srv\nProtectSystem=full\n", sh("/srv/tool")),
    of("no-exec-bound", "NoExecPaths", f"{BOUND}NoExecPaths=/\n", sh("/srv/tool"), without=("ReadWritePaths",)),
    of("no-exec-written", "NoExecPaths", f"{BOUND}NoExecPaths=/ /srv\n", sh("/srv/tool")),
    # Calls
    of("personality", "LockPersonality", "", f"{DO} personality"),
    of("realtime", "RestrictRealtime", "", f"{DO} sched_setscheduler", thorough=True),
    of("namespaces", "RestrictNamespaces", "RestrictNamespaces=yes\n", "unshare -n true"),
    of("hostname", "ProtectHostname", "ProtectClock=yes\n", f"{DO} sethostname"),
    of("clock", "ProtectClock", "ProtectClock=yes\n", f"{DO} clock_settime", thorough=True),
    of("kernel-log", "ProtectKernelLogs", "ProtectKernelLogs=yes\n", f"{DO} klogctl"),
    of("jit", "MemoryDenyWriteExecute", "MemoryDenyWriteExecute=yes\n", f"{DO} mmap"),
    of("set-user-id", "RestrictSUIDSGID", "", f"{DO} chmod /srv/tool"),
    of("keyring", "SystemCallFilter", "SystemCallFilter=~@keyring\n", f"{DO} keyctl", kernel=True),
    of("chroot-allow-list", "SystemCallFilter", "SystemCallFilter=@system-service\n", f"{DO} chroot /", kernel=True),
    of("filter-errno", "SystemCallFilter", CHOWN_ERRNO, f"{DO} chown /srv/tool 7"),
    # Capabilities and users
    of("chown", "CapabilityBoundingSet", "CapabilityBoundingSet=~CAP_CHOWN\n", f"{DO} chown /srv/tool 7"),
    of("setuid", "CapabilityBoundingSet", "CapabilityBoundingSet=~CAP_SETUID\n", f"{DO} setuid 7", thorough=True),
    of("setgroups", "CapabilityBoundingSet", "CapabilityBoundingSet=~CAP_SETGID\n", f"{DO} setgroups 7", thorough=True),
    of("owner", "CapabilityBoundingSet", OWNERS, "cat /srv/nobodys"),
    of("low-port", "CapabilityBoundingSet", "CapabilityBoundingSet=CAP_CHOWN CAP_KILL\n", f"{DO} bind 81"),
    of("users", "PrivateUsers", "PrivateUsers=yes\n", f"{DO} setuid 33"),
    # Network
    of("family", "RestrictAddressFamilies", "RestrictAddressFamilies=AF_UNIX\n", f"{DO} socket AF_INET"),
    of("netlink", "RestrictAddressFamilies", "RestrictAddressFamilies=~AF_NETLINK\n", "ip link show"),
    of("address", "IPAddressDeny", LOCAL_ONLY, f"{DO} sendto 10.9.8.7"),
    of("address-tcp", "IPAddressDeny", LOCAL_ONLY, f"{DO} connect 10.9.8.1 9", thorough=True),
    of("network", "PrivateNetwork", "PrivateNetwork=yes\n", f"{DO} connect 10.9.8.7"),
    # Limits
    of("memory", "MemoryMax", SMALL, f"{DO} memory 120000000", kernel=True),
    of("tasks", "TasksMax", "TasksMax=4\n", f"{DO} fork 9", kernel=True),
    of("threads", "TasksMax", "TasksMax=4\n", f"{DO} thread 9", kernel=True, thorough=True),
    of("files", "LimitNOFILE", "LimitNOFILE=20\n", f"{DO} open 40"),
    of("file-size", "LimitFSIZE", "LimitFSIZE=1000\n", f"{DO} write /srv/large 9000"),
    of("processes-of-user", "LimitNPROC", "User=games\nLimitNPROC=2\n", f"{DO} fork 9"),
    of("locked", "LimitMEMLOCK", "LimitMEMLOCK=8K\nUser=nobody\n", f"{DO} mlock 90000"),
    of("processor", "CPUQuota", "CPUQuota=10%\nCPUAccounting=yes\n", sh(f"{DO} burn 3; sleep infinity")),
    # Starts
    of("no-such-path", "ReadWritePaths", "ReadWritePaths=/not/there\nProtectSystem=strict\n", "true"),
    of("nothing-to-bind", "BindReadOnlyPaths", "BindReadOnlyPaths=/nowhere:/srv/here\n", "true", thorough=True),
    of("working-directory", "ProtectHome", "WorkingDirectory=/root/job\nProtectHome=yes\n", "true"),
    of("program", "ProtectHome", "ProtectHome=yes\nProtectSystem=strict\n", "/root/tool"),
    # Nothing of the unit's own refuses here
    of("not-ours-mode", "", "User=nobody\nProtectSystem=full\nProtectHome=read-only\n", "cat /srv/roots"),
    of("not-ours-mount", "", "ProtectSystem=full\n", sh("echo x > /proc/sys/kernel/hostname")),
    of("not-told", "", "ProtectSystem=full\n", sh("echo the operation failed: Permission denied >&2")),
    of("not-ours-peer", "", "", f"{DO} connect 10.9.8.1 9", thorough=True),
    of("not-there", "", "ProtectHome=yes\nPrivateTmp=yes\n", "cat /root/never /tmp/never /srv/never"),
)  # fmt: skip
FILES = {
    "/root/secret": "secret\n",
    "/root/job/file": "work\n",
    "/srv/data/file": "data\n",
    "/var/lib/app/old": "old\n",
    "/usr/lib/modules/known": "module\n",
    "/srv/nobodys": "of nobody\n",
    "/srv/roots": "of root\n",
}
SET_UP = """\
install -m 755 /usr/bin/true /srv/tool; install -m 755 /usr/bin/true /root/tool
chown nobody /srv/nobodys; chmod 600 /srv/nobodys /srv/roots
echo peer >/tmp/of-a-peer; mknod /dev/extra c 1 3
"""
