"""The plain loop: certificates from a table, one request every 1/20 s, each result written back."""

import os
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from queue import Empty, SimpleQueue

from feeding import feed

PACE = 1 / 20
# Enough for answers that take 0.8 s.
THREADS = 16
BATCH = 100
MAX_TRIES = 8
IDLE = 0.1


def connect():
    connection = sqlite3.connect(os.environ["BENCH_DATABASE"], timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        """CREATE TABLE IF NOT EXISTS certificates (id INTEGER PRIMARY KEY, certificate_id TEXT UNIQUE NOT NULL,
           state TEXT NOT NULL DEFAULT 'pending', tries INTEGER NOT NULL DEFAULT 0, order_id TEXT, status INTEGER,
           request_id TEXT, error TEXT)"""
    )
    connection.execute("CREATE INDEX IF NOT EXISTS pending ON certificates (id) WHERE state = 'pending'")
    return connection


def submit(row, results):
    from api import Refused, Retriable, commit

    id, certificate_id = row
    try:
        results.put((id, "submitted", *commit(certificate_id), None))
    except Retriable as error:
        results.put((id, "pending", None, None, None, str(error)))
    except Refused as error:
        results.put((id, "failed", None, None, None, str(error)))


def write_back(connection, results, in_flight):
    try:
        while True:
            id, state, order_id, status, request_id, error = results.get_nowait()
            with connection:
                connection.execute(
                    """UPDATE certificates
                       SET state = CASE WHEN ? = 'pending' AND tries + 1 >= ? THEN 'failed' ELSE ? END, tries = tries + 1,
                           order_id = ?, status = ?, request_id = ?, error = ?
                       WHERE id = ?""",
                    (state, MAX_TRIES, state, order_id, status, request_id, error, id),
                )
            in_flight.discard(id)
    except Empty:
        pass


def work():
    import api  # noqa: F401  the SDK takes a while to load

    connection, results, in_flight, waiting = connect(), SimpleQueue(), set(), []
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            write_back(connection, results, in_flight)
            if not waiting:
                rows = connection.execute(
                    "SELECT id, certificate_id FROM certificates WHERE state = 'pending' ORDER BY id LIMIT ?",
                    (BATCH + len(in_flight),),
                )
                waiting = [row for row in rows if row[0] not in in_flight][::-1]
            if waiting and len(in_flight) < THREADS:
                row = waiting.pop()
                in_flight.add(row[0])
                pool.submit(submit, row, results)
                time.sleep(PACE)
            else:
                time.sleep(PACE if in_flight else IDLE)


def enqueue(connection, ids):
    with connection:
        connection.executemany("INSERT INTO certificates (certificate_id) VALUES (?)", [(id,) for id in ids])


def about():
    connection = connect()
    pragmas = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    print(f"loop, SDK {version('tencentcloud-sdk-python-ssl')}", *pragmas, sep="\t")


match sys.argv[1]:
    case "work":
        work()
    case "feed":
        connection = connect()
        feed(lambda ids: enqueue(connection, ids))
    case "about":
        about()
