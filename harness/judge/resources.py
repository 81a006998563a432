"""What control groups, resource limits and BPF programs show of a unit."""

from collections.abc import Callable

from harness.judge.settings import Setting
from harness.unit.confined import Look
from harness.unit.quantity import parse_percent, parse_size

Seen = tuple[bool | None, str]
# Names that systemd gives its BPF programs (src/core/bpf-*.c), by the directive that makes them.
PROGRAMS = {
    "IPAddressDeny": ("sd_fw_ingress", "sd_fw_egress"),
    "SocketBindDeny": ("sd_bind4", "sd_bind6"),
    "RestrictNetworkInterfaces": ("sd_restrictif_i", "sd_restrictif_e"),
}


def device_policy(setting: Setting, look: Look) -> Seen:
    """Whether the device controller has a list for the unit (v1), or a BPF program stands before it (v2)."""
    listed = look.control.get("devices.list")
    if listed is not None:
        if listed == look.control.get("devices.outer"):
            return False, "devices.list is that of every unit"
        return True, f"devices.list has {len(listed.splitlines())} rules"
    if look.programs is None:
        return None, "the kernel does not say which programs stand before devices"
    found = any(name.startswith("sd_devices") for name in look.programs)
    return found, "a program stands before devices" if found else "no program stands before devices"


def size_bytes(text: str, whole_bytes: int | None) -> int | None:
    """A size or a share of the whole in bytes; None for `infinity` and for what is neither."""
    try:
        if text.endswith("%"):
            return None if whole_bytes is None else int(whole_bytes * parse_percent(text) / 100)
        return parse_size(text)
    except ValueError:
        return None


def _programs(setting: Setting, look: Look) -> Seen:
    if look.programs is None:
        return None, "the kernel does not say which programs it runs for this control group"
    wanted = PROGRAMS[setting.directive.name]
    missing = [name for name in wanted if name not in look.programs]
    if missing:
        return False, f"the kernel runs no program {' or '.join(missing)} for this control group"
    return True, f"the kernel runs {' and '.join(wanted)} for it"


def _memory(setting: Setting, look: Look) -> Seen:
    file = {"MemoryHigh": "memory.high", "MemorySwapMax": "memory.swap.max"}.get(setting.directive.name, "memory.max")
    has = look.control.get(file)
    wanted = size_bytes(setting.value, look.host.memory_bytes)
    if wanted is None:
        return None, f"{setting.value} cannot be compared here"
    if has is None:
        return False, "there is no memory controller for it"
    # The kernel counts whole pages.
    ok = has != "max" and int(has) <= wanted
    return ok, f"{file} is {has}"


def _cpu(setting: Setting, look: Look) -> Seen:
    text = look.control.get("cpu.max")
    if text is None:
        return False, "there is no cpu controller for it"
    quota, period = text.split()[:2]
    if quota == "max":
        return False, f"cpu.max is {text}"
    share = int(quota) / int(period) * 100
    wanted = parse_percent(setting.value)
    return share <= wanted * 1.02, f"cpu.max is {text}: {share:.0f}%"


def _tasks(setting: Setting, look: Look) -> Seen:
    text = look.control.get("pids.max")
    if text is None:
        return False, "there is no pids controller for it"
    if not setting.value.isdigit():
        return (text != "max", f"pids.max is {text}")
    return text != "max" and int(text) <= int(setting.value), f"pids.max is {text}"


def _limit(setting: Setting, look: Look) -> Seen:
    name = setting.directive.name
    wanted = setting.value.split(":")[-1]
    most = size_bytes(wanted, None)
    if name == "LimitNPROC" and any(process.uid == 0 for process in look.processes):
        return False, "a process is root, for whom it does not hold"
    for process in look.processes:
        if name not in process.limits:
            return None, "not in /proc/PID/limits"
        hard = process.limits[name][1]
        if most is not None and (hard is None or hard > most):
            return False, f"{process.comm} (pid {process.pid}) has {'no limit' if hard is None else hard}"
    return True, f"the hard limit of every process is {wanted} or less"


CHECKS: dict[str, Callable[[Setting, Look], Seen]] = {
    **dict.fromkeys(PROGRAMS, _programs),
    "DevicePolicy": device_policy,
    "DeviceAllow": device_policy,
    **dict.fromkeys(("MemoryMax", "MemoryLimit", "MemoryHigh", "MemorySwapMax"), _memory),
    "CPUQuota": _cpu,
    "TasksMax": _tasks,
    **dict.fromkeys(("LimitNOFILE", "LimitNPROC", "LimitCORE", "LimitMEMLOCK", "LimitFSIZE", "LimitAS"), _limit),
}
