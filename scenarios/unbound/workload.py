"""The workload of unbound: `workload.py STEP` does one step, and exits with a message if it fails."""

import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dns

RESOLVER = ("127.0.0.1", 53)
COMPANION = ("127.0.0.1", 5300)
CERTIFICATE = "/etc/unbound/harness.crt"
ANCHOR = Path("/var/lib/unbound/signed.lan.key")
LOCAL = Path("/etc/unbound/harness-local.conf")
SEED = os.environ.get("HARNESS_SEED", "0")
SERVFAIL, NXDOMAIN = 2, 3
ORIGIN = bytes([10, 1, 2, 3])
SOON_S = 3.0
PATIENCE_S = 4.0
LOAD_NAMES, LOAD_QUERIES, LOAD_AT_ONCE = 200, 6000, 50


def ask(name: str, kind: int = dns.A, *, by: str = "udp", server: tuple[str, int] = RESOLVER) -> dns.Reply:
    """One query by UDP, TCP or TLS. Raises OSError when there is no answer."""
    query = dns.Question(os.getpid() & 0xFFFF, dns.RD | dns.AD, name, kind, dns.UDP_BYTES).packed()
    if by == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.settimeout(PATIENCE_S)
            plain.connect(server)
            plain.send(query)
            return dns.Reply.read(plain.recv(65535))
    with socket.create_connection((server[0], 853 if by == "tls" else server[1]), PATIENCE_S) as plain:
        if by == "tcp":
            return dns.Reply.read(exchange(plain, query))
        context = ssl.create_default_context(cafile=CERTIFICATE)
        with context.wrap_socket(plain, server_hostname="localhost") as secret:
            return dns.Reply.read(exchange(secret, query))


def exchange(connection: socket.socket, query: bytes) -> bytes:
    """Query and answer, each after its length, on an open connection."""
    connection.sendall(struct.pack("!H", len(query)) + query)
    with connection.makefile("rb") as stream:
        return stream.read(struct.unpack("!H", stream.read(2))[0])


def expect(what: str, got: object, wanted: object) -> None:
    """Exits with a message unless `got` is `wanted`."""
    if got != wanted:
        sys.exit(f"{what}: {got!r}, expected {wanted!r}")


def address(name: str, wanted: bytes, **how: Any) -> dns.Reply:
    """Asks for an address. Exits unless the answer is `wanted` and nothing else."""
    reply = ask(name, **how)
    expect(f"code for {name}", reply.code, 0)
    expect(f"address of {name}", reply.data, (wanted,))
    return reply


def soon(what: str, done: Any) -> None:
    """Waits until `done()` is true. Exits when it is not for `SOON_S`."""
    deadline = time.monotonic() + SOON_S
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {SOON_S:g} s")
        time.sleep(0.03)


