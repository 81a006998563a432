"""The scenario file: what a service must be able to do, and when it counts as having done it.

One TOML file per service, checked here and nowhere else; `docs/scenario.md` is its reference for people and
`schema_json` for editors. Every mistake is reported at once, with file, key and what is allowed.
"""

import grp
import hashlib
import ipaddress
import json
import pwd
import re
import tomllib
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from harness import clashes
from harness.errors import ScenarioError
from harness.mistakes import Wording
from harness.steps import Check, Flaky, LifeCycle, Limits, Pattern, Ready, Seconds, Step, StepKind, Table

FORMAT = 1
INSIDE = "/harness-scenario"
GRANTABLE_CAPABILITIES = Literal[
    "CAP_SYS_TIME", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_BOOT", "CAP_SYSLOG",
    "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_SYS_PACCT", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
]  # fmt: skip


def _network(value: str) -> str:
    ipaddress.ip_network(value, strict=False)
    return value


def _address(value: str) -> str:
    if "/" not in value:
        raise ValueError("needs a prefix length, like 10.1.2.3/24")
    ipaddress.ip_interface(value)
    return value


Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
AbsolutePath = Annotated[str, Field(pattern=r"^/")]


class Start(Enum):
    """Where the search starts: the unit as shipped, or without any of its sandboxing."""

    SHIPPED = "shipped"
    STRIPPED = "stripped"


def _lasting_path(value: str) -> str:
    if ".." in value.split("/") or value.endswith("/"):
        raise ValueError("must be the path of a file, without `..`")
    if re.match(r"^/+(run|proc|sys|dev|tmp|var/run|var/lock)(/|$)", value):
        raise ValueError("this directory is made new at boot; install elsewhere, or make it in a step")
    return value


class InstalledFile(Table):
    """A file from beside the scenario that is put into the machine before it boots."""

    source: str = Field(min_length=1, description="Path relative to the scenario file")
    target: AbsolutePath = Field(
        description="Absolute path inside the machine, not below /run, /proc, /sys, /dev or /tmp"
    )
    mode: str = Field("0644", pattern=r"^0?[0-7]{3,4}$", description="Permissions in octal")
    owner: str = Field("root:root", pattern=r"^[^:]+:[^:]+$", description="user:group, by name or number")

    @field_validator("target")
    @classmethod
    def _lasting(cls, value: str) -> str:
        return _lasting_path(value)


class Tree(Table):
    """A directory that machines are shown: programs that no package brings, such as a virtual environment."""

    source: str = Field(min_length=1, description="Directory relative to the scenario file")
    target: AbsolutePath = Field(
        description="Absolute path inside the machine, not below /run, /proc, /sys, /dev or /tmp"
    )
    made_by: str = Field(min_length=1, description="Command line that makes it, told where it is missing")

    @field_validator("target")
    @classmethod
    def _lasting(cls, value: str) -> str:
        return _lasting_path(value)


class Companion(Table):
    """Another service the unit talks to; started before it, in the same machine."""

    unit: str | None = Field(None, pattern=r"^[^/\s]+\.(service|socket)$", description="An installed unit to start")
    run: str | None = Field(None, min_length=1, description="Or a command line to keep running")
    name: str | None = Field(None, pattern=r"^[a-z0-9-]+$", description="For `run`: its name")
    addresses: tuple[Address, ...] = Field((), description="Addresses it has in the machine, like 10.1.2.3/24")
    ready: Ready | None = Field(None, description="How to know that it is ready")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.unit is None) == (self.run is None):
            raise ValueError("say either `unit` or `run`")
        if self.run is not None and self.name is None:
            raise ValueError("a companion with `run` needs a `name`")
        return self


