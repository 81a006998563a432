"""Known answers: for each need of `service.py` exactly what the harness must refuse; all else it must accept."""

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.unit import catalogue
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
    reached, and everything else is accepted. Of `one_of`, exactly one is refused as well. `lines` are lines of the
    drop-in that follow. `because` is in the reason of every refusal. `unit` are further lines of its [Service] section,
    `ask` the command of the step that asks, `scenario` further keys of the scenario.
    """

    need: str
    refused: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    because: str = ""
    unit: str = ""
    unit_name: str = "known.service"
    ask: str = "sh ask.sh"
    steps: tuple[Mapping[str, Any], ...] = ()
    files: tuple[File, ...] = ()
    scenario: Mapping[str, Any] = field(default_factory=dict)
    machine: str = ""

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
            **self.scenario,
            "ready": {"run": "test -p /run/known/ask", "timeout_s": 5.0},
            "files": [
                {"source": f"file{number}", "target": file.target, "mode": file.mode, "owner": file.owner}
                for number, file in enumerate(files)
            ],
            "steps": [asking, *self.steps],
        }


def toml(table: Mapping[str, Any]) -> str:
    """TOML of plain values, tables and lists of tables; JSON's spelling of a string or a list is TOML's too."""
    plain = {key: value for key, value in table.items() if not _is_table(value) and not _is_tables(value)}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in plain.items())
    for key, value in table.items():
        if _is_table(value):
            text += f"\n[{key}]\n{toml(value)}"
        elif _is_tables(value):
            text += "".join(f"\n[[{key}]]\n{toml(item)}" for item in value)
    return text


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and any(_is_table(item) for item in value)


def denying(directive: str, item: str) -> str:
    """Label of the step that denies `item` together with its bundle."""
    bundle = next(bundle for bundle in catalogue.load()[directive].bundles if item in bundle.items)
    return Tightening(directive, items=bundle.items).label


def without(capability: str) -> str:
    """Label of the step that takes a capability."""
    return denying("CapabilityBoundingSet", capability)


def calls(group: str) -> str:
    """Label of the step that denies a group of system calls."""
    return denying("SystemCallFilter", group)


def families(item: str) -> str:
    """Label of the step that denies an address family."""
    return denying("RestrictAddressFamilies", item)


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


ID = Path("/usr/bin/id")
USER = "User=daemon\nGroup=daemon\n"
INET = families("AF_INET")
USERS = "PrivateUsers=yes"
NETWORK = "PrivateNetwork=yes"
ALLOW_LIST = "SystemCallFilter=@system-service"
SOMEBODY = "setpriv --reuid=65534 --clear-groups sleep 60 >/dev/null 2>&1 & sh ask.sh $!"
GREETED = "bash -c 'read line </dev/tcp/127.0.0.1/8100; echo $line'"
GREETED_BY_NAME = """python3 -ISc 'import socket; s = socket.socket(1); s.connect("\\0known"); print(s.recv(9))'"""

FILES = (
    Known("nothing", lines=("ProtectSystem=strict", "CapabilityBoundingSet=", "IPAddressDeny=any", "UMask=0077")),
    Known("etc_new", ("ProtectSystem=full",), ("ProtectSystem=yes",)),
    Known(
        "etc_in_place",
        lines=("ProtectSystem=strict", "ReadWritePaths=-/etc/known.conf"),
        files=(File("/etc/known.conf"),),
    ),
    Known("etc_replace", ("ProtectSystem=full",), ("ProtectSystem=yes",), files=(File("/etc/known.conf"),)),
    Known("etc_own", lines=("ProtectSystem=strict", "ReadWritePaths=-/etc/known"), files=(File("/etc/known/state"),)),
    Known("root_new", ("ProtectSystem=strict",), ("ProtectSystem=full",)),
    Known("usr_new", ("ProtectSystem=yes",)),
    Known(
        "usr_own",
        lines=("ProtectSystem=strict", "ReadWritePaths=-/usr/share/known"),
        files=(File("/usr/share/known/state"),),
    ),
    Known("var_new", ("ProtectSystem=strict",), ("ProtectSystem=full",)),
    Known(
        "var_own",
        lines=("ProtectSystem=strict", "ReadWritePaths=-/var/lib/known"),
        files=(File("/var/lib/known/state"),),
    ),
    Known("var_declared", lines=("ProtectSystem=strict",), unit="StateDirectory=known\n"),
    Known("run_new", ("ProtectSystem=strict",), ("ProtectSystem=full",)),
    Known("home_read", ("ProtectHome=tmpfs",), ("ProtectHome=read-only",), files=(File("/home/known/secret"),)),
    Known("home_write", ("ProtectHome=read-only",), files=(File("/home/known/secret"),)),
    Known("home_list", ("ProtectHome=yes",), ("ProtectHome=tmpfs",), unit=USER),
    Known("root_exists", ("ProtectHome=tmpfs",), ("ProtectHome=read-only",), files=(File("/root/known-marker"),)),
    Known("tmp_read", ("PrivateTmp=yes",), ask="echo hello >/tmp/known-shared && sh ask.sh"),
    Known(
        "tmp_write",
        ("PrivateTmp=yes",),
        steps=({"name": "shared", "run": "test -s /tmp/known-shared"},),
    ),
    Known("dev_file", ("PrivateDevices=yes",), ask="touch /dev/known && sh ask.sh"),
    Known("dev_tun", ("PrivateDevices=yes", "DevicePolicy=closed")),
    Known(
        "umask_other",
        ("UMask=0027",),
        steps=({"name": "read by another user", "run": "cat /run/known/shared", "user": "nobody"},),
    ),
    Known(
        "umask_group",
        ("UMask=0077",),
        ("UMask=0027",),
        unit=USER,
        steps=(
            {
                "name": "read by the group",
                "run": "setpriv --reuid=65534 --regid=1 --clear-groups cat /run/known/shared",
            },
        ),
    ),
)

NETWORKS = (
    Known(
        "tcp",
        (NETWORK, INET, "IPAddressDeny=any"),
        ("IPAddressAllow=localhost",),
        steps=({"name": "connect", "run": GREETED, "stdout_contains": "hello", "timeout_s": 2.0},),
    ),
    Known("udp_self", (INET, "IPAddressDeny=any"), ("IPAddressAllow=localhost",)),
    Known(
        "udp_out",
        (NETWORK, INET, "IPAddressDeny=any but localhost"),
        ask="sh ask.sh 10.9.8.7",
        scenario={"companions": [{"run": "sleep 1000", "name": "there", "addresses": ["10.9.8.7/24"]}]},
    ),
    Known(
        "udp_out",
        (NETWORK, INET, "IPAddressDeny=any but local networks"),
        ask="sh ask.sh 203.0.113.7",
        scenario={"companions": [{"run": "sleep 1000", "name": "there", "addresses": ["203.0.113.7/24"]}]},
    ),
    Known(
        "udp_out",
        (NETWORK, INET, "IPAddressDeny=any but localhost"),
        ask="sh ask.sh 203.0.113.7",
        scenario={
            "networks": ["203.0.113.0/24"],
            "companions": [{"run": "sleep 1000", "name": "there", "addresses": ["203.0.113.7/24"]}],
        },
    ),
    Known("netlink", (families("AF_NETLINK"),)),
    Known("unix", (families("AF_UNIX"),)),
    Known(
        "abstract",
        (NETWORK, families("AF_UNIX")),
        steps=({"name": "connect", "run": GREETED_BY_NAME, "stdout_contains": "hello"},),
    ),
    Known("vsock", (families("other"),)),
    Known("packet", (families("AF_PACKET"), without("CAP_NET_RAW"), USERS)),
    Known("icmp", (INET, without("CAP_NET_RAW"), USERS)),
    Known("low_port", (INET, without("CAP_NET_BIND_SERVICE"), USERS)),
    Known("net_admin", (without("CAP_NET_ADMIN"), USERS)),
)

PRIVILEGES = (
    Known("mknod_null", ("PrivateDevices=yes", without("CAP_MKNOD"), USERS)),
    Known("mknod_disk", ("PrivateDevices=yes", "DevicePolicy=closed", without("CAP_MKNOD"), USERS)),
    Known("chown", (without("CAP_CHOWN"), calls("@privileged"), USERS)),
    Known("see_owner", (USERS,), files=(File("/usr/share/known/theirs", owner="1:1"),)),
    Known(
        "foreign_read",
        (without("CAP_DAC_OVERRIDE"), USERS),
        files=(File("/usr/share/known/theirs", mode="0600", owner="1:1"),),
    ),
    Known("setuid", (without("CAP_SETUID"), calls("@privileged"), USERS)),
    Known("setuid_or_root", (without("CAP_SETUID"), calls("@privileged"), USERS)),
    Known("kill", (without("CAP_KILL"), USERS), ask=SOMEBODY),
    Known(
        "kill_or_become",
        (USERS,),
        one_of=(without("CAP_KILL"), without("CAP_SETUID")),
        ask=SOMEBODY,
    ),
    Known("chroot", (without("CAP_SYS_CHROOT"), calls("@mount"))),
    Known("nice", (without("CAP_SYS_NICE"), calls("@resources"), USERS)),
    Known("mlock", (without("CAP_IPC_LOCK"), USERS), unit="LimitMEMLOCK=64K\n"),
    Known("ptrace_access", (without("CAP_SYS_PTRACE"), USERS), ask=SOMEBODY),
    Known(
        "set_user_id",
        ("NoNewPrivileges=yes", USERS),
        files=(File("/usr/local/lib/known/id", ID.read_bytes(), "4755", "1:1"),),
    ),
    Known(
        "set_user_id_root",
        ("NoNewPrivileges=yes",),
        unit=USER,
        files=(File("/usr/local/lib/known/id", ID.read_bytes(), "4755"),),
    ),
)

KERNEL = (
    Known("proc_stat", ("ProtectProc=noaccess",), unit=USER, ask=SOMEBODY),
    Known("proc_see", ("ProtectProc=invisible",), ("ProtectProc=noaccess",), unit=USER, ask=SOMEBODY),
    Known("meminfo", ("ProcSubset=pid",)),
    Known("kallsyms", ("ProtectKernelTunables=yes", "ProcSubset=pid")),
    Known("sysctl", ("ProtectKernelTunables=yes", "ProcSubset=pid")),
    Known("user_namespace", (denying("RestrictNamespaces", "user"),)),
    Known("mount_namespace", (denying("RestrictNamespaces", "mnt"), without("CAP_SYS_ADMIN"))),
    Known("mount", (without("CAP_SYS_ADMIN"), calls("@mount"), USERS)),
    Known(
        "mount_seen",
        (without("CAP_SYS_ADMIN"), calls("@mount"), USERS),
        steps=({"name": "seen outside", "run": "test -e /run/known-mount/mounted"},),
    ),
    Known("wx", ("MemoryDenyWriteExecute=yes",)),
    Known("real_time", ("RestrictRealtime=yes", calls("@resources"))),
    Known("setgid_file", ("RestrictSUIDSGID=yes",)),
    Known("personality", ("LockPersonality=yes",)),
    Known("set_hostname", ("ProtectHostname=yes", without("CAP_SYS_ADMIN"), ALLOW_LIST, USERS)),
    Known("see_hostname", ("ProtectHostname=yes",), ask="hostname renamed && sh ask.sh renamed"),
    Known("adjtimex", ("ProtectClock=yes", calls("@clock"))),
    Known("modules", ("ProtectKernelModules=yes",), files=(File("/usr/lib/modules/known/modules.dep"),)),
    Known(
        "kernel_log",
        ("ProtectKernelLogs=yes", without("CAP_SYSLOG"), ALLOW_LIST, USERS),
        scenario={"capabilities": ["CAP_SYSLOG"]},
    ),
    Known("cgroup", ("ProtectControlGroups=yes",)),
    Known("shm_shared", ("PrivateIPC=yes",), ask="sh ask.sh $(ipcmk --shmem 4096 | tr -dc 0-9)"),
    Known(
        "shm_left",
        ("RemoveIPC=yes", "PrivateIPC=yes"),
        unit=USER,
        scenario={"after": [{"name": "still there", "run": "ipcs -m | grep 0x006b6e6f"}]},
    ),
    Known(
        "shm_file_left",
        ("RemoveIPC=yes",),
        unit=USER,
        scenario={"after": [{"name": "still there", "run": "test -e /dev/shm/known"}]},
    ),
    Known(
        "int_0x80",
        ("SystemCallArchitectures=native",),
        files=(File("/usr/local/lib/known/tiny", elf_of_32_bits(), "0755"),),
        machine="x86_64",
    ),
)

CALLS = (
    Known("call_swap", (calls("@swap"),), machine="x86_64"),
    Known("call_reboot", (calls("@reboot"),), machine="x86_64"),
    Known("call_debug", (calls("@debug"),), machine="x86_64"),
    Known("call_obsolete", (calls("@obsolete"),), machine="x86_64"),
    Known("call_cpu_emulation", (calls("@cpu-emulation"),), machine="x86_64"),
    Known("call_raw_io", (calls("@raw-io"),), machine="x86_64"),
    Known("call_module", (calls("@module"),), machine="x86_64"),
    Known("call_mount", (calls("@mount"),), machine="x86_64"),
    Known("call_unlisted", (ALLOW_LIST,), machine="x86_64"),
    Known("call_resources", (calls("@resources"),)),
    Known("call_privileged", (calls("@privileged"),)),
)

ODD = (
    Known("memory"),
    Known("noise"),
    Known("forking", unit="Type=forking\nPIDFile=/run/known/pid\n"),
    Known("instance", unit_name="known@one.service"),
    Known("respawn", (calls("@resources"),), because="step ask"),
)

KNOWN = (*FILES, *NETWORKS, *PRIVILEGES, *KERNEL, *CALLS, *ODD)
