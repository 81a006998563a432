"""What load generators say of throughput and latency, read from their own output.

`json` is for any other: the last line of the output that is a JSON object with `throughput_per_s`, `latency_p50_s` or
`latency_p99_s`. Formats as printed by wrk 4, ab 2.3, redis-benchmark 7, pgbench 15, hey 0.1 and dnsperf 2.
"""

import csv
import json
import re
from collections.abc import Callable

from harness.observation import Load

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
LEAST_AB_MS = 10
NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"
Parser = Callable[[str], Load | None]


def _first(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text, re.MULTILINE)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def _timed(percent: int, text: str) -> float | None:
    """A line such as ` 99%   1.23ms` of wrk, in seconds."""
    found = re.search(rf"^\s*{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    return float(found[1]) * _UNITS_S[found[2]] if found else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _load(throughput_per_s: float | None, p50_s: float | None = None, p99_s: float | None = None) -> Load | None:
    """Figures that mean something; None when there is no throughput and no latency."""
    if throughput_per_s is not None and throughput_per_s <= 0:
        return None
    said = Load(throughput_per_s, p50_s, p99_s)
    return None if said == Load() else said


def _wrk(text: str) -> Load | None:
    return _load(_first(rf"^Requests/sec:\s+{NUMBER}", text), _timed(50, text), _timed(99, text))


def _ab(text: str) -> Load | None:
    """It prints whole milliseconds: of less than ten a 99 % latency cannot tell a slowdown of a tenth."""
    p50_ms, p99_ms = (_first(rf"^\s*{percent}%\s+{NUMBER}\s*$", text) for percent in (50, 99))
    p99_ms = p99_ms if p99_ms is not None and p99_ms >= LEAST_AB_MS else None
    rate = _first(rf"^Requests per second:\s+{NUMBER}", text)
    return None if rate is None else _load(rate, _scaled(p50_ms, 1e-3), _scaled(p99_ms, 1e-3))


def _hey(text: str) -> Load | None:
    p50_s, p99_s = (_first(rf"^\s*{percent}%+ in {NUMBER} secs", text) for percent in (50, 99))
    return _load(_first(rf"^\s*Requests/sec:\s+{NUMBER}", text), p50_s, p99_s)


def _redis_benchmark(text: str) -> Load | None:
    """All its tests together: as many requests in each, so the mean is the harmonic one; the worst latencies."""
    rates, p50_ms, p99_ms = [], [], []
    for row in csv.reader(line for line in text.splitlines() if line.startswith('"')):
        if len(row) >= 8 and re.fullmatch(NUMBER, row[1]):
            rates.append(float(row[1]))
            p50_ms.append(float(row[4]))
            p99_ms.append(float(row[6]))
    if not rates:
        quiet = re.findall(rf"([\d.]+) requests per second, p50={NUMBER} msec", text.replace("\r", "\n"))
        done = [(float(rate), float(p50)) for rate, p50 in quiet]
        rates, p50_ms = [rate for rate, _ in done], [p50 for _, p50 in done]
    if not rates or min(rates) <= 0:
        return None
    mean = len(rates) / sum(1 / rate for rate in rates)
    return _load(mean, _scaled(max(p50_ms, default=None), 1e-3), _scaled(max(p99_ms, default=None), 1e-3))


def _pgbench(text: str) -> Load | None:
    return _load(_first(rf"^tps = {NUMBER}", text))


def _dnsperf(text: str) -> Load | None:
    return _load(_first(rf"^\s*Queries per second:\s+{NUMBER}", text))


def _json(text: str) -> Load | None:
    for line in reversed(text.splitlines()):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            values = [said.get(key) for key in ("throughput_per_s", "latency_p50_s", "latency_p99_s")]
            numbers = [float(v) if isinstance(v, (int, float)) and not isinstance(v, bool) else None for v in values]
            return _load(*numbers)
    return None


PARSERS: dict[str, Parser] = {
    "wrk": _wrk,
    "ab": _ab,
    "redis-benchmark": _redis_benchmark,
    "pgbench": _pgbench,
    "hey": _hey,
    "dnsperf": _dnsperf,
    "json": _json,
}


def parse(name: str, text: str) -> Load | None:
    """What the tool `name` said in its output; None when that holds no figures."""
    return PARSERS[name](text)
