"""The recommendation in the words of other tools: a NixOS `serviceConfig` and an Ansible task."""

import json
from dataclasses import dataclass

from harness.results.folder import Run
from harness.unit.dropin import FILE_NAME
from harness.unit.unitfile import parse


@dataclass(frozen=True)
class Export:
    """One text for another tool."""

    title: str
    file_name: str
    text: str


def of_run(run: Run) -> list[Export]:
    """Every export of a run's drop-in."""
    name = run.unit.removesuffix(".service")
    return [
        Export("NixOS", f"{name}.nix", nixos(run.unit, run.drop_in)),
        Export("Ansible", f"{name}.ansible.yml", ansible(run.unit, run.drop_in)),
    ]


def nixos(unit: str, drop_in: str) -> str:
    """A NixOS module that sets `systemd.services.NAME.serviceConfig`.

    A directive with several lines becomes a list, which NixOS writes as repeated lines, its reset included. `mkForce`
    takes the place of what the service's own module sets, as a drop-in would.
    """
    name = unit.removesuffix(".service")
    found: dict[str, list[str]] = {}
    for assignment in parse(drop_in).assignments:
        found.setdefault(assignment.key, []).append(assignment.value)
    lines = [f"# {line[2:]}" for line in drop_in.splitlines() if line.startswith("# ")][:2]
    lines += ["{ lib, ... }:", "{", f"  systemd.services.{_nix_string(name)}.serviceConfig = {{"]
    for key, values in found.items():
        text = _nix_string(values[0]) if len(values) == 1 else f"[ {' '.join(map(_nix_string, values))} ]"
        lines.append(f"    {key} = lib.mkForce {text};")
    return "\n".join([*lines, "  };", "}"]) + "\n"


def ansible(unit: str, drop_in: str) -> str:
    """An Ansible playbook that puts the drop-in in place and restarts the service when it changed."""
    folder = f"/etc/systemd/system/{unit}.d"
    content = "".join(f"          {line}\n" if line else "\n" for line in drop_in.splitlines())
    return f"""\
- name: {_yaml(f"Harden {unit}")}
  hosts: all
  become: true
  tasks:
    - name: Make the folder of drop-ins
      ansible.builtin.file:
        path: {_yaml(folder)}
        state: directory
        mode: "0755"
    - name: Write the drop-in
      ansible.builtin.copy:
        dest: {_yaml(f"{folder}/{FILE_NAME}")}
        mode: "0644"
        # Not a template: what looks like one is text of the unit.
        content: !unsafe |
{content}      notify: Restart
  handlers:
    - name: Restart
      ansible.builtin.systemd_service:
        name: {_yaml(unit)}
        daemon_reload: true
        state: restarted
"""


def _nix_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def _yaml(text: str) -> str:
    """A YAML scalar: every JSON string is one."""
    return json.dumps(text, ensure_ascii=False)
