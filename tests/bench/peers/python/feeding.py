"""Feeds a queue from outside.

Enqueues the certificates on each line of standard input, then prints "ok".
"""

import sys


def feed(enqueue):
    for line in sys.stdin:
        enqueue(line.split())
        print("ok", flush=True)
