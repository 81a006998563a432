"""`harness check` on 20 units of Debian as they run in a machine: the exposure is systemd's, and nothing that it calls
enforced is disproved by a probe that tries it under the same lines.
"""

import functools
import itertools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.check import check
from harness.judge.check import Check
from harness.judge.holding import Hold
from harness.machine.boot import Machine, MachineSpec
from harness.machine.doctor import cgroup_layout, missing_packages
from harness.machine.service import Service
from harness.machine.shell import Output
from harness.unit import canary, catalogue
from harness.unit.itemset import OTHER, kept_by
from harness.unit.unitfile import parse_cat
from tests.conftest import unavailable
from tests.systemd.test_canaries import FILTERS, WithoutBpf, WithoutControllers, WithoutFilters

pytestmark = pytest.mark.boots

SYSTEMD = (
    "systemd-journald systemd-journald@other systemd-logind systemd-hostnamed systemd-localed systemd-timedated "
    "systemd-machined systemd-importd systemd-portabled systemd-networkd user@0"
).split()
PACKAGES = {
    "dbus": "dbus", "polkit": "polkitd", "packagekit": "packagekit", "nginx": "nginx-common",
    "redis-server": "redis-server", "mosquitto": "mosquitto", "unbound": "unbound", "ssh": "openssh-server",
    "postgresql@15-main": "postgresql-15", "cron": "cron", "apache2": "apache2", "rsyslog": "rsyslog",
}  # fmt: skip
LEAST = 20
PROJECT = Path(__file__).parents[2]
GUIDE = PROJECT / "scenarios/flask-mongo/guide.service"
HOLDING = """[Service]
ExecStart=/bin/sleep infinity
"""
# All kinds of lines in one unit.
EVERYTHING = f"""{HOLDING}
User=daemon
CapabilityBoundingSet=
NoNewPrivileges=yes
UMask=0077
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateNetwork=yes
ProtectProc=invisible
ProcSubset=pid
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallFilter=@system-service
SystemCallFilter=~@resources
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX
InaccessiblePaths=/srv
ReadOnlyPaths=/run
TasksMax=20
MemoryMax=200M
CPUQuota=50%
LimitNOFILE=100
LimitCORE=0
"""
# What a twin of the unit takes over: the same confinement for a program that probes it.
KEPT = re.compile(r"Group|Supplementary|.*Directory(Mode)?$")
MARKERS = ("/tmp/outside", "/dev/outside")
OUTPUT = "/run/twins"
PROBES = {
    "no_new_privileges": 'answer(status("NoNewPrivs") == "1")',
    "no_root": "answer(os.geteuid() != 0)",
    "lacks": "answer(not any(has(name) for name in arguments))",
    "mask": "answer(os.umask(0) == int(arguments[0], 8))",
    "namespace": 'answer(os.readlink("/proc/self/ns/" + arguments[0]) != arguments[1])',
    "read_only": """
for path in arguments:
    try:
        os.close(os.open(path + "/.twin-%d" % os.getpid(), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        answer(False)
    except OSError as error:
        if error.errno != EROFS and not os.statvfs(path).f_flag & os.ST_RDONLY:
            answer(False)
answer(True)
""",
    "closed": "answer(all(mode(path) == 0 for path in arguments if os.path.lexists(path)))",
    "unseen": "answer(not any(os.path.lexists(path) for path in arguments))",
    "device": 'answer(not os.access("/harness-canary-tun", os.R_OK))',
    "settings": """
answer(not os.path.exists("/proc/sys") or os.statvfs("/proc/sys").f_flag & os.ST_RDONLY != 0)
""",
    "trees": """
mounts = [line.split(" - ")[0].split()[4] for line in open("/proc/self/mountinfo") if " - cgroup" in line]
answer(all(os.statvfs(path).f_flag & os.ST_RDONLY for path in mounts))
""",
    "calls": """
def stopped(name, *values):
    child = os.fork()
    if child == 0:
        import ctypes
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
        os._exit(7 if refused(name, *values) else 0)
    return os.waitpid(child, 0)[1] != 0
through = [line for line in arguments if not stopped(line.split()[0], *map(int, line.split()[1:]))]
say(" ".join(through))
answer(not through)
""",
    "architecture": """
import mmap
try:
    page = mmap.mmap(-1, 4096, prot=7)
except OSError:
    cannot_tell("no memory that is writable and executable")
import ctypes
page.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
signal = killed(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page))))
answer(signal == 31) if signal in (0, 31) else cannot_tell("no programs of 32-bit x86")
""",
    "write_and_execute": """
import mmap
try:
    mmap.mmap(-1, 4096, prot=7)
    answer(False)
except OSError:
    answer(True)
""",
    "addresses": """
try:
    answer(not passes("198.51.100.1"))
except OSError as error:
    cannot_tell(str(error))
""",
    "limit": """
import resource
hard = resource.getrlimit(getattr(resource, arguments[0]))[1]
answer(hard != resource.RLIM_INFINITY and hard <= int(arguments[1]))
""",
    "forks": "answer(forks(int(arguments[0]) + 2) < int(arguments[0]))",
}
OF_PARTS = {"ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock", "ProtectHostname"}
LIMITS = {"LimitNOFILE": "RLIMIT_NOFILE", "LimitCORE": "RLIMIT_CORE", "LimitNPROC": "RLIMIT_NPROC"}
Claim = tuple[str, str, tuple[str, ...]]  # directive, probe, arguments


