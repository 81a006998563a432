"""The workload of the ledger: `workload.py STEP` does one step, and exits with a message if it fails."""

import base64
import gzip
import hashlib
import http.client
import json
import os
import socket
import sqlite3
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any

PORT = 8760
STATE = Path("/var/lib/ledger")
LOG = Path("/var/log/ledger/ledger.log")
SEED = os.environ.get("HARNESS_SEED", "0")
WORD = f"seed{SEED}seed"
LOAD_ROUNDS = 350
SOON_S = 1.5
PATIENCE_S = 6.0


def ask(method: str, path: str, body: bytes | None = None, *, status: int = 200) -> bytes:
    """One request on a connection of its own. Exits unless the answer has `status`."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE_S)
    try:
        return answer(connection, method, path, body, status=status)
    finally:
        connection.close()


def answer(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, *, status: int = 200
) -> bytes:
    """One request on an open connection. Exits unless the answer has `status`."""
    connection.request(method, path, body)
    response = connection.getresponse()
    content = response.read()
    if response.status != status:
        sys.exit(f"{method} {path}: {response.status}, expected {status}: {content[:300].decode(errors='replace')}")
    return content


def told(method: str, path: str, body: bytes | None = None) -> Any:
    """The JSON that a request is answered with."""
    return json.loads(ask(method, path, body))


def expect(what: str, got: object, wanted: object) -> None:
    """Exits with a message unless `got` is `wanted`."""
    if got != wanted:
        sys.exit(f"{what}: {got!r}, expected {wanted!r}")


def content() -> bytes:
    """Three megabytes that depend on the seed and can be compressed a little."""
    noise = b"".join(hashlib.sha256(f"{SEED}/{number}".encode()).hexdigest().encode() for number in range(1000))
    return noise * 48


def ready() -> None:
    """The health check answers, from the database."""
    told("GET", "/health")["entries"]


def write_and_read() -> None:
    """An entry is stored, found and counted; letters beyond ASCII too."""
    before = told("GET", "/health")["entries"]
    text = f"an entry with {WORD} and naïve ☃ letters"
    told("POST", "/entries", text.encode())
    expect("entries found", told("GET", f"/entries?q={WORD}"), [text])
    expect("entries that the health check counts", told("GET", "/health")["entries"], before + 1)


def missing() -> None:
    """What is not there is answered with 404."""
    ask("GET", "/no/such/path", status=404)
    ask("GET", "/files/no-such-file", status=404)


def upload() -> None:
    """Megabytes are stored on disk and come back unchanged."""
    expect("bytes stored", told("PUT", "/files/upload", content())["bytes"], len(content()))
    expect("the file is unchanged", ask("GET", "/files/upload") == content(), True)
    expect("permissions", oct(stat.S_IMODE((STATE / "files/upload").stat().st_mode)), "0o640")


def digest() -> None:
    """A child process reads the file."""
    expect("digest", told("POST", "/files/upload/digest")["sha256"], hashlib.sha256(content()).hexdigest())


def pack() -> None:
    """A thread works on after the answer."""
    job = told("POST", "/files/upload/pack")["job"]
    deadline = time.monotonic() + PATIENCE_S
    while (state := told("GET", f"/jobs/{job}")["state"]) == "running" and time.monotonic() < deadline:
        time.sleep(0.02)
    expect("state of the job", state, "done")
    with gzip.open(STATE / "files/upload.gz") as file:
        expect("the packed file is unchanged", file.read() == content(), True)


def children() -> None:
    """Child processes work on shared memory under a shared lock."""
    count = 10_000 + int(SEED) % 1000
    expect("sum", told("POST", f"/sum/{count}")["sum"], count * (count - 1) // 2)
    left = [item.name for item in Path("/dev/shm").iterdir() if item.name.startswith("psm_")]
    expect("shared memory left over", left, [])


def report() -> None:
    """A temporary file holds every entry."""
    said = told("POST", "/report")
    expect("lines of the report", said["lines"], told("GET", "/health")["entries"])
    expect("the report has bytes", said["bytes"] > 0, True)
    expect("folder of temporary files", said["folder"], "/tmp")


def names() -> None:
    """A name is looked up and the service reaches itself by it."""
    said = told("GET", "/names/localhost")
    expect("127.0.0.1 is among the addresses", "127.0.0.1" in said["addresses"], True)


def memory() -> None:
    """The figures are those that are seen from outside."""
    said = told("GET", "/memory")
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    expect("memory of the machine", said["MemTotal"], int(total.split()[1]) * 1024)
    expect("the process has megabytes", said["VmRSS"] > 5_000_000, True)


def web_socket() -> None:
    """A web socket says back what it is told (RFC 6455)."""
    key = base64.b64encode(os.urandom(16)).decode()
    with (
        socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE_S) as connection,
        connection.makefile("rb") as read,
    ):
        head = ["GET /echo HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"]
        head += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        connection.sendall("".join(f"{line}\r\n" for line in [*head, ""]).encode())
        expect("answer to the handshake", read.readline().split()[1:2], [b"101"])
        while read.readline().strip():
            pass
        mask, text = os.urandom(4), f"hello {WORD}".encode()
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(text))
        connection.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
        _, size = struct.unpack("BB", read.read(2))
        expect("what was said back", read.read(size), b"echo " + text)
        connection.sendall(bytes([0x88, 0x80]) + mask)  # an end without it keeps this version's server waiting for more
        expect("answer to the end", read.read(1), b"\x88")


def load() -> None:
    """Many entries are written and the count is read, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE_S)
    for number in range(LOAD_ROUNDS):
        answer(connection, "POST", "/entries", b"load %d" % number)
        answer(connection, "GET", "/health")


def rotate() -> None:
    """Moves the log away, as logrotate does."""
    LOG.rename(f"{LOG}.1")


def rotated() -> None:
    """The new log has what was asked after the rotation."""
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        ask("GET", "/after-the-rotation", status=404)
        if LOG.exists() and "/after-the-rotation" in LOG.read_text():
            return
        time.sleep(0.03)
    sys.exit("the new log does not have the request")


def survived() -> None:
    """Entry and file are still there after the restart."""
    expect("entries found", len(told("GET", f"/entries?q={WORD}")), 1)
    expect("the file is unchanged", ask("GET", "/files/upload") == content(), True)


def intact() -> None:
    """Looks at the files themselves, after the service was stopped."""
    database = sqlite3.connect(f"file:{STATE}/ledger.db?mode=rw", uri=True)
    expect("integrity check", database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
    expect("entries", database.execute("SELECT count(*) FROM entries").fetchone()[0], LOAD_ROUNDS + 1)
    database.close()
    expect("the log tells of the end", LOG.read_text().rstrip().endswith("ended"), True)


STEPS: dict[str, Any] = {
    function.__name__: function
    for function in (
        ready, write_and_read, missing, upload, digest, pack, children, report, names, memory, web_socket, load, rotate,
        rotated, survived, intact,
    )
}  # fmt: skip

if __name__ == "__main__":
    try:
        STEPS[sys.argv[1]]()
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{sys.argv[1]}: {type(error).__name__} {error}")
