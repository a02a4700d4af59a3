#!/usr/bin/env python3
"""Enqueues certificates and waits for their results.

Usage: enqueue.py QUEUE.DB REFERENCE CERTIFICATE_ID…
The user has to be a member of the group that owns the queue (certcommit).
"""

import sqlite3
import sys
import time


def enqueue(queue, reference, certificate_ids):
    """Enqueues all in one transaction, whole or not at all. IDs that are known already stay as they are."""
    with queue:
        queue.executemany(
            "INSERT OR IGNORE INTO submissions (certificate_id, reference) VALUES (?, ?)",
            [(certificate_id, reference) for certificate_id in certificate_ids],
        )


def results(queue, reference):
    """Waits until nothing is open any more. `held` needs a person's decision, so it counts as closed."""
    still_open = """SELECT count(*) FROM submissions
                     WHERE reference = ? AND state IN ('pending', 'in_flight', 'in_doubt')"""
    while queue.execute(still_open, (reference,)).fetchone()[0]:
        time.sleep(1)
    report = """SELECT certificate_id, state, order_id, status_text, coalesce(error_code, '')
                  FROM submission_report WHERE reference = ? ORDER BY id"""
    return queue.execute(report, (reference,)).fetchall()


def main(path, reference, *certificate_ids):
    # Waits up to 5 s for other writers.
    queue = sqlite3.connect(path, timeout=5)
    try:
        enqueue(queue, reference, certificate_ids)
    except sqlite3.IntegrityError as refused:
        sys.exit(f"refused, and nothing was enqueued: {refused}")
    for row in results(queue, reference):
        print("|".join("" if value is None else str(value) for value in row))


if __name__ == "__main__":
    main(*sys.argv[1:])