@dataclass(frozen=True)
class Checked:
    unit: str
    found: Check
    exposure: float
    claims: tuple[Claim, ...]
    twin: str


def installed() -> list[str]:
    missing = missing_packages(PACKAGES.values(), Path("/"))
    return [*SYSTEMD, *(unit for unit, package in PACKAGES.items() if package not in missing)]


def values_of(found: Check) -> dict[str, tuple[str, Hold]]:
    return {row.name: (row.value, row.finding.hold) for row in found.rows}


def claims(found: Check, text: str, machine: Machine) -> Iterator[Claim]:
    """A probe for everything that is called enforced, and of several parts for each."""
    unit, known = parse_cat(text), catalogue.load()
    spared = {word.lstrip("-+") for line in unit.lines("Service", "ReadWritePaths") for word in line.split()}
    for row in found.rows:
        if row.finding.hold not in (Hold.ENFORCED, Hold.PARTLY):
            continue
        if row.finding.hold is Hold.PARTLY and row.name not in OF_PARTS:
            continue
        parts = {part.name for part in row.finding.parts if part.hold is Hold.ENFORCED}
        for probe, arguments in _probes(row.name, row.value, parts, unit, known, machine, spared):
            yield row.name, probe, arguments


def _probes(name, value, parts, unit, known, machine, spared):
    directive = known[name]
    lines = unit.values("Service", *directive.keys)
    if name in ("CapabilityBoundingSet", "RestrictAddressFamilies", "RestrictNamespaces"):
        kept = kept_by(directive, ("",) if value == "(empty)" else lines).kept if value != "(empty)" else frozenset()
        denied = [item for item in directive.universe if item not in kept]
    match name:
        case "NoNewPrivileges":
            yield "no_new_privileges", ()
        case "User" | "DynamicUser":
            yield "no_root", ()
        case "UMask":
            yield "mask", (value,)
        case "CapabilityBoundingSet":
            yield "lacks", tuple(denied)
        case "PrivateNetwork" | "PrivateIPC" | "PrivateUsers" | "PrivateMounts":
            kind = {"PrivateNetwork": "net", "PrivateIPC": "ipc", "PrivateUsers": "user", "PrivateMounts": "mnt"}[name]
            yield "namespace", (kind, str(Path(f"/proc/{machine.leader}/ns/{kind}").readlink()))
        case "ProtectSystem":
            trees = {"yes": ("/usr",), "full": ("/usr", "/etc"), "strict": ("/", "/usr", "/etc", "/var", "/run")}[value]
            yield "read_only", tuple(path for path in trees if path not in spared)
        case "ProtectHome" if value == "yes":
            yield "closed", ("/home", "/root", "/run/user")
        case "ProtectHome" if value == "read-only":
            yield "read_only", ("/root",)
        case "PrivateTmp":
            yield "unseen", ("/tmp/outside",)
        case "PrivateDevices":
            yield "unseen", ("/dev/outside",)
            yield "device", ()
            yield "lacks", ("CAP_MKNOD", "CAP_SYS_RAWIO")
            yield "calls", ("iopl",)
        case "DevicePolicy" | "DeviceAllow":
            yield "device", ()
        case "ProtectProc" if value == "invisible":
            yield "unseen", ("/proc/1",)
        case "ProcSubset":
            yield "unseen", ("/proc/meminfo",)
        case "ProtectKernelTunables":
            yield from (("settings", ()),) if "settings" in parts else ()
            yield from (("closed", ("/proc/kallsyms",)),) if "symbols" in parts else ()
        case "ProtectKernelModules" | "ProtectKernelLogs" | "ProtectClock" | "ProtectHostname":
            call, capability = {
                "ProtectKernelModules": ("finit_module", "CAP_SYS_MODULE"),
                "ProtectKernelLogs": ("syslog", "CAP_SYSLOG"),
                "ProtectClock": ("adjtimex", "CAP_SYS_TIME"),
                "ProtectHostname": ("sethostname", ""),
            }[name]
            yield from (("calls", (call,)),) if "system calls" in parts else ()
            yield from (("lacks", (capability,)),) if "capabilities" in parts else ()
        case "ProtectControlGroups":
            yield "trees", ()
        case "RestrictNamespaces":
            flags = {"cgroup": 0x02000000, "ipc": 0x08000000, "mnt": 0x20000, "net": 0x40000000, "pid": 0x20000000,
                     "user": 0x10000000, "uts": 0x04000000}  # fmt: skip
            yield "calls", tuple(f"unshare {flags[item]}" for item in denied)
        case "RestrictAddressFamilies":
            numbers = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, OTHER: 40}
            yield "calls", tuple(f"socket {numbers[item]} 3 0" for item in denied)
        case "RestrictRealtime":
            yield "calls", ("sched_setscheduler 0 1 0",)
        case "RestrictSUIDSGID":
            yield "calls", (f"fchmodat -100 0 {0o4755}",)
        case "LockPersonality":
            yield "calls", (f"personality {0x0040000}",)
        case "MemoryDenyWriteExecute":
            yield "write_and_execute", ()
        case "SystemCallArchitectures":
            yield "architecture", ()
        case "SystemCallFilter":
            yield "calls", tuple(denied_calls(value))
        case "IPAddressDeny":
            yield "addresses", ()
        case "InaccessiblePaths":
            yield "closed", tuple(value.split())
        case "LimitNOFILE" | "LimitCORE":
            yield "limit", (LIMITS[name], value.split(":")[-1])
        case "TasksMax":
            yield "forks", (value,)