class Scenario(Table):
    """A whole scenario file. `path` is where it was read from and not part of its identity."""

    format: Literal[1] = Field(1, description="Format of this file")
    description: str = Field("", description="One line for people")
    unit: str = Field(
        pattern=r"^[^/\s]+\.[a-z]+$", description="The unit to tune, such as redis-server.service or x@instance.service"
    )
    start: Start = Field(Start.STRIPPED, description="shipped: tighten the unit as it is; stripped: from no sandboxing")
    root: AbsolutePath = Field("/", description="Root tree the machine is made from (never written to)")
    packages: tuple[str, ...] = Field((), description="Debian packages that must be installed in the root tree")
    files: tuple[InstalledFile, ...] = Field((), description="Files to put into the machine")
    trees: tuple[Tree, ...] = Field((), description="Directories that are shown inside, for what no package brings")
    companions: tuple[Companion, ...] = Field((), description="Other services it talks to")
    networks: tuple[Network, ...] = Field((), description="Networks it may talk to beside the local ones, as CIDR")
    capabilities: tuple[GRANTABLE_CAPABILITIES, ...] = Field(
        (), description="Capabilities that reach past the machine and are withheld unless named here"
    )
    seed: int = Field(1, ge=0, description="Start of the seeds that steps see as HARNESS_SEED")
    baseline_runs: int = Field(3, ge=1, le=20, description="How often the baseline must pass")
    confirm_runs: int = Field(3, ge=1, le=100, description="How often the whole answer must pass")
    slowdown_max: float = Field(1.5, ge=1.0, le=100, description="Allowed slowdown of load steps against the baseline")
    start_timeout_s: Seconds = Field(30.0, description="Seconds the unit may take to become active")
    stop_timeout_s: Seconds = Field(30.0, description="Seconds the unit may take to stop")
    ready: Ready = Field(default_factory=lambda: Ready.model_validate({}), description="How to know that it is ready")
    steps: tuple[Step, ...] = Field(min_length=1, description="What it must be able to do, in order")
    life_cycle: tuple[LifeCycle, ...] = Field((), description="Reload, restart, signals, and commands between them")
    after: tuple[Step, ...] = Field((), description="What must be true after it was stopped")
    limits: Limits = Field(default_factory=lambda: Limits.model_validate({}), description="How limits are fitted")
    flaky: Flaky = Field(default_factory=lambda: Flaky.model_validate({}), description="How a flaky service is judged")
    run_as: str = Field(
        "", pattern=r"^([a-z_][a-z0-9_-]*)?$", description="For a service of root: a user to try, or `dynamic`"
    )
    leave_alone: dict[str, str] = Field({}, description="Directives not to touch, each with the reason")
    ignore_log: tuple[Pattern, ...] = Field((), description="Regular expressions of log lines that are no damage")
    path: Path = Field(Path(), exclude=True)

    @field_validator("unit")
    @classmethod
    def _is_service(cls, value: str) -> str:
        if not value.endswith(".service"):
            raise ValueError("only services can be tuned: the name must end in .service")
        if "@." in value:
            raise ValueError("a template needs an instance: name@instance.service")
        return value

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [step.name for step in (*self.steps, *self.after)] + [action.name for action in self.life_cycle]
        if mistakes := clashes.between(names, [item.target for item in self.files]):
            raise ValueError("; ".join(mistakes))
        return self

    @property
    def name(self) -> str:
        """The scenario's name: its file name without .toml."""
        return self.path.stem

    @property
    def folder(self) -> Path:
        """The folder beside the file that holds its scripts and files; may not exist."""
        return self.path.parent / self.name

    @property
    def tree_paths(self) -> dict[str, Path]:
        """The directories that are shown inside, by the path there."""
        return {each.target: (self.path.parent / each.source).resolve() for each in self.trees}

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses that the machine's network needs beside loopback."""
        return tuple(dict.fromkeys(address for companion in self.companions for address in companion.addresses))

    def identity(self) -> str:
        """Hash over the scenario and every file it brings: a run may be resumed only with the same."""
        digest = hashlib.sha256(self.model_dump_json(exclude={"path"}).encode())
        for path, (content, mode, owner) in sorted(self.machine_files().items()):
            digest.update(repr((path, mode, owner)).encode() + content)
        return digest.hexdigest()[:16]

    def digests(self) -> dict[str, str]:
        """What it puts into the machine: path inside → digest of content, mode and owner."""
        return {
            path: hashlib.sha256(repr((mode, owner)).encode() + content).hexdigest()[:16]
            for path, (content, mode, owner) in sorted(self.machine_files().items())
        }

    def machine_files(self) -> dict[str, tuple[bytes, int, tuple[int, int]]]:
        """What to put into the machine: path inside → content, mode, (uid, gid)."""
        result = {}
        if self.folder.is_dir():
            for file in sorted(self.folder.rglob("*")):
                # What is written for people is no part of what is tried.
                if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".md":
                    mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
                    result[f"{INSIDE}/{file.relative_to(self.folder)}"] = (file.read_bytes(), mode, (0, 0))
        for item in self.files:
            content = (self.path.parent / item.source).read_bytes()
            result[item.target] = (content, int(item.mode, 8), _owner(item.owner, Path(self.root)))
        return result


