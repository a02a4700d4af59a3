"""certcommit's work, done with huey and its SQLite storage."""

import os
import sys
from importlib.metadata import version

from huey import CancelExecution, SqliteHuey

from api import Refused, Retriable, commit
from feeding import feed

# Enough for replies that take 0.4 s. More threads would contend more for the limit's counter.
THREADS = 8

huey = SqliteHuey("certificates", filename=os.environ["BENCH_DATABASE"])


@huey.task(retries=7, retry_delay=1, retry_backoff=2)
@huey.rate_limit("commit", limit=20, per=1)
def submit(certificate_id):
    try:
        return commit(certificate_id)
    except Refused as error:
        return str(error)


def enqueue(ids):
    for id in ids:
        huey.enqueue(submit.s(id, id=id))


def about():
    pragmas = [huey.storage.conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    print(f"huey {version('huey')}", *pragmas, sep="\t")


if __name__ == "__main__":
    match sys.argv[1]:
        case "work":
            # Polls ten times a second, without backing off.
            huey.create_consumer(workers=THREADS, initial_delay=0.1, max_delay=0.1, backoff=1.0, periodic=False).run()
        case "feed":
            feed(enqueue)
        case "about":
            about()