def control(*arguments: str) -> str:
    """Output of unbound-control. Exits when it fails."""
    done = subprocess.run(["unbound-control", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"unbound-control {' '.join(arguments)}: {done.stdout} {done.stderr}")
    return done.stdout


def figure(name: str) -> int:
    """One of the resolver's own counters."""
    found = re.search(rf"^{re.escape(name)}=(\d+)", control("stats_noreset"), re.MULTILINE)
    return int(found[1]) if found else sys.exit(f"no figure {name}")


def journal(*words: str) -> bool:
    """Whether a line of the unit's journal has all the words."""
    argv = ["journalctl", "--quiet", "--output=cat", f"--unit={os.environ['HARNESS_UNIT']}"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return any(all(word in line for word in words) for line in lines)


def companion() -> None:
    """The companion answers."""
    address("ready.plain.lan", ORIGIN, server=COMPANION)


def ready() -> None:
    """The resolver answers from its own configuration."""
    address("printer.house.lan", bytes([10, 0, 0, 9]))


def local() -> None:
    """Local data by UDP and TCP; the rest of the zone does not exist."""
    address("printer.house.lan", bytes([10, 0, 0, 9]), by="tcp")
    expect("code for what is not there", ask("nobody.house.lan").code, NXDOMAIN)


def stub() -> None:
    """A name of the seed is fetched from the server of its zone."""
    address(f"seed{SEED}.plain.lan", ORIGIN)


def cache() -> None:
    """The second answer comes from the cache, with the same count; after a flush it does not."""
    first = ask("count.plain.lan", dns.TXT).data
    hits = figure("total.num.cachehits")
    expect("answer from the cache", ask("count.plain.lan", dns.TXT).data, first)
    soon("a hit of the cache", lambda: figure("total.num.cachehits") > hits)
    control("flush_type", "count.plain.lan", "TXT")
    expect("the answer is another one after the flush", ask("count.plain.lan", dns.TXT).data != first, True)


def large() -> None:
    """An answer too large for UDP: cut off there, fetched by TCP on both sides."""
    reply = ask("big.plain.lan", dns.TXT)
    expect("the answer by UDP is cut off", bool(reply.flags & dns.TC), True)
    data = ask("big.plain.lan", dns.TXT, by="tcp").data
    expect("bytes of the text", sum(byte == ord("x") for byte in data[0]), 9000)


def tls() -> None:
    """DNS over TLS."""
    address(f"tls{SEED}.plain.lan", ORIGIN, by="tls")


def signed() -> None:
    """A true signature is told, a forged one refused and logged."""
    reply = address("true.signed.lan", ORIGIN)
    expect("the answer is marked as authentic", bool(reply.flags & dns.AD), True)
    expect("code for a forged signature", ask("forged.signed.lan").code, SERVFAIL)
    soon("log of the forged signature", lambda: journal("validation failure", "forged.signed.lan"))


def anchor() -> None:
    """The resolver keeps its own state of the trust anchor in the file it was given."""
    soon("state of the anchor", lambda: "VALID" in ANCHOR.read_text())
    owner = ANCHOR.stat()
    expect("owner of the anchor", owner.st_uid, ANCHOR.parent.stat().st_uid)


def steering() -> None:
    """Data, settings and the cache change by the control socket."""
    control("local_data", "added.house.lan. A 10.0.0.7")
    address("added.house.lan", bytes([10, 0, 0, 7]))
    control("set_option", "val-log-level:", "1")
    expect("changed option", control("get_option", "val-log-level").strip(), "1")
    expect("the cache has the answer", f"seed{SEED}.plain.lan." in control("dump_cache"), True)
    control("flush_zone", "plain.lan")
    expect("the flushed cache has it", f"seed{SEED}.plain.lan." in control("dump_cache"), False)


def load() -> None:
    """Thousands of queries, many at once: most from the cache, some from the companion."""
    names = [f"load{number}.plain.lan" for number in range(LOAD_NAMES)]
    missing = set(range(LOAD_QUERIES))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect(RESOLVER)
        plain.settimeout(1.0)
        for _ in range(3):  # what got lost is asked again
            rounds = sorted(missing)
            for start in range(0, len(rounds), LOAD_AT_ONCE):
                batch = rounds[start : start + LOAD_AT_ONCE]
                for number in batch:
                    plain.send(dns.Question(number, dns.RD, names[number % LOAD_NAMES], dns.A).packed())
                waiting = set(batch)
                while waiting:
                    try:
                        reply = dns.Reply.read(plain.recv(4096))
                    except TimeoutError:
                        break
                    expect("address", reply.data, (ORIGIN,))
                    waiting.discard(reply.number)
                    missing.discard(reply.number)
    expect("queries without an answer", len(missing), 0)


def change() -> None:
    """Changes the configuration of the running resolver."""
    expect("code before the reload", ask("new.house.lan").code, NXDOMAIN)
    LOCAL.write_text('local-data: "printer.house.lan. A 10.0.0.9"\nlocal-data: "new.house.lan. A 10.0.0.8"\n')


def changed() -> None:
    """The changed configuration is in force, on all three ways to ask."""
    soon("answer of the new configuration", lambda: ask("new.house.lan").data == (bytes([10, 0, 0, 8]),))
    address("new.house.lan", bytes([10, 0, 0, 8]), by="tcp")
    address("new.house.lan", bytes([10, 0, 0, 8]), by="tls")
    address(f"again{SEED}.plain.lan", ORIGIN)


def signed_again() -> None:
    """After the restart the resolver trusts the anchor as it wrote it."""
    reply = address("true.signed.lan", ORIGIN)
    expect("the answer is marked as authentic", bool(reply.flags & dns.AD), True)


STEPS = {
    function.__name__: function
    for function in (
        companion, ready, local, stub, cache, large, tls, signed, anchor, steering, load, change, changed, signed_again,
    )
}  # fmt: skip

if __name__ == "__main__":
    try:
        STEPS[sys.argv[1]]()
    except (OSError, struct.error, IndexError) as error:
        sys.exit(f"{sys.argv[1]}: {type(error).__name__} {error}")
