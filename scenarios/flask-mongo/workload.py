"""The workload of the orders: `workload.py STEP` does one step, and exits with a message if it fails.

The steps that look into the database itself run in the application's own environment, which has pymongo.
"""

import csv
import http.client
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from reader import APART, FONT, HIGH, WIDE

PORT = 8000
SEED = int(os.environ.get("HARNESS_SEED", "0"))
CUSTOMER = f"customer-{SEED}"
AMOUNTS = [100 + SEED % 50, 7, 2300]
LOG = Path("/var/log/orders/orders.log")
EXPORT = Path("/srv/accounting/orders/orders.csv")
LOAD_ROUNDS = 600
PATIENCE_S = 8.0
SOON_S = 2.0


def ask(method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    """One request on a connection of its own, and the JSON of its answer. Exits unless it has `status`."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE_S)
    try:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {} if isinstance(body, bytes | None) else {"Content-Type": "application/json"}
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != status:
            sys.exit(f"{method} {path}: {response.status}, expected {status}: {content[:300].decode(errors='replace')}")
        return json.loads(content)
    finally:
        connection.close()


def expect(what: str, got: object, wanted: object) -> None:
    """Exits with a message unless `got` is `wanted`."""
    if got != wanted:
        sys.exit(f"{what}: {got!r}, expected {wanted!r}")


def shop() -> Any:
    """The database itself, by another address than the application's."""
    import pymongo

    return pymongo.MongoClient("mongodb://127.0.0.1:27017/?directConnection=true", serverSelectionTimeoutMS=1500).shop


def database() -> None:
    """The database answers."""
    shop().command("ping")


def ready() -> None:
    """The health check says what every load balancer is content with."""
    expect("status", ask("GET", "/health")["status"], "healthy")


def order() -> None:
    """Customers and orders that were taken are in the database, and found again."""
    ask("POST", "/customers", {"name": CUSTOMER}, status=201)
    for amount in AMOUNTS:
        ask("POST", "/orders", {"customer": CUSTOMER, "amount": amount}, status=201)
    stored = sorted(each["amount"] for each in shop().orders.find({"customer": CUSTOMER}))
    expect("amounts in the database", stored, sorted(AMOUNTS))
    expect("amounts found", ask("GET", f"/orders?customer={CUSTOMER}")["amounts"], sorted(AMOUNTS))


def figures() -> None:
    """Health check and dashboard tell what the database holds, and not something that looks like it."""
    orders = list(shop().orders.find())
    revenue = sum(each["amount"] for each in orders)
    for path in ("/health", "/dashboard"):
        told = ask("GET", path)
        expect(f"orders by {path}", told["orders"], len(orders))
        expect(f"revenue by {path}", told["revenue"], revenue)
    expect("revenue of the customer", ask("GET", "/dashboard")["by_customer"].get(CUSTOMER), sum(AMOUNTS))


def image(text: str) -> bytes:
    """A picture of digits, as `reader.py` describes it, with a few dots of dirt."""
    rows = []
    for y in range(HIGH):
        row = b""
        for place, digit in enumerate(text):
            row += bytes(APART) if place else b""
            row += bytes(255 if dot == "1" else 0 for dot in FONT[int(digit)][y * WIDE : (y + 1) * WIDE])
        rows.append(row)
    pixels = bytearray(b"".join(rows))
    pixels[SEED % WIDE] ^= 0xFF
    return b"P5 %d %d 255\n" % (len(rows[0]), HIGH) + bytes(pixels)


def receipt() -> None:
    """A child process reads the amount off an image."""
    amount = 10_000 + SEED % 9_000
    expect("amount read", ask("POST", "/receipts", image(str(amount)))["amount"], amount)


def export() -> None:
    """All orders are in the accountants' file."""
    rows = ask("POST", "/export", status=202)["rows"]
    if not EXPORT.exists():
        sys.exit(f"{EXPORT} is not there, though the export was answered with 202")
    expect("rows in the file", len(written()), rows)


def written() -> list[list[str]]:
    """The orders in the accountants' file, the most recent first export's included."""
    with EXPORT.open(newline="") as file:
        return list(csv.reader(file))[1:]


def load() -> None:
    """Orders are taken and counted; prints throughput and latencies."""
    taken = []
    began = time.monotonic()
    for number in range(LOAD_ROUNDS):
        start = time.monotonic()
        ask("POST", "/orders", {"customer": "load", "amount": number}, status=201)
        ask("GET", "/orders?customer=nobody")
        taken.append(time.monotonic() - start)
    spent = time.monotonic() - began
    latencies = {"latency_p50_s": statistics.median(taken), "latency_p99_s": statistics.quantiles(taken, n=100)[98]}
    print(json.dumps({"throughput_per_s": LOAD_ROUNDS / spent, **latencies}))


def rotated() -> None:
    """The new log has what was asked after the rotation."""
    customer = f"after-rotation-{SEED}"
    ask("POST", "/orders", {"customer": customer, "amount": 1}, status=201)
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        if LOG.exists() and customer in LOG.read_text():
            return
        time.sleep(0.03)
    sys.exit("the new log does not have the order")


def whole() -> None:
    """The accountants' file is still there with this run's orders, after the service was stopped."""
    amounts = sorted(int(amount) for customer, amount in written() if customer == CUSTOMER)
    expect("amounts in the file", amounts, sorted(AMOUNTS))


STEPS: dict[str, Any] = {
    function.__name__: function
    for function in (database, ready, order, figures, receipt, export, load, rotated, whole)
}

if __name__ == "__main__":
    try:
        STEPS[sys.argv[1]]()
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit(f"{sys.argv[1]}: {type(error).__name__} {error}")