def denied_calls(value: str) -> Iterator[str]:
    """Calls that canaries know by number and that the lines deny, read apart from what check reads."""
    words = value.split()
    allow = not words[0].startswith("~")
    groups = {"@clock": "adjtimex", "@module": "finit_module", "@mount": "umount2", "@raw-io": "iopl",
              "@reboot": "reboot", "@swap": "swapoff", "@obsolete": "sysfs", "@cpu-emulation": "modify_ldt",
              "@debug": "ptrace"}  # fmt: skip
    denying, denied = False, set()
    named = set()
    for word in words:
        denying = word.startswith("~") or (denying and not word.startswith("@s"))
        (denied if denying else named).add(word.lstrip("~"))
    for group, call in groups.items():
        if group in denied or (allow and group not in named and call not in named and "@system-service" in named):
            yield call


def twin(number: int, text: str, plan: list[tuple[str, str, tuple[str, ...]]]) -> tuple[str, str]:
    """A unit with the same confinement that runs probes: its name and text."""
    known = catalogue.load()
    lines = [
        f"{a.key}={a.value}"
        for a in parse_cat(text).assignments
        if a.section == "Service" and (known.get(a.key) is not None or KEPT.match(a.key)) and a.key != "NotifyAccess"
    ]
    program = canary.program(plan)
    for mark, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("%", "%%"), ("$", "$$")):
        program = program.replace(mark, escaped)
    head = ["[Unit]", "DefaultDependencies=no", "[Service]", "Type=oneshot", "RuntimeDirectoryPreserve=yes"]
    # Where a unit lets only its own program be run, the one that probes is let through too.
    lines += ["ExecPaths=/usr/bin"] if any(line.startswith("NoExecPaths=") for line in lines) else []
    body = [f"StandardOutput=append:{OUTPUT}", f'ExecStart=/usr/bin/python3 -ISBc "{program}"']
    return f"twin-{number}.service", "\n".join([*head, *lines, *body, ""])


def files() -> dict[str, tuple[bytes, int, tuple[int, int]]]:
    guide = GUIDE.read_text().replace("Type=notify", "Type=exec")
    guide = re.sub(r"^(ExecStart|WorkingDirectory|ExecReload)=.*\n", "", guide, flags=re.MULTILINE)
    guide = guide.replace("[Service]", HOLDING.rstrip()).replace("/opt/orders", "/opt").replace("/orders\n", "\n")
    units = {"everything": EVERYTHING, "guide": guide}
    return {f"/etc/systemd/system/{name}.service": (text.encode(), 0o644, (0, 0)) for name, text in units.items()}


