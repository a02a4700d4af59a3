"""Feeding a queue from outside.

Each line of standard input names certificates, and is answered once they are enqueued.
"""

import sys


def feed(enqueue):
    for line in sys.stdin:
        enqueue(line.split())
        print("ok", flush=True)