def _owner(text: str, root: Path) -> tuple[int, int]:
    """Numeric owner of `user:group`, looked up in the root tree's own files."""
    user, group = text.split(":")
    return _number(user, root / "etc/passwd", pwd.getpwnam), _number(group, root / "etc/group", grp.getgrnam)


def _number(name: str, database: Path, lookup: Any) -> int:
    if name.isdigit():
        return int(name)
    for line in database.read_text(errors="replace").splitlines() if database.exists() else []:
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2:
            return int(fields[2])
    try:
        if database.parent != Path("/etc"):
            raise KeyError(name)  # this machine's users are not those of another root tree
        entry = lookup(name)
    except KeyError:
        raise ScenarioError(
            f"files: no user or group {name!r} in {database}", hint="use a number, or one that exists there"
        ) from None
    return int(entry[2])


_WORDING = Wording(
    Scenario,
    {
        "steps": Step,
        "after": Step,
        "life_cycle": LifeCycle,
        "files": InstalledFile,
        "trees": Tree,
        "companions": Companion,
        "ready": Ready,
        "limits": Limits,
        "flaky": Flaky,
    },
    hidden={"path"},
)


def load(path: Path) -> Scenario:
    """Read and check a scenario file.

    Raises ScenarioError that lists every mistake with file and key.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = sorted(item.name for item in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        known = f"; there are: {', '.join(near)}" if near else ""
        raise ScenarioError(
            f"{path}: no such scenario{known}", hint="`harness init UNIT` writes one for an installed unit"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ScenarioError(f"{path}: {error}", hint="the file must be TOML in UTF-8") from error
    mistakes: list[str] = []
    scenario = None
    if "path" in raw:
        mistakes.append(_WORDING.unknown(("path",)))  # a field of the model, and not a key of the file
    try:
        scenario = Scenario.model_validate({**raw, "path": path})
    except ValidationError as error:
        mistakes += _WORDING.of(error)
    mistakes += clashes.of(raw, path.parent)
    if mistakes or scenario is None:
        listing = "\n".join(f"  {item}" for item in mistakes)
        raise ScenarioError(
            f"{path}: {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}\n{listing}",
            hint="docs/scenario.md lists every key; scenarios/scenario.schema.json serves editors",
        )
    return scenario


def schema_json() -> str:
    """JSON Schema of the scenario file, for editors."""
    schema = Scenario.model_json_schema()
    schema["properties"].pop("path", None)
    schema["title"] = "harness scenario"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


__all__ = [
    "INSIDE",
    "Check",
    "Companion",
    "Flaky",
    "InstalledFile",
    "LifeCycle",
    "Limits",
    "Ready",
    "Scenario",
    "Start",
    "Step",
    "StepKind",
    "Tree",
    "load",
    "schema_json",
]
