"""Known answers: for each need of `service.py` exactly what the harness must refuse; all else it must accept."""

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.unit.tightening import Tightening

HERE = Path(__file__).parent
UNIT = """\
[Unit]
Description=Needs {need}

[Service]
Type=exec
ExecStart=/usr/bin/python3 -ISB /harness-scenario/service.py {need}
RuntimeDirectory=known
LimitCORE=0
TimeoutStopSec=5
"""


@dataclass(frozen=True)
class File:
    """A file that the machine has before it boots."""

    target: str
    content: bytes = b"brought by the scenario\n"
    mode: str = "0644"
    owner: str = "root:root"


@dataclass(frozen=True)
class Known:
    """A service and the one right answer for it.

    `refused` are labels of the tightenings it cannot live with: each is refused, whatever requires one of them is not
    reached, and everything else is accepted. Of the ways `one_of`, exactly one is refused as well. `lines` are lines
    of the drop-in that follow, and `because` what the reason of a refusal says.

    `unit` are further lines of its [Service] section, `ask` the command of the step that asks, `scenario` further keys
    of the scenario, `leave_alone` directives that are not searched. `title` tells services with the same need apart,
    `machine` is the only architecture it is for. `thorough` ones take long or are much like another one.
    """

    need: str
    refused: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    because: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    unit_name: str = "known.service"
    ask: str = "sh ask.sh"
    steps: tuple[Mapping[str, Any], ...] = ()
    files: tuple[File, ...] = ()
    scenario: Mapping[str, Any] = field(default_factory=dict)
    leave_alone: tuple[str, ...] = ()
    title: str = ""
    machine: str = ""
    thorough: bool = False

    @property
    def name(self) -> str:
        """What a test of it is called."""
        return self.title or self.need

    def write(self, folder: Path) -> Path:
        """Write the scenario with all it brings into `folder`. Returns the path of the scenario file."""
        beside = folder / "known"
        beside.mkdir()
        for name in ("service.py", "ask.sh"):
            (beside / name).write_bytes((HERE / name).read_bytes())
        template = self.unit_name.replace("@one.", "@.")
        text = UNIT.format(need=self.need) + self.unit
        files = [File(f"/etc/systemd/system/{template}", text.encode()), *self.files]
        for number, file in enumerate(files):
            (folder / f"file{number}").write_bytes(file.content)
        path = folder / "known.toml"
        path.write_text(toml(self._scenario(files)), encoding="utf-8")
        return path

    def _scenario(self, files: Iterable[File]) -> dict[str, Any]:
        asking = {"name": "ask", "run": self.ask, "timeout_s": 5.0}
        return {
            "format": 1,
            "unit": self.unit_name,
            "packages": ["python3"],
            "baseline_runs": 1,
            "confirm_runs": 1,
            "leave_alone": dict.fromkeys(self.leave_alone, "not asked here"),
            **self.scenario,
            "ready": {"run": "test -p /run/known/ask", "timeout_s": 5.0},
            "files": [
                {"source": f"file{number}", "target": file.target, "mode": file.mode, "owner": file.owner}
                for number, file in enumerate(files)
            ],
            "steps": [asking, *self.steps],
        }


def toml(table: Mapping[str, Any], within: str = "") -> str:
    """TOML of plain values, tables and lists of tables; JSON's spelling of a string or a list is TOML's too."""
    plain = {key: value for key, value in table.items() if not _is_table(value) and not _is_tables(value)}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in plain.items())
    for key, value in table.items():
        if _is_table(value):
            text += f"\n[{within}{key}]\n{toml(value, f'{within}{key}.')}"
        elif _is_tables(value):
            text += "".join(f"\n[[{within}{key}]]\n{toml(item, f'{within}{key}.')}" for item in value)
    return text


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and any(_is_table(item) for item in value)


MADE_BEFORE = {
    "name": "first-start",
    "run": "mkdir /var/spool/known && exec sleep infinity",
    "ready": {"run": "test -d /var/spool/known"},
}


def denying(directive: str, item: str) -> str:
    """Label of the step that denies one item."""
    return Tightening(directive, items=(item,)).label


def without(capability: str) -> str:
    """Label of the step that takes a capability."""
    return denying("CapabilityBoundingSet", capability)


