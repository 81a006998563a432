"""Notes over HTTP, kept in SQLite: a small service with the habits of a big one.

GET /health, POST /notes, GET /notes?q=WORD, GET /notes/ID, PUT and GET /notes/ID/attachment,
GET /notes/ID/preview (by a child process), POST /export (to a file). SIGHUP reopens the log.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ADDRESS = ("127.0.0.1", 8750)
STATE = Path(os.environ.get("STATE_DIRECTORY", "."))
LOG = Path(os.environ.get("LOGS_DIRECTORY", ".")) / "notes.log"
DATABASE = STATE / "notes.db"
ATTACHMENTS = STATE / "attachments"
SCHEMA = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, written REAL NOT NULL, text TEXT NOT NULL)"
PREVIEW = 'head -c 4096 "$1" | tr -cd "[:print:]\\n" | head -n 3'
CHUNK_BYTES = 64 * 1024
MAXIMUM_BYTES = 64 * 1024 * 1024


class Log:
    """The log file; `reopen` lets go of one that was moved away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file = LOG.open("a", buffering=1, encoding="utf-8")

    def write(self, line: str) -> None:
        """Add one line with the time."""
        with self._lock:
            self._file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}\n")

    def reopen(self) -> None:
        """Go on in the file that now has the log's name."""
        new = LOG.open("a", buffering=1, encoding="utf-8")
        with self._lock:
            self._file, old = new, self._file
        old.close()


def connect() -> sqlite3.Connection:
    """A connection to the database, for one thread."""
    database = sqlite3.connect(DATABASE, timeout=5.0)
    database.execute("PRAGMA journal_mode=WAL")
    return database


def replace(target: Path, chunks: Iterable[bytes]) -> int:
    """Write a file whole or not at all. Returns its size in bytes."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    Path(file.name).chmod(0o640)
    Path(file.name).replace(target)
    return size


class Handler(BaseHTTPRequestHandler):
    """One connection, with a database connection of its own."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    wbufsize = -1
    disable_nagle_algorithm = True
    log: Log

    def setup(self) -> None:
        """Open the database."""
        super().setup()
        self.database = connect()

    def finish(self) -> None:
        """Close the database."""
        self.database.close()
        super().finish()

    def log_message(self, format: str, *values: Any) -> None:
        """Requests go to the log file, and not to stderr."""
        self.log.write(format % values)

    def route(self) -> None:
        """Find the path's function and call it."""
        url = urllib.parse.urlsplit(self.path)
        for method, pattern, function in ROUTES:
            match = re.fullmatch(pattern, url.path)
            if match and method == self.command:
                self.query = dict(urllib.parse.parse_qsl(url.query))
                self.call(function, *map(int, match.groups()))
                return
        self.answer(HTTPStatus.NOT_FOUND, {"error": "no such path"})

    do_GET = do_POST = do_PUT = route

    def call(self, function: Callable[..., Any], *numbers: int) -> None:
        """Answer with what a function returns, or with why it could not."""
        try:
            self.answer(HTTPStatus.OK, function(self, *numbers))
        except LookupError as error:
            self.answer(HTTPStatus.NOT_FOUND, {"error": str(error)})
        except (OSError, sqlite3.Error, subprocess.SubprocessError) as error:
            print(f"{self.command} {self.path}: {error}", file=sys.stderr, flush=True)
            self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})

    def answer(self, status: HTTPStatus, content: Any) -> None:
        """Send bytes as they are, anything else as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status is not HTTPStatus.OK:
            self.send_header("Connection", "close")  # the request's body may not have been read
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> Iterator[bytes]:
        """The request's body in chunks."""
        left = min(int(self.headers.get("Content-Length", 0)), MAXIMUM_BYTES)
        while left > 0 and (chunk := self.rfile.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk

    def health(self) -> Any:
        """How many notes there are, asked of the database."""
        return {"notes": self.database.execute("SELECT count(*) FROM notes").fetchone()[0]}

    def create(self) -> Any:
        """Store the body as a note."""
        text = b"".join(self.body()).decode(errors="replace")
        with self.database:
            cursor = self.database.execute("INSERT INTO notes (written, text) VALUES (?, ?)", (time.time(), text))
        return {"id": cursor.lastrowid}

    def search(self) -> Any:
        """Numbers of the notes that contain the word `q`."""
        found = self.database.execute(
            "SELECT id FROM notes WHERE text LIKE ? ORDER BY id", (f"%{self.query.get('q', '')}%",)
        )
        return [row[0] for row in found]

    def read(self, number: int) -> Any:
        """One note. Raises LookupError when there is none."""
        row = self.database.execute("SELECT text FROM notes WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise LookupError(f"no note {number}")
        return {"id": number, "text": row[0]}

    def attach(self, number: int) -> Any:
        """Store the body as the note's attachment."""
        self.read(number)
        ATTACHMENTS.mkdir(exist_ok=True)
        return {"bytes": replace(ATTACHMENTS / str(number), self.body())}

    def attachment(self, number: int) -> bytes:
        """The attachment as it was stored."""
        return self._attachment(number).read_bytes()

    def preview(self, number: int) -> bytes:
        """The attachment's first lines of text, by a child process."""
        argv = ["/bin/sh", "-c", PREVIEW, "preview", str(self._attachment(number))]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=5.0).stdout

    def export(self) -> Any:
        """Write all notes to a file, one JSON array a line."""
        rows = self.database.execute("SELECT id, written, text FROM notes ORDER BY id")
        return {"bytes": replace(STATE / "export.jsonl", (json.dumps(row).encode() + b"\n" for row in rows))}

    def _attachment(self, number: int) -> Path:
        path = ATTACHMENTS / str(number)
        if not path.exists():
            raise LookupError(f"no attachment to note {number}")
        return path


ROUTES = (
    ("GET", r"/health", Handler.health),
    ("POST", r"/notes", Handler.create),
    ("GET", r"/notes", Handler.search),
    ("GET", r"/notes/(\d+)", Handler.read),
    ("PUT", r"/notes/(\d+)/attachment", Handler.attach),
    ("GET", r"/notes/(\d+)/attachment", Handler.attachment),
    ("GET", r"/notes/(\d+)/preview", Handler.preview),
    ("POST", r"/export", Handler.export),
)


def main() -> None:
    """Serve until SIGTERM."""
    Handler.log = log = Log()
    database = connect()
    database.execute(SCHEMA)
    database.close()
    signal.signal(signal.SIGHUP, lambda *_: log.reopen())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with ThreadingHTTPServer(ADDRESS, Handler) as server:
        server.daemon_threads = True
        server.serve_forever()


if __name__ == "__main__":
    main()
