"""Enqueues for certcommit with an INSERT, as any outside program does."""

import os
import sqlite3

from feeding import feed

queue = sqlite3.connect(os.environ["BENCH_DATABASE"], timeout=10)


def enqueue(ids):
    with queue:
        queue.executemany("INSERT INTO submissions (certificate_id) VALUES (?)", [(id,) for id in ids])


feed(enqueue)
