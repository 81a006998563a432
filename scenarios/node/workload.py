"""The workload of the workshop: `workload.py STEP` does one step, and exits with a message if it fails."""

import gzip
import hashlib
import http.client
import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

PORT = 8770
STATE = Path("/var/lib/workshop")
LOG = Path("/var/log/workshop/workshop.log")
SEED = os.environ.get("HARNESS_SEED", "0")
WORD = f"seed{SEED}seed"
LOAD_ROUNDS = 400
COMPUTE_ROUNDS = 2_000_000
SOON_S = 1.5
PATIENCE_S = 8.0


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


def soon(what: str, done: Any) -> None:
    """Waits until `done()` is true. Exits when it is not for `SOON_S`."""
    deadline = time.monotonic() + SOON_S
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {SOON_S:g} s")
        time.sleep(0.03)


def content() -> bytes:
    """Three megabytes that depend on the seed and can be compressed a little."""
    noise = b"".join(hashlib.sha256(f"{SEED}/{number}".encode()).hexdigest().encode() for number in range(1000))
    return noise * 48


def sum_of(rounds: int) -> int:
    """The sum of i² mod 7 for i below `rounds`."""
    whole, rest = divmod(rounds, 7)
    return whole * sum(i * i % 7 for i in range(7)) + sum(i * i % 7 for i in range(rest))


def ready() -> None:
    """The server answers."""
    told("GET", "/health")["notes"]


def write_and_read() -> None:
    """A note is kept; letters beyond ASCII too."""
    text = f"a note with {WORD} and naïve ☃ letters"
    number = told("POST", "/notes", text.encode())["id"]
    expect("note", [note["text"] for note in told("GET", "/notes") if note["id"] == number], [text])
    expect("note on disk", json.loads((STATE / "notes.jsonl").read_text().splitlines()[-1])["text"], text)


def missing() -> None:
    """What is not there is answered with 404."""
    ask("GET", "/no/such/path", status=404)
    ask("GET", "/files/no-such-file", status=404)


def upload() -> None:
    """Megabytes are stored on disk and come back unchanged."""
    expect("bytes stored", told("PUT", "/files/upload", content())["bytes"], len(content()))
    expect("the file is unchanged", ask("GET", "/files/upload") == content(), True)
    mode = (STATE / "files/upload").stat().st_mode
    expect("permissions of others", stat.S_IMODE(mode) & 0o027, 0)


def pack() -> None:
    """Compressed to a file by gzip, and there and back by brotli."""
    said = told("POST", "/files/upload/pack")
    expect("digest of the unpacked file", said["sha256"], hashlib.sha256(content()).hexdigest())
    expect("brotli made it smaller", said["brotli"] < len(content()), True)
    with gzip.open(STATE / "files/upload.gz") as file:
        expect("the packed file is unchanged", file.read() == content(), True)


def watch() -> None:
    """The server is told of a file that somebody else makes."""
    (STATE / "files" / f"from-outside-{WORD}").write_text("seen?")
    soon("event for the new file", lambda: f"rename from-outside-{WORD}" in told("GET", "/events"))


def compute() -> None:
    """The same loop until it has been compiled, and in two threads over shared memory."""
    rounds = COMPUTE_ROUNDS + int(SEED) % 1000
    for _ in range(3):
        expect("sum", told("GET", f"/compute/{rounds}")["sum"], sum_of(rounds))
    expect("sum of two threads", told("GET", f"/thread/{rounds}")["sum"], 2 * sum_of(rounds))


def web_assembly() -> None:
    """A module of WebAssembly is compiled and run."""
    rounds = 10_000 + int(SEED) % 1000
    expect("sum", told("GET", f"/wasm/{rounds}")["sum"], rounds * (rounds + 1) // 2)


def child() -> None:
    """A shell and another Node as children, the second at lower priority."""
    said = told("GET", f"/child/{WORD}")
    expect("word from the shell", said["shell"], WORD.upper())
    expect("word from the other Node", said["node"], WORD[::-1])


def secret() -> None:
    """Encryption, signature and key derivation, in the pool of threads."""
    said = told("GET", f"/secret/{WORD}")
    expect("what was encrypted", (said["shown"], said["signed"]), (WORD, True))
    expect("derived key", said["pbkdf2"], hashlib.pbkdf2_hmac("sha256", WORD.encode(), b"salt", 1000).hex())


def words() -> None:
    """Numbers, dates, time zones and sorting of another country."""
    said = told("GET", "/words/de-DE")
    expect("number", said["number"], "1.234.567,5")
    expect("day", said["day"].startswith("Dienstag, 2. Juli") and "0" in said["day"], True)
    expect("order", said["order"], "aäz")


def names() -> None:
    """A name is looked up and the server reaches itself by it."""
    said = told("GET", "/names/localhost")
    expect("127.0.0.1 is among the addresses", "127.0.0.1" in said["addresses"], True)


def machine() -> None:
    """Memory, processors, links and the user's name, as they are seen from outside."""
    said = told("GET", "/machine")
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    expect("memory of the machine", said["total"], int(total.split()[1]) * 1024)
    expect("the process has megabytes", said["rss"] > 20_000_000, True)
    expect("processors", said["cpus"] >= 1, True)
    expect("the loopback link is there", "lo" in said["links"], True)
    expect("user", said["user"], "daemon")


def load() -> None:
    """Many requests on one connection: notes, sums and secrets."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE_S)
    for number in range(LOAD_ROUNDS):
        answer(connection, "POST", "/notes", b"load %d" % number)
        answer(connection, "GET", f"/compute/{20_000 + number}")
    answer(connection, "GET", "/notes")


def rotate() -> None:
    """Moves the log away, as logrotate does."""
    LOG.rename(f"{LOG}.1")


def rotated() -> None:
    """The new log has what was asked after the rotation; the reload may take a moment to arrive."""
    soon("a new log", LOG.exists)
    ask("GET", "/after-the-rotation", status=404)
    soon("the request in the new log", lambda: "/after-the-rotation" in LOG.read_text())


def survived() -> None:
    """Notes and file are still there after the restart."""
    notes = told("GET", "/notes")
    expect("notes", len(notes), LOAD_ROUNDS + 1)
    expect("the first note has the word", WORD in notes[0]["text"], True)
    expect("the file is unchanged", ask("GET", "/files/upload") == content(), True)


def intact() -> None:
    """Looks at the files themselves, after the service was stopped."""
    lines = (STATE / "notes.jsonl").read_text().splitlines()
    expect("notes on disk", [json.loads(line)["id"] for line in lines], list(range(1, LOAD_ROUNDS + 2)))
    expect("the log tells of the end", LOG.read_text().rstrip().endswith("ended"), True)


STEPS: dict[str, Any] = {
    function.__name__: function
    for function in (
        ready, write_and_read, missing, upload, pack, watch, compute, web_assembly, child, secret, words, names,
        machine, load, rotate, rotated, survived, intact,
    )
}  # fmt: skip

if __name__ == "__main__":
    try:
        STEPS[sys.argv[1]]()
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{sys.argv[1]}: {type(error).__name__} {error}")