def calls(name: str) -> str:
    """Label of the step that denies a system call or a group of them."""
    return denying("SystemCallFilter", name)


def writing(path: str) -> str:
    """Label of the step that no longer excepts a path from the read-only file system."""
    return denying("ReadWritePaths", path)


def families(name: str) -> str:
    """Label of the step that denies an address family."""
    return denying("RestrictAddressFamilies", name)


def elf_of_32_bits() -> bytes:
    """A program for i386 that prints 32 and ends: elf(5), one segment, and two calls by int 0x80."""
    base, headers = 0x08048000, 52 + 32
    code = b"\xb8\4\0\0\0\xbb\1\0\0\0\xb9" + struct.pack("<I", base + headers + 34) + b"\xba\3\0\0\0\xcd\x80"
    code += b"\xb8\1\0\0\0\x31\xdb\xcd\x80" + b"\x90\x90\x90" + b"32\n"
    size = headers + len(code)
    entry = base + headers
    ident = b"\x7fELF\1\1\1" + bytes(9)
    header = struct.pack("<2H5I6H", 2, 3, 1, entry, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    return ident + header + struct.pack("<8I", 1, 0, base, base, size, size, 5, 0x1000) + code


USER = "User=daemon\nGroup=daemon\n"
SETUID_PROGRAM = Path("/usr/bin/id").read_bytes()
INET = families("AF_INET")
USERS = "PrivateUsers=yes"
NETWORK = "PrivateNetwork=yes"
BECOMING_NOBODY = (without("CAP_SETUID"), without("CAP_SETGID"), calls("setgroups"), calls("setresuid"))
# Until it has become somebody else, whoever is asked of it needs no privilege: proc(5), owner of /proc/PID.
SOMEBODY = """
setpriv --reuid=65534 --clear-groups sleep 60 >/dev/null 2>&1 &
until test "$(stat -c %u /proc/$!)" = 65534; do :; done
sh ask.sh $!"""
GREETED = "bash -c 'read line </dev/tcp/127.0.0.1/8100; echo $line'"
GREETED_BY_NAME = """python3 -ISc 'import socket; s = socket.socket(1); s.connect("\\0known"); print(s.recv(9))'"""
READ_BY_NOBODY = "setpriv --reuid=65534 --regid=1 --clear-groups cat /run/known/shared"
# These make systemd see to it that /proc, /dev, /sys and /run are there (MountAPIVFS= in systemd.exec(5)), and what
# it sees to in that way stays writable under ProtectSystem=strict: /run with the rest.
WITH_RUN = ("ProtectProc", "ProcSubset", "ProtectKernelTunables", "ProtectControlGroups")


def neighbour(address: str) -> dict[str, Any]:
    """A companion that does nothing but have an address."""
    return {"run": "sleep 1000", "name": "neighbour", "addresses": [f"{address}/24"]}


FILES = (
    Known(
        "nothing",
        lines=("ProtectSystem=strict", "CapabilityBoundingSet=", "RestrictAddressFamilies=none", "UMask=0077"),
    ),
    Known("etc_new", ("ProtectSystem=full",), ("ProtectSystem=yes",)),
    Known(
        "etc_in_place",
        (writing("/etc/known.conf"),),
        lines=("ProtectSystem=strict", "ReadWritePaths=-/etc/known.conf"),
        files=(File("/etc/known.conf"),),
        thorough=True,
    ),
    Known(
        "etc_replace",
        ("ProtectSystem=full",),
        ("ProtectSystem=yes",),
        files=(File("/etc/known.conf"),),
        thorough=True,
    ),
    Known(
        "etc_own",
        (writing("/etc/known"),),
        lines=("ProtectSystem=strict", "ReadWritePaths=-/etc/known"),
        # The unit's own exception would make the denial of it mean nothing.
        unit="ReadWritePaths=/etc/known\n",
        files=(File("/etc/known/state"),),
        thorough=True,
    ),
    Known("root_new", ("ProtectSystem=strict",), ("ProtectSystem=full",), thorough=True),
    Known("usr_new", ("ProtectSystem=yes",), thorough=True),
    Known(
        "usr_own",
        (writing("/usr/share/known"),),
        lines=("ProtectSystem=strict", "ReadWritePaths=-/usr/share/known"),
        files=(File("/usr/share/known/state"),),
        thorough=True,
    ),
    Known("var_new", (writing("/var/lib"),), lines=("ProtectSystem=strict", "ReadWritePaths=-/var/lib"), thorough=True),
    Known(
        "var_own",
        (writing("/var/lib/known"),),
        lines=("ProtectSystem=strict", "ReadWritePaths=-/var/lib/known"),
        files=(File("/var/lib/known/state"),),
        thorough=True,
    ),
    Known(
        "run_what_it_wrote",
        (writing("/var/lib/known"), denying("NoExecPaths", "/var/lib/known")),
        lines=("ProtectSystem=strict", "NoExecPaths=-/", "NoExecPaths=-/tmp"),
        files=(File("/var/lib/known/state"),),
        thorough=True,
    ),
    # It could keep a capability to look through what is hidden, which would cost more than not to hide it.
    Known(
        "look_in_turn",
        (denying("InaccessiblePaths", "/usr/local"),),
        lines=("CapabilityBoundingSet=",),
        files=(File("/usr/share/known/of-another", owner="daemon:daemon"),),
        thorough=True,
    ),
    Known(
        "spool",
        (writing("/var/spool/known"),),
        lines=("ProtectSystem=strict", "ReadWritePaths=-/var/spool/known"),
        # Not in the root tree, and there when the service starts.
        scenario={"companions": [MADE_BEFORE]},
    ),
    Known("var_declared", lines=("ProtectSystem=strict",), unit="StateDirectory=known\n", thorough=True),
    Known("run_new", lines=("ProtectSystem=strict",), thorough=True),
    Known(
        "run_new",
        lines=("ProtectSystem=strict", "ReadWritePaths=-/run"),
        title="run_new_without_mounts",
        leave_alone=WITH_RUN,
        thorough=True,
    ),
    Known(
        "home_read",
        ("ProtectHome=tmpfs",),
        ("ProtectHome=read-only",),
        files=(File("/home/known/secret"),),
        thorough=True,
    ),
    Known(
        "home_write",
        ("ProtectHome=tmpfs", writing("/home/known")),
        ("ProtectHome=read-only", "ReadWritePaths=-/home/known"),
        files=(File("/home/known/secret"),),
        thorough=True,
    ),
    Known("home_list", ("ProtectHome=yes",), ("ProtectHome=tmpfs",), unit=USER, thorough=True),
    Known(
        "root_exists",
        ("ProtectHome=tmpfs",),
        ("ProtectHome=read-only",),
        files=(File("/root/known-marker"),),
        thorough=True,
    ),
    Known("tmp_read", ("PrivateTmp=yes",), ask="echo hello >/tmp/known-shared && sh ask.sh"),
    Known(
        "tmp_write",
        ("PrivateTmp=yes", writing("/tmp")),
        ("ProtectSystem=strict", "ReadWritePaths=-/tmp"),
        steps=({"name": "shared", "run": "test -s /tmp/known-shared"},),
        thorough=True,
    ),
    Known("dev_file", ("PrivateDevices=yes",), ask="touch /dev/known && sh ask.sh", thorough=True),
    Known(
        "dev_tun",
        ("PrivateDevices=yes", denying("DeviceAllow", "/dev/net/tun")),
        ("DevicePolicy=strict", "DeviceAllow=/dev/net/tun rw"),
    ),
    Known(
        "umask_other",
        ("UMask=0027",),
        steps=({"name": "read by another user", "run": "cat /run/known/shared", "user": "nobody"},),
        thorough=True,
    ),
    Known(
        "umask_group",
        ("UMask=0077",),
        ("UMask=0027",),
        unit=USER,
        steps=({"name": "read by the group", "run": READ_BY_NOBODY},),
    ),
)

NETWORKS = (
    Known(
        "tcp",
        (NETWORK, INET, "IPAddressDeny=any"),
        ("IPAddressDeny=any", "IPAddressAllow=localhost"),
        steps=({"name": "connect", "run": GREETED, "stdout_contains": "hello", "timeout_s": 2.0},),
    ),
    Known("udp_self", (INET, "IPAddressDeny=any"), ("PrivateNetwork=yes", "IPAddressAllow=localhost"), thorough=True),
    Known(
        "udp_out",
        (NETWORK, INET, "IPAddressDeny=any but localhost"),
        title="udp_local_network",
        ask="sh ask.sh 10.9.8.7",
        scenario={"companions": [neighbour("10.9.8.7")]},
        thorough=True,
    ),
    Known(
        "udp_out",
        (NETWORK, INET, "IPAddressDeny=any but localhost"),
        ("IPAddressAllow=localhost 203.0.113.7",),
        title="udp_anywhere",
        ask="sh ask.sh 203.0.113.7",
        scenario={"companions": [neighbour("203.0.113.7")]},
        thorough=True,
    ),
    Known(
        "udp_out",
        (NETWORK, INET, "IPAddressDeny=any but localhost"),
        title="udp_named_network",
        ask="sh ask.sh 203.0.113.7",
        scenario={"networks": ["203.0.113.0/24"], "companions": [neighbour("203.0.113.7")]},
        thorough=True,
    ),
    Known("netlink", (families("AF_NETLINK"),), thorough=True),
    Known("unix", (families("AF_UNIX"),), thorough=True),
    Known(
        "abstract",
        (NETWORK, families("AF_UNIX")),
        steps=({"name": "connect", "run": GREETED_BY_NAME, "stdout_contains": "hello"},),
        thorough=True,
    ),
    Known("vsock", (families("other"),), thorough=True),
    Known("packet", (families("AF_PACKET"), without("CAP_NET_RAW"), USERS), thorough=True),
    Known("icmp", (INET, without("CAP_NET_RAW"), USERS), thorough=True),
    Known("low_port", (INET, without("CAP_NET_BIND_SERVICE"), USERS)),
    Known("net_admin", (without("CAP_NET_ADMIN"), USERS), thorough=True),
)

PRIVILEGES = (
    Known(
        "mknod_null",
        ("PrivateDevices=yes", "DevicePolicy=strict", without("CAP_MKNOD"), USERS),
        ("DevicePolicy=closed",),
        thorough=True,
    ),
    Known(
        "mknod_disk",
        ("PrivateDevices=yes", "DevicePolicy=closed", without("CAP_MKNOD"), USERS),
        thorough=True,
    ),
    Known("chown", (without("CAP_CHOWN"), calls("chown"), USERS), thorough=True),
    Known("see_owner", (USERS,), files=(File("/usr/share/known/theirs", owner="1:1"),), thorough=True),
    Known(
        "foreign_read",
        (USERS,),
        one_of=((without("CAP_DAC_OVERRIDE"),), (without("CAP_DAC_READ_SEARCH"),)),
        files=(File("/usr/share/known/theirs", mode="0600", owner="1:1"),),
        thorough=True,
    ),
    Known("setuid", (*BECOMING_NOBODY, USERS), thorough=True),
    Known(
        "setuid_or_root",
        (*BECOMING_NOBODY, USERS),
        because={
            without("CAP_SETUID"): "more privilege than at baseline: python3",
            without("CAP_SETGID"): "more privilege than at baseline: python3",
            USERS: "more privilege than at baseline: python3",
            calls("setgroups"): "step ask",
            calls("setresuid"): "step ask",
        },
        thorough=True,
    ),
    Known("kill", (without("CAP_KILL"), USERS), ask=SOMEBODY, thorough=True),
    Known("kill_or_become", (USERS,), one_of=((without("CAP_KILL"),), BECOMING_NOBODY), ask=SOMEBODY, thorough=True),
    Known("chroot", (without("CAP_SYS_CHROOT"), calls("chroot")), thorough=True),
    Known("nice", (without("CAP_SYS_NICE"), calls("setpriority"), USERS), thorough=True),
    Known("mlock", (without("CAP_IPC_LOCK"), calls("@memlock"), USERS), unit="LimitMEMLOCK=64K\n", thorough=True),
    Known("ptrace_access", (without("CAP_SYS_PTRACE"), USERS), ask=SOMEBODY, thorough=True),
    Known(
        "set_user_id",
        ("NoNewPrivileges=yes", USERS, denying("ExecPaths", "/usr/local/lib/known/id")),
        files=(File("/usr/local/lib/known/id", SETUID_PROGRAM, "4755", "1:1"),),
        thorough=True,
    ),
    Known(
        "set_user_id_root",
        ("NoNewPrivileges=yes", denying("ExecPaths", "/usr/local/lib/known/id")),
        unit=USER,
        files=(File("/usr/local/lib/known/id", SETUID_PROGRAM, "4755"),),
        thorough=True,
    ),
)

KERNEL = (
    Known("proc_stat", ("ProtectProc=noaccess",), unit=USER, ask=SOMEBODY, thorough=True),
    Known("proc_see", ("ProtectProc=invisible",), ("ProtectProc=noaccess",), unit=USER, ask=SOMEBODY),
    Known("meminfo", ("ProcSubset=pid",), thorough=True),
    Known("kallsyms", ("ProtectKernelTunables=yes", "ProcSubset=pid"), thorough=True),
    Known(
        "sysctl",
        ("ProtectKernelTunables=yes", "ProcSubset=pid"),
        because={"ProtectKernelTunables=yes": "Read-only file system", "ProcSubset=pid": "No such file"},
        thorough=True,
    ),
    Known("user_namespace", (denying("RestrictNamespaces", "user"),), thorough=True),
    Known("mount_namespace", (denying("RestrictNamespaces", "mnt"), without("CAP_SYS_ADMIN")), thorough=True),
    Known("mount", (without("CAP_SYS_ADMIN"), calls("mount"), calls("umount2"), USERS), thorough=True),
    Known(
        "mount_seen",
        (without("CAP_SYS_ADMIN"), calls("mount"), USERS, "PrivateMounts=yes"),
        steps=({"name": "seen outside", "run": "test -e /run/known-mount/mounted"},),
        thorough=True,
    ),
    Known("wx", ("MemoryDenyWriteExecute=yes",)),
    Known("real_time", ("RestrictRealtime=yes", calls("sched_setscheduler")), thorough=True),
    Known("setgid_file", ("RestrictSUIDSGID=yes",), thorough=True),
    Known("personality", ("LockPersonality=yes",), thorough=True),
    Known(
        "set_hostname", ("ProtectHostname=yes", without("CAP_SYS_ADMIN"), calls("sethostname"), USERS), thorough=True
    ),
    Known("see_hostname", ("ProtectHostname=yes",), ask="hostname renamed && sh ask.sh renamed", thorough=True),
    Known("adjtimex", ("ProtectClock=yes", calls("clock_adjtime")), thorough=True),
    Known("modules", ("ProtectKernelModules=yes",), files=(File("/usr/lib/modules/known/modules.dep"),), thorough=True),
    Known(
        "kernel_log",
        ("ProtectKernelLogs=yes", without("CAP_SYSLOG"), calls("syslog"), USERS),
        scenario={"capabilities": ["CAP_SYSLOG"]},
        machine="x86_64",
        thorough=True,
    ),
    Known("cgroup", ("ProtectControlGroups=yes",), thorough=True),
    Known("shm_shared", ("PrivateIPC=yes",), ask="sh ask.sh $(ipcmk --shmem 4096 | tr -dc 0-9)", thorough=True),
    Known(
        "shm_left",
        ("RemoveIPC=yes", "PrivateIPC=yes"),
        unit=USER,
        scenario={"after": [{"name": "still there", "run": "ipcs -m | grep 0x006b6e6f"}]},
        thorough=True,
    ),
    Known(
        "shm_file_left",
        ("RemoveIPC=yes",),
        unit=USER,
        scenario={"after": [{"name": "still there", "run": "test -e /dev/shm/known"}]},
        thorough=True,
    ),
    Known(
        "int_0x80",
        ("SystemCallArchitectures=native", denying("ExecPaths", "/usr/local/lib/known/tiny")),
        files=(File("/usr/local/lib/known/tiny", elf_of_32_bits(), "0755"),),
        machine="x86_64",
        thorough=True,
    ),
)

CALLS = (
    Known("call_swap", (calls("swapoff"),), machine="x86_64", thorough=True),
    Known("call_reboot", (calls("reboot"),), machine="x86_64", thorough=True),
    Known("call_debug", (calls("ptrace"),), machine="x86_64", thorough=True),
    Known("call_obsolete", (calls("sysfs"),), machine="x86_64", thorough=True),
    Known("call_cpu_emulation", (calls("modify_ldt"),), machine="x86_64", thorough=True),
    Known("call_raw_io", (calls("ioperm"),), machine="x86_64", thorough=True),
    Known("call_module", (calls("delete_module"),), machine="x86_64", thorough=True),
    Known("call_mount", (calls("umount2"),), machine="x86_64", thorough=True),
    Known(
        "call_unlisted",
        (calls("quotactl"),),
        ("SystemCallFilter=@system-service quotactl",),
        machine="x86_64",
        thorough=True,
    ),
    Known("call_resources", (calls("sched_setaffinity"),), thorough=True),
    Known("call_privileged", (calls("setresuid"),), thorough=True),
    # Refused whatever is tightened: an error is the same to it, and the end is not.
    Known("nice_if_it_may", (calls("setpriority"),), unit=USER, thorough=True),
)

ODD = (
    Known("noise", thorough=True),
    Known("forking", unit="Type=forking\nPIDFile=/run/known/pid\n"),
    Known("instance", unit_name="known@one.service", thorough=True),
    Known(
        "respawn",
        (calls("sched_setaffinity"),),
        because={calls("sched_setaffinity"): "step ask: no end within"},
        thorough=True,
    ),
)


def at_times_not(need: str, refused: tuple[str, ...], percent: int, *, thorough: bool = True) -> Known:
    """A service that fails by chance as well, `percent` in a hundred times."""
    asking = f'sh ask.sh "$HARNESS_SEED {percent}"'
    runs = {"baseline_runs": 3, "confirm_runs": 3}
    return Known(f"flaky_{need}", refused, ask=asking, scenario=runs, thorough=thorough)


# Says a line, and at times does not, which no step sees and which is no damage.
MUMBLING = Known(
    "mumbles",
    ("ProtectSystem=full",),
    ask='sh ask.sh "$HARNESS_SEED 20"',
    scenario={"baseline_runs": 3, "confirm_runs": 3},
    thorough=True,
)

FLAKY = (
    at_times_not("etc_new", ("ProtectSystem=full",), 5, thorough=False),
    at_times_not("var_new", (writing("/var/lib"),), 5),
    at_times_not("call_resources", (calls("sched_setaffinity"),), 5),
    at_times_not("setuid", (*BECOMING_NOBODY, USERS), 15),
)

# Seen by no step: the service answers that all is well.
CHROOT = without("CAP_SYS_CHROOT")
CHROOTING = (CHROOT, calls("chroot"))
IDLE_STEPS = ({"name": "later", "run": "true"}, {"name": "much later", "run": "true"})
QUIET = (
    Known("quiet_file", ("ProtectSystem=full",), because={"ProtectSystem=full": "no longer written: /etc/known-new"}),
    Known("quiet_warning", CHROOTING, because={CHROOT: "cannot do what I am for"}),
    Known(
        "quiet_port",
        (NETWORK, families("AF_INET6")),
        because={families("AF_INET6"): "no longer listens: tcp [::]:4711", NETWORK: "no longer listens: tcp [::]:4711"},
        steps=IDLE_STEPS,
    ),
    Known("quiet_line", CHROOTING, because={CHROOT: "no longer logged: did what I am for"}),
    Known(
        "quiet_child",
        (*CHROOTING, denying("ExecPaths", "/usr/bin/sleep")),
        because={CHROOT: "no longer runs: sleep"},
        steps=IDLE_STEPS,
    ),
)

AS_ANOTHER = (
    Known(
        "var_own",
        # /var/lib/known is a link to what systemd keeps below /var/lib/private then.
        (denying("TemporaryFileSystem", "/var/lib"),),
        lines=("DynamicUser=yes", "StateDirectory=known"),
        files=(File("/var/lib/known/state"),),
        scenario={"run_as": "dynamic"},
        title="dynamic_user",
    ),
    Known(
        "etc_new",
        ("DynamicUser=yes", "ProtectSystem=full"),
        because={"DynamicUser=yes": "step ask"},
        scenario={"run_as": "dynamic"},
        title="dynamic_user_that_cannot_be",
        thorough=True,
    ),
    Known(
        "low_port",
        (INET, without("CAP_NET_BIND_SERVICE"), USERS),
        lines=("User=daemon", "AmbientCapabilities=CAP_NET_BIND_SERVICE"),
        scenario={"run_as": "daemon"},
        title="another_user_at_a_low_port",
        thorough=True,
    ),
)

KNOWN = (*FILES, *NETWORKS, *PRIVILEGES, *KERNEL, *CALLS, *ODD, *QUIET, MUMBLING, *AS_ANOTHER)
