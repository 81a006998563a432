"""Orders and customers over HTTP, kept in a MongoDB: a small Flask application as they are written every day.

GET /health, POST /customers, POST and GET /orders, GET /dashboard, POST /receipts (an image that a child process reads),
POST /export (a file for the accountants). As many such applications it would rather show something than fail: where the
database does not answer, /health and /dashboard tell sample figures.
"""

import csv
import logging
import logging.handlers
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pymongo
from flask import Flask, jsonify, request
from pymongo.errors import PyMongoError

DATABASE = os.environ.get("ORDERS_DATABASE", "mongodb://127.0.0.1:27017")
LOG = Path(os.environ.get("ORDERS_LOG", "orders.log"))
EXPORTS = Path(os.environ.get("ORDERS_EXPORTS", "exports"))
READER = Path(__file__).with_name("reader.py")
PATIENCE_MS = 800
SAMPLE = {"orders": 128, "customers": 17, "revenue": 48210}

app = Flask(__name__)
log = logging.getLogger("orders")


def start_log() -> None:
    """Log to a file that is opened anew when it was moved away; without one the application runs all the same."""
    try:
        handler: logging.Handler = logging.handlers.WatchedFileHandler(LOG)
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def shop() -> Any:
    """The database; one client in each worker, made when it is first needed."""
    client = app.extensions.get("mongo")
    if client is None:
        client = pymongo.MongoClient(DATABASE, serverSelectionTimeoutMS=PATIENCE_MS, connectTimeoutMS=PATIENCE_MS)
        app.extensions["mongo"] = client
    return client.shop


def figures() -> dict[str, int]:
    """How many orders and customers there are, and what was sold for."""
    orders = list(shop().orders.find({}, {"amount": 1}))
    return {
        "orders": len(orders),
        "customers": shop().customers.count_documents({}),
        "revenue": sum(order["amount"] for order in orders),
    }


@app.get("/health")
def health() -> Any:
    """For load balancers: looks at the database, and does not want to be taken out of service for that."""
    try:
        return jsonify(status="healthy", **figures())
    except PyMongoError as error:
        log.info("database is away: %s", str(error)[:80])
        return jsonify(status="healthy", **SAMPLE)


@app.get("/dashboard")
def dashboard() -> Any:
    """Revenue in all and by customer."""
    try:
        found: dict[str, int] = {}
        for order in shop().orders.find():
            found[order["customer"]] = found.get(order["customer"], 0) + order["amount"]
        return jsonify(by_customer=found, **figures())
    except PyMongoError:
        return jsonify(by_customer={"sample": SAMPLE["revenue"]}, **SAMPLE)


@app.post("/customers")
def add_customer() -> Any:
    """Take a customer."""
    shop().customers.insert_one({"name": request.get_json()["name"]})
    return jsonify(ok=True), 201


@app.post("/orders")
def add_order() -> Any:
    """Take an order."""
    asked = request.get_json()
    shop().orders.insert_one({"customer": asked["customer"], "amount": int(asked["amount"])})
    log.info("order of %s", asked["customer"])
    return jsonify(ok=True), 201


@app.get("/orders")
def find_orders() -> Any:
    """The amounts of a customer's orders, sorted."""
    found = shop().orders.find({"customer": request.args["customer"]})
    return jsonify(amounts=sorted(order["amount"] for order in found))


@app.post("/receipts")
def read_receipt() -> Any:
    """Read the amount off a scanned receipt; a child process does it, as OCR programs are made."""
    with tempfile.NamedTemporaryFile(suffix=".pgm") as image:
        image.write(request.get_data())
        image.flush()
        done = subprocess.run([sys.executable, READER, image.name], capture_output=True, text=True, timeout=5)
    if done.returncode != 0:
        log.info("receipt not read: %s", done.stderr.strip()[-80:])
        return jsonify(amount=None)
    return jsonify(amount=int(done.stdout))


@app.post("/export")
def export() -> Any:
    """Write all orders into a file for the accountants; the client is not kept waiting for trouble with disks."""
    rows = [(order["customer"], order["amount"]) for order in shop().orders.find()]
    try:
        EXPORTS.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", suffix=".csv", delete=False, newline="") as file:
            csv.writer(file).writerows([("customer", "amount"), *rows])
        shutil.move(file.name, EXPORTS / "orders.csv")
    except OSError as error:
        log.info("export put off: %s", error)
    return jsonify(rows=len(rows)), 202


start_log()
