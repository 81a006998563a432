"""What is handed to other tools is read by those tools."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.report import exports
from harness.unit.unitfile import parse
from tests.conftest import unavailable
from tests.report.sample import sample

AWKWARD = (
    "# a comment\n[Service]\nProtectSystem=strict\nReadWritePaths=\n"
    'ReadWritePaths="-/var/lib/a b\\\\c${x}"\nReadWritePaths=-/srv/%%x/{{ y }}\nCapabilityBoundingSet=\nUMask=0077\n'
)
TEXTS = {"sample": sample().drop_in, "awkward": AWKWARD}


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        unavailable(f"no {name} here: apt-get install --no-install-recommends {package}")
    return found


def assignments(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in parse(text).assignments:
        found.setdefault(item.key, []).append(item.value)
    return found


@pytest.mark.parametrize("drop_in", TEXTS.values(), ids=TEXTS)
def test_nix_reads_back_every_line(tmp_path, drop_in):
    nix = program("nix-instantiate", "nix-bin")
    (tmp_path / "module.nix").write_text(exports.nixos("a-b.service", drop_in))
    whole = "(import ./module.nix { lib.mkForce = value: value; }).systemd.services.a-b.serviceConfig"
    done = subprocess.run(
        [nix, "--eval", "--strict", "--json", "--expr", whole.replace("./", f"{tmp_path}/")],
        env={"HOME": str(tmp_path), "NIX_STATE_DIR": str(tmp_path), "NIX_STORE_DIR": str(tmp_path), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = {key: value if isinstance(value, list) else [value] for key, value in json.loads(done.stdout).items()}
    assert told == assignments(drop_in)


@pytest.mark.parametrize("drop_in", TEXTS.values(), ids=TEXTS)
def test_ansible_writes_the_drop_in(tmp_path, drop_in):
    """Its own syntax check, and its first two tasks run on a folder of the test's."""
    ansible = program("ansible-playbook", "ansible-core")
    text = exports.ansible("a-b.service", drop_in)
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(text)
    call = [ansible, "-i", "localhost,", "-c", "local", str(playbook)]
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    checked = subprocess.run([*call, "--syntax-check"], env=home, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    # Written below the test's folder, by this user, and nothing restarted.
    harmless = text.replace("/etc/systemd/system", str(tmp_path)).replace("become: true", "gather_facts: false")
    playbook.write_text(harmless[: harmless.index("      notify:")])
    done = subprocess.run(call, env=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "a-b.service.d" / "50-harness.conf").read_text() == drop_in


def test_no_other_tool_is_needed_to_make_them():
    assert [item.file_name.rpartition(".")[2] for item in exports.of_run(sample())] == ["nix", "yml"]


def test_full_unit_is_a_unit(tmp_path):
    """`systemd-analyze verify` reads the whole unit of the sample."""
    path = Path(tmp_path / sample().unit)
    # Its program is in the machine only.
    path.write_text(sample().full_unit.replace("/usr/bin/python3", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if path.name in line]
    assert complaints == []
