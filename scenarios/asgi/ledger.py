"""A ledger over HTTP and a web socket, kept in SQLite: an ASGI application without a framework.

GET /health, POST and GET /entries, PUT and GET /files/NAME, POST /files/NAME/digest (child process),
POST /files/NAME/pack (background thread), GET /jobs/N, POST /sum (child processes and shared memory),
POST /report (temporary file), GET /names/HOST (name look-up), GET /memory, and a web socket at /echo.
"""

import asyncio
import contextlib
import gzip
import json
import logging
import logging.handlers
import multiprocessing
import os
import re
import shutil
import socket
import sqlite3
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

STATE = Path(os.environ.get("STATE_DIRECTORY", "."))
LOG = Path(os.environ.get("LOGS_DIRECTORY", ".")) / "ledger.log"
DATABASE = STATE / "ledger.db"
FILES = STATE / "files"
SCHEMA = "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, written REAL NOT NULL, text TEXT NOT NULL)"
MAXIMUM_BYTES = 64 * 1024 * 1024
log = logging.getLogger("ledger")
jobs: dict[int, str] = {}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A connection for one request; commits at the end."""
    connection = sqlite3.connect(DATABASE, timeout=5.0)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def start() -> None:
    """Open the log, which is opened anew when it was moved away, and the database."""
    handler = logging.handlers.WatchedFileHandler(LOG)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    FILES.mkdir(exist_ok=True)
    with database() as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(SCHEMA)


def health() -> Any:
    """How many entries there are, asked of the database."""
    with database() as connection:
        return {"entries": connection.execute("SELECT count(*) FROM entries").fetchone()[0]}


def add(body: bytes) -> Any:
    """Write an entry."""
    with database() as connection:
        cursor = connection.execute("INSERT INTO entries (written, text) VALUES (?, ?)", (time.time(), body.decode()))
        return {"id": cursor.lastrowid}


def find(word: str) -> Any:
    """The entries that contain a word, in order of their text."""
    with database() as connection:
        rows = connection.execute("SELECT text FROM entries WHERE text LIKE ? ORDER BY text", (f"%{word}%",))
        return [row[0] for row in rows]


def path_of(name: str) -> Path:
    """A stored file. Raises LookupError when there is none."""
    path = FILES / name
    if not path.exists():
        raise LookupError(f"no file {name}")
    return path


def digest(name: str) -> Any:
    """A file's digest, by a child process."""
    done = subprocess.run(["sha256sum", str(path_of(name))], check=True, stdout=subprocess.PIPE, text=True, timeout=5.0)
    return {"sha256": done.stdout.split()[0]}


def pack(name: str) -> Any:
    """Compress a file in the background."""
    source, number = path_of(name), len(jobs) + 1
    jobs[number] = "running"

    def work() -> None:
        try:
            with source.open("rb") as plain, gzip.open(f"{source}.gz", "wb", compresslevel=1) as packed:
                shutil.copyfileobj(plain, packed)
            jobs[number] = "done"
        except OSError as error:
            log.error("job %d: %s", number, error)
            jobs[number] = f"failed: {error}"

    threading.Thread(target=work, name=f"job-{number}").start()
    return {"job": number}


def add_up(memory: str, start: int, end: int, total: Any) -> None:
    """In a child process: add numbers in shared memory to a shared total."""
    block = shared_memory.SharedMemory(memory)
    part = sum(struct.unpack_from(f"{end - start}I", block.buf, start * 4))
    with total.get_lock():
        total.value += part
    block.close()


