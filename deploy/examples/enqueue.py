#!/usr/bin/env python3
"""Enqueues certificates and waits for their results.

Usage: enqueue.py QUEUE.DB REFERENCE CERTIFICATE_ID…

The user must be in the group that owns the queue: sudo usermod -aG certcommit "$USER", then log in again.
"""

import pathlib
import sqlite3
import sys
import time


def enqueue(queue, reference, certificate_ids):
    """Enqueues all IDs in one transaction, or none. Known IDs stay as they are."""
    with queue:
        queue.executemany(
            "INSERT OR IGNORE INTO submissions (certificate_id, reference) VALUES (?, ?)",
            [(certificate_id, reference) for certificate_id in certificate_ids],
        )


def results(queue, reference):
    """Waits until nothing is open, then returns the results. `held` needs an operator's decision, so it counts as closed."""
    still_open = """SELECT count(*) FROM submissions
                     WHERE reference = ? AND state IN ('pending', 'in_flight', 'in_doubt')"""
    while queue.execute(still_open, (reference,)).fetchone()[0]:
        time.sleep(1)
    report = """SELECT certificate_id, state, order_id, status_text, coalesce(error_code, '')
                  FROM submission_report WHERE reference = ? ORDER BY id"""
    return queue.execute(report, (reference,)).fetchall()


def main(path, reference, *certificate_ids):
    # Waits up to 5 s for other writers. With mode=rw, it never creates a file.
    queue = sqlite3.connect(pathlib.Path(path).absolute().as_uri() + "?mode=rw", uri=True, timeout=5)
    enqueue(queue, reference, certificate_ids)
    for row in results(queue, reference):
        print("|".join("" if value is None else str(value) for value in row))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        print(f"usage: {sys.argv[0]} QUEUE.DB REFERENCE CERTIFICATE_ID…", file=sys.stderr)
        sys.exit(2)
    try:
        main(*sys.argv[1:])
    except sqlite3.IntegrityError as error:
        sys.exit(f"refused, and nothing was enqueued: {error}")
    except sqlite3.OperationalError as error:
        sys.exit(f"the queue can't be used: {error}")