@functools.cache
def checked() -> tuple[tuple[Checked, ...], dict[str, tuple[str, str]]]:
    """Every unit as checked, and what each probe answered by its key: exit status and text."""
    keep = frozenset({"systemd-networkd.service"})
    with Machine(MachineSpec(files=files(), keep_units=keep)) as machine:
        helper = (
            canary.helper().replace("0o600", "0o666").replace("answer(True)", "os.chmod('/harness-canary-tun', 0o666)")
        )
        machine.run(["/usr/bin/python3", "-c", f"{canary.program([])}\n{helper}"])
        for marker in MARKERS:
            machine.path(marker).write_text("")
        units = [f"{name}.service" for name in [*installed(), "everything", "guide"]]
        for unit in units:
            machine.run(["systemctl", "start", unit])
        # An image may have some of systemd's own masked.
        units = [unit for unit in units if Service(machine, unit).show(["LoadState"])["LoadState"] != "masked"]
        result = [_look(machine, unit, number) for number, unit in enumerate(units)]
        machine.run(["systemctl", "daemon-reload"])
        machine.run(["systemctl", "start", *(each.twin for each in result if each.claims)])
        text = machine.path(OUTPUT).read_text(errors="replace")
    said = dict(line.split("\t", 1) for line in text.splitlines())
    return tuple(result), {key: tuple(rest.split("\t", 1)) for key, rest in said.items()}


def _look(machine: Machine, unit: str, number: int) -> Checked:
    found = check(unit, read_filters=True, system=machine)
    text = Service(machine, unit).text()
    told = re.search(r"Overall exposure level for \S+: (\S+)", Service(machine, unit).exposure_text())
    assert told is not None, unit
    made = tuple(claims(found, text, machine))
    plan = [(f"{unit}/{at}", PROBES[probe], arguments) for at, (_, probe, arguments) in enumerate(made)]
    name, twin_text = twin(number, text, plan)
    if "%i" in twin_text.partition("ExecStart=")[0]:
        made = ()
    machine.path(f"/etc/systemd/system/{name}").write_text(twin_text)
    return Checked(unit, found, float(told[1]), made, name)


def test_enough_units_run() -> None:
    running = [each.unit for each in checked()[0] if each.found.running]
    if len(running) < LEAST + 2:
        unavailable(f"only these services of Debian run here: {' '.join(running)}")
    assert {"everything.service", "guide.service", "redis-server.service"} <= set(running)


def test_exposure_is_what_systemd_says() -> None:
    assert {each.unit: each.found.exposure for each in checked()[0]} == {e.unit: e.exposure for e in checked()[0]}
    assert len({each.exposure for each in checked()[0]}) > 5


def test_no_probe_disproves_what_is_called_enforced() -> None:
    results, said = checked()
    disproved, tried = [], 0
    for each in results:
        for at, (directive, probe, arguments) in enumerate(each.claims):
            status, text = said.get(f"{each.unit}/{at}", ("none", "the twin did not run"))
            if status == "42":
                continue
            tried += 1
            if status != "40":
                disproved.append(f"{each.unit} {directive} {probe} {arguments}: {status} {text}")
    assert "\n".join(disproved) == ""
    assert tried > 200


def test_everything_set_is_found_to_be_enforced() -> None:
    found = next(each.found for each in checked()[0] if each.unit == "everything.service")
    assert [
        (row.name, row.finding.hold.value) for row in found.rows if row.finding.hold is not Hold.ENFORCED and row.value
    ] == []


def test_the_guide_says_more_than_it_does() -> None:
    found = next(each.found for each in checked()[0] if each.unit == "guide.service")
    idle = {(each.line.key, each.words) for each in found.idle}
    assert ("AmbientCapabilities", ()) in idle
    assert ("ReadOnlyPaths", ("/",)) in idle
    assert ("ReadWritePaths", ("/tmp",)) in idle
    words = next(each.words for each in found.idle if each.line.key == "SystemCallFilter")
    assert [word for word in words if word != "@privileged"] == list(words)
    assert len(words) == 7