def sum_up(count: int) -> Any:
    """The sum of 0..count-1, by two child processes over shared memory and under a shared lock."""
    processes = multiprocessing.get_context("fork")
    block = shared_memory.SharedMemory(create=True, size=count * 4)
    try:
        struct.pack_into(f"{count}I", block.buf, 0, *range(count))
        total = processes.Value("q", 0)
        halves = ((0, count // 2), (count // 2, count))
        children = [processes.Process(target=add_up, args=(block.name, *half, total)) for half in halves]
        for child in children:
            child.start()
        for child in children:
            child.join(timeout=5.0)
            if child.exitcode != 0:
                raise OSError(f"a child process ended with {child.exitcode}")
        return {"sum": total.value}
    finally:
        block.close()
        block.unlink()


def report() -> Any:
    """All entries by way of a temporary file, as one that is too large for memory would be written."""
    with database() as connection, tempfile.NamedTemporaryFile("w+", suffix=".jsonl") as file:
        for row in connection.execute("SELECT id, text FROM entries ORDER BY id"):
            file.write(json.dumps(row) + "\n")
        file.flush()
        file.seek(0)
        return {"lines": sum(1 for _ in file), "bytes": Path(file.name).stat().st_size, "folder": tempfile.gettempdir()}


def names(host: str) -> Any:
    """Addresses of a host, and whether this very service answers there."""
    found = sorted({item[4][0] for item in socket.getaddrinfo(host, 8760, type=socket.SOCK_STREAM)})
    with socket.create_connection((host, 8760), timeout=2.0) as connection:
        return {"addresses": found, "peer": connection.getpeername()[0]}


def memory() -> Any:
    """Memory of this process and of the machine, in bytes."""
    figures = {}
    for name, key in (("/proc/self/status", "VmRSS"), ("/proc/meminfo", "MemTotal")):
        match = re.search(rf"^{key}:\s+(\d+) kB", Path(name).read_text(), re.MULTILINE)
        if match is None:
            raise OSError(f"{name} has no {key}")
        figures[key] = int(match[1]) * 1024
    return figures


ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", r"/health", health),
    ("GET", r"/entries", find),
    ("POST", r"/entries", add),
    ("POST", r"/files/([\w.-]+)/digest", digest),
    ("POST", r"/files/([\w.-]+)/pack", pack),
    ("GET", r"/jobs/(\d+)", lambda number: {"state": jobs[int(number)]}),
    ("POST", r"/report", report),
    ("GET", r"/names/([\w.-]+)", names),
    ("GET", r"/memory", memory),
)


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The request's body as it comes."""
    more, size = True, 0
    while more:
        message = await receive()
        body = message.get("body", b"")
        size += len(body)
        if message["type"] == "http.disconnect" or size > MAXIMUM_BYTES:
            raise ValueError("the request ended early, or is too large")
        more = message.get("more_body", False)
        yield body


async def store(name: str, receive: Receive) -> Any:
    """Store the body as a file, whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=FILES, delete=False) as file:
        async for chunk in chunks(receive):
            await asyncio.to_thread(file.write, chunk)
        size = file.tell()
    Path(file.name).chmod(0o640)
    Path(file.name).replace(FILES / name)
    return {"bytes": size}


async def call(scope: dict[str, Any], receive: Receive) -> Any:
    """The answer to a request: bytes as they are, anything else becomes JSON."""
    method, path = scope["method"], scope["path"]
    if match := re.fullmatch(r"/files/([\w.-]+)", path):
        if method == "PUT":
            return await store(match[1], receive)
        return await asyncio.to_thread(path_of(match[1]).read_bytes)
    if match := re.fullmatch(r"/sum/(\d+)", path):
        return sum_up(int(match[1]))  # not in a thread of the pool: its children would wait for the pool at their end
    for wanted, pattern, function in ROUTES:
        if method == wanted and (match := re.fullmatch(pattern, path)):
            arguments: list[Any] = list(match.groups())
            if function is add:
                arguments.append(b"".join([chunk async for chunk in chunks(receive)]))
            if function is find:
                arguments.append(dict(urllib.parse.parse_qsl(scope["query_string"].decode())).get("q", ""))
            return await asyncio.to_thread(function, *arguments)
    raise LookupError("no such path")


async def http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """One request."""
    try:
        status, content = 200, await call(scope, receive)
    except LookupError as error:
        status, content = 404, {"error": str(error)}
    except (OSError, ValueError, sqlite3.Error, subprocess.SubprocessError) as error:
        status, content = 500, {"error": f"{type(error).__name__}: {error}"}
    log.info("%s %s %d %s", scope["method"], scope["path"], status, content["error"] if status >= 400 else "")
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(receive: Receive, send: Send) -> None:
    """A web socket that says everything back."""
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": "echo " + (message.get("text") or "")})


async def lifespan(receive: Receive, send: Send) -> None:
    """Start and end."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await asyncio.to_thread(start)
            log.info("started")
        else:
            log.info("ended")
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The application."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        await http(scope, receive, send)
