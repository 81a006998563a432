"""A service that is changed on purpose: `appetite.py` in one version or another, and a scenario that asks little."""

from pathlib import Path

from harness.unit import catalogue

SEARCHED = ("ProtectSystem", "ReadWritePaths", "PrivateTmp", "ProtectHome", "LockPersonality", "PrivateMounts")
UNIT = """\
[Service]
Type=exec
ExecStart=/usr/bin/python3 -ISB /usr/local/lib/changing/changing.py
RuntimeDirectory=changing
TimeoutStopSec=5
"""
# Holds memory, has children, writes somewhere: each is a number or a path of its first lines.
SERVICE = """\
HELD_MIB, CHILDREN, WRITES = {held_mib}, {children}, {writes!r}
import os, time
kept = bytearray(b"x") * (HELD_MIB * 1024 * 1024)
for _ in range(CHILDREN):
    if os.fork() == 0:
        time.sleep(3600)
if WRITES:
    try:
        with open(WRITES, "w") as file:
            file.write("written\\n")
    except OSError as error:
        raise SystemExit(f"cannot write: {{error}}")
open("/run/changing/ready", "w").close()
while True:
    time.sleep(60)
"""
FIRST = {"held_mib": 60, "children": 12, "writes": "/var/lib/changing-state"}
LIMITS = "runs = 5\nconfirm_runs = 2\nmax_trials = 30\n"


def write(folder: Path, *, limits: bool = True, searched: tuple[str, ...] = SEARCHED, **changes: object) -> Path:
    """Write the scenario with a service of version `FIRST` as far as `changes` say nothing else; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unit").write_text(UNIT)
    (folder / "changing.py").write_text(SERVICE.format(**{**FIRST, **changes}))
    left = [item.name for item in catalogue.load() if item.searched and item.name not in searched]
    left += ["CPUQuota", "LimitNOFILE"]
    alone = ", ".join(f'{name} = "not asked here"' for name in left)
    path = folder / "changing.toml"
    path.write_text(
        'format = 1\nunit = "changing.service"\nbaseline_runs = 2\nconfirm_runs = 2\nslowdown_max = 10\n'
        f"leave_alone = {{ {alone} }}\n"
        'files = [{ source = "unit", target = "/etc/systemd/system/changing.service" },\n'
        '  { source = "changing.py", target = "/usr/local/lib/changing/changing.py" }]\n'
        '[ready]\nrun = "test -e /run/changing/ready"\ntimeout_s = 5\n'
        f'[[steps]]\nname = "a while"\nkind = "{"load" if limits else "functional"}"\nrun = "sleep 0.3"\n'
        + (f"[limits]\n{LIMITS}" if limits else "")
    )
    return path