def held(kind: type[Machine]) -> dict[str, Hold]:
    with kind(MachineSpec(files=files())) as machine:
        assert machine.run(["systemctl", "start", "everything", "guide"]).status == 0
        one = values_of(check("everything.service", read_filters=True, system=machine))
        other = values_of(check("guide.service", read_filters=True, system=machine))
    return {**{name: hold for name, (value, hold) in one.items() if value}, "IPAddressDeny": other["IPAddressDeny"][1]}


def test_filters_that_are_not_loaded_are_missed() -> None:
    found = held(WithoutFilters)
    wrong = {name: found[name] for name in FILTERS & set(found) if found[name] is not Hold.ABSENT}
    assert wrong == {"SystemCallErrorNumber": Hold.NO_LIMIT} or wrong == {}
    assert found["PrivateDevices"] is Hold.PARTLY
    assert found["ProtectHome"] is Hold.ENFORCED


@pytest.mark.skipif(cgroup_layout() == "v2", reason="nspawn of 257 lets machines load BPF programs by itself")
def test_an_address_filter_that_cannot_be_loaded_is_missed() -> None:
    assert held(WithoutBpf)["IPAddressDeny"] is Hold.ABSENT


@pytest.mark.skipif(cgroup_layout() == "v2", reason="nspawn mounts control group v2 writable")
def test_limits_without_a_controller_are_missed() -> None:
    found = held(WithoutControllers)
    assert {found[name] for name in ("MemoryMax", "CPUQuota", "TasksMax")} == {Hold.ABSENT}
    assert found["LimitNOFILE"] is Hold.ENFORCED


def test_nothing_of_the_unit_changes() -> None:
    """A look, filters included, leaves the same processes in the same state."""
    with Machine(MachineSpec(files=files())) as machine:
        machine.run(["systemctl", "start", "everything"])
        service = Service(machine, "everything.service")
        before = service.status()
        for _ in itertools.repeat(None, 5):
            check("everything.service", read_filters=True, system=machine)
        assert service.status() == before
        traced = Path(f"/proc/{service.pids()[0]}/status").read_text()
        assert "TracerPid:\t0" in traced


INSIDE = "/opt/harness"
COMMAND = "import sys; sys.argv[0] = 'harness'; from harness.cli import main; main()"


def command(machine: Machine, *arguments: str) -> Output:
    """The command line, called in a machine whose systemd is then `this host`."""
    python = f"{INSIDE}/.venv/bin/python" if (PROJECT / ".venv").exists() else sys.executable
    argv = ["env", f"PYTHONPATH={INSIDE}", python, "-c", COMMAND, "check", *arguments]
    return machine.run(argv)


def test_the_command_on_its_own_host() -> None:
    loose = f"{HOLDING}NoNewPrivileges=yes\n"
    units = {**files(), "/etc/systemd/system/loose.service": (loose.encode(), 0o644, (0, 0))}
    with Machine(MachineSpec(files=units, trees={INSIDE: PROJECT})) as machine:
        assert machine.run(["systemctl", "start", "everything", "loose"]).status == 0
        done = command(machine, "everything", "--json", "--filters", "--min", "50")
        assert done.status == 0, done.error_text
        data = json.loads(done.text)
        assert {each["holds"] for each in data["directives"] if each["value"]} == {"enforced"}
        assert command(machine, "loose.service", "--min", "1").status == 0
        assert command(machine, "loose.service", "--min", "20").status == 1
        # A line that came after the start: the processes do not have it.
        drop_in = machine.path("/etc/systemd/system/loose.service.d/x.conf")
        drop_in.parent.mkdir()
        drop_in.write_text("[Service]\nPrivateTmp=yes\n")
        machine.run(["systemctl", "daemon-reload"])
        done = command(machine, "loose")
        assert done.status == 1
        assert "PrivateTmp=yes" in done.text
        assert "not enforced" in done.text
        assert command(machine, "nothing-of-that-name").status == 2


def test_canaries_tell_what_this_host_does_not_enforce(tmp_path: Path) -> None:
    file = tmp_path / "a.service"
    file.write_text(f"{HOLDING}RestrictFileSystems=~@network\nProtectSystem=strict\n")
    found = check(str(file), try_canaries=True)
    # Machines cannot load the BPF LSM programs that it needs (docs/canaries.md).
    assert [(each.line.key, "vacuous" in each.why) for each in found.idle] == [("RestrictFileSystems", True)]
    assert [row.name for row in found.not_enforced] == ["RestrictFileSystems"]
