"""The workload of the notes service: `workload.py STEP` does one step, and exits with a message if it fails."""

import hashlib
import http.client
import json
import os
import sqlite3
import stat
import sys
import time
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/notes")
LOGS = Path("/var/log/notes")
SEED = os.environ.get("HARNESS_SEED", "0")
WORD = f"seed{SEED}seed"
LOAD_ROUNDS = 2400
SOON_S = 1.2


def ask(method: str, path: str, body: bytes | None = None, *, status: int = 200) -> bytes:
    """One request on a connection of its own. Exits unless the answer has `status`."""
    connection = http.client.HTTPConnection("127.0.0.1", 8750, timeout=5.0)
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
    expect(f"status of {method} {path}", response.status, status, detail=content[:200].decode(errors="replace"))
    return content


def expect(what: str, got: object, wanted: object, *, detail: str = "") -> None:
    """Exits with a message unless `got` is `wanted`."""
    if got != wanted:
        sys.exit(f"{what}: {got!r}, expected {wanted!r} {detail}")


def attachment() -> bytes:
    """Four megabytes that depend on the seed, below two lines of text."""
    noise = b"".join(hashlib.sha256(f"{SEED}/{number}".encode()).digest() for number in range(1000))
    return f"first line of {WORD}\nsecond line\n".encode() + noise * 125


def first() -> int:
    """The note that the first step wrote."""
    found: list[int] = json.loads(ask("GET", f"/notes?q={WORD}"))
    expect("notes that contain the word", len(found), 1)
    return found[0]


def ready() -> None:
    """The service answers, and its answer comes from the database."""
    json.loads(ask("GET", "/health"))["notes"]


def write_and_read() -> None:
    """A note is stored, read back and counted; letters beyond ASCII too."""
    before = json.loads(ask("GET", "/health"))["notes"]
    text = f"a note with {WORD} and naïve ☃ letters"
    number = json.loads(ask("POST", "/notes", text.encode()))["id"]
    expect("text", json.loads(ask("GET", f"/notes/{number}"))["text"], text)
    expect("notes that the health check counts", json.loads(ask("GET", "/health"))["notes"], before + 1)


def search() -> None:
    """The search finds the one note and not the other."""
    other = json.loads(ask("POST", "/notes", b"nothing of interest"))["id"]
    expect("the note found is the other one", first() == other, False)
    expect("search without result", json.loads(ask("GET", "/notes?q=nowhere-at-all")), [])


def missing() -> None:
    """What is not there is answered with 404."""
    ask("GET", "/notes/999999", status=404)
    ask("GET", "/no/such/path", status=404)


def attach() -> None:
    """Megabytes are stored on disk and come back unchanged."""
    content = attachment()
    number = first()
    expect("bytes stored", json.loads(ask("PUT", f"/notes/{number}/attachment", content))["bytes"], len(content))
    expect("attachment is unchanged", ask("GET", f"/notes/{number}/attachment") == content, True)
    mode = (STATE / "attachments" / str(number)).stat().st_mode
    expect("permissions of the attachment", oct(stat.S_IMODE(mode)), "0o640")


def preview() -> None:
    """The child process works."""
    lines = ask("GET", f"/notes/{first()}/preview").decode().splitlines()
    expect("preview", lines[:2], [f"first line of {WORD}", "second line"])


def export() -> None:
    """The file has every note."""
    size = json.loads(ask("POST", "/export"))["bytes"]
    content = (STATE / "export.jsonl").read_bytes()
    expect("size of the export", len(content), size)
    expect("lines of the export", len(content.splitlines()), json.loads(ask("GET", "/health"))["notes"])


def load() -> None:
    """Many notes are written and read on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", 8750, timeout=5.0)
    for number in range(LOAD_ROUNDS):
        stored = json.loads(answer(connection, "POST", "/notes", b"load %d" % number))["id"]
        answer(connection, "GET", f"/notes/{stored}")


def rotate() -> None:
    """Moves the log away, as logrotate does."""
    (LOGS / "notes.log").rename(LOGS / "notes.log.1")


def rotated() -> None:
    """The new log has what was asked after the rotation; the reload may take a moment to arrive."""
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        ask("GET", "/after-the-rotation", status=404)
        log = LOGS / "notes.log"
        if log.exists() and "/after-the-rotation" in log.read_text():
            return
        time.sleep(0.03)
    sys.exit("the new log does not have the request")


def survived() -> None:
    """Note and attachment are still there after the restart."""
    expect("text", WORD in json.loads(ask("GET", f"/notes/{first()}"))["text"], True)
    expect("attachment is unchanged", ask("GET", f"/notes/{first()}/attachment") == attachment(), True)


def intact() -> None:
    """Looks at the files themselves, after the service was stopped."""
    database = sqlite3.connect(f"file:{STATE}/notes.db?mode=rw", uri=True)
    expect("integrity check", database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
    count = database.execute("SELECT count(*) FROM notes").fetchone()[0]
    expect("all notes are there", count >= LOAD_ROUNDS + 2, True, detail=f"({count})")
    database.close()


STEPS: dict[str, Any] = {
    function.__name__: function
    for function in (
        ready,
        write_and_read,
        search,
        missing,
        attach,
        preview,
        export,
        load,
        rotate,
        rotated,
        survived,
        intact,
    )
}

if __name__ == "__main__":
    try:
        STEPS[sys.argv[1]]()
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
