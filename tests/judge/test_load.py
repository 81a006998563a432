"""Throughput and latency from the output of real tools, kept as they printed it."""

import pytest

from harness.judge.load import parse
from harness.observation import Load

WRK = """\
Running 1s test @ http://127.0.0.1/
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   312.55us  141.02us   4.86ms   92.35%
  Latency Distribution
     50%  288.00us
     75%  341.00us
     90%  412.00us
     99%    1.05ms
  30913 requests in 1.10s, 25.06MB read
Requests/sec:  28106.35
Transfer/sec:     22.78MB
"""
AB = """\
Requests per second:    8113.71 [#/sec] (mean)
Time per request:       1.232 [ms] (mean)
Percentage of the requests served within a certain time (ms)
  50%      1
  66%      1
  99%      3
 100%      5 (longest request)
"""
REDIS_CSV = """\
"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"SET","100000.00","0.400","0.100","0.391","0.600","0.800","1.100"
"GET","50000.00","0.500","0.100","0.400","0.700","0.900","1.200"
"""
REDIS_QUIET = "SET: rps=0.0\rSET: 100000.00 requests per second, p50=0.391 msec\n"
PGBENCH = "latency average = 1.912 ms\ntps = 2091.7 (without initial connection time)\n"
HEY = """\
  Requests/sec:	12345.6
Latency distribution:
  50% in 0.0010 secs
  99% in 0.0042 secs
"""
DNSPERF = "Statistics:\n  Queries per second:   41234.5\n  Average Latency (s):  0.000310 (min 0.00001, max 0.01)\n"
JSON = 'warming up\n{"throughput_per_s": 12, "latency_p99_s": 0.25}\n'


@pytest.mark.parametrize(
    ("tool", "text", "load"),
    [
        ("wrk", WRK, Load(28106.35, 0.000288, 0.00105)),
        ("ab", AB, Load(8113.71, 0.001, None)),
        ("ab", AB.replace("99%      3", "99%     30"), Load(8113.71, 0.001, 0.03)),
        ("redis-benchmark", REDIS_CSV, Load(66666.6667, 0.0004, 0.0009)),
        ("redis-benchmark", REDIS_QUIET, Load(100000.0, 0.000391, None)),
        ("pgbench", PGBENCH, Load(2091.7)),
        ("hey", HEY, Load(12345.6, 0.001, 0.0042)),
        ("dnsperf", DNSPERF, Load(41234.5)),
        ("json", JSON, Load(12.0, None, 0.25)),
    ],
)
def test_figures_of(tool, text, load):
    found = parse(tool, text)
    assert found is not None
    assert found.throughput_per_s == pytest.approx(load.throughput_per_s)
    assert found.latency_p50_s == pytest.approx(load.latency_p50_s)
    assert found.latency_p99_s == pytest.approx(load.latency_p99_s)


@pytest.mark.parametrize("tool", ["wrk", "ab", "redis-benchmark", "pgbench", "hey", "dnsperf", "json"])
@pytest.mark.parametrize("text", ["", "no such host\n", "[1]\n", "{}\n"])
def test_no_figures(tool, text):
    assert parse(tool, text) is None
