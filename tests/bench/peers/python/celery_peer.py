"""certcommit's work, done with Celery: its broker and its results in SQLite."""

import os
import sys
from importlib.metadata import version

from celery import Celery
from kombu.transport.sqlalchemy import Transport

from api import Refused, Retriable, commit
from feeding import feed

FOLDER = os.path.dirname(os.environ["BENCH_DATABASE"])
# Enough for replies that take 0.8 s.
THREADS = 16

# The default is a second. The setting of that name breaks this transport, which passes it on to SQLAlchemy, which rejects
# it.
Transport.polling_interval = 0.1

app = Celery(
    "celery_peer", broker=f"sqla+sqlite:///{FOLDER}/broker.db", backend=f"db+sqlite:///{FOLDER}/results.db"
)
app.conf.update(
    # As the documentation advises where no task may be lost: acknowledge a task when it's done, and don't prefetch.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_default_rate_limit="20/s",
)


@app.task(autoretry_for=(Retriable,), max_retries=7, retry_backoff=1, retry_backoff_max=300, throws=(Refused,))
def submit(certificate_id):
    return commit(certificate_id)


def enqueue(ids):
    for id in ids:
        submit.apply_async((id,), task_id=id)


def about():
    from sqlalchemy import text

    with app.connection_for_write() as connection, connection.channel() as channel:
        pragmas = [channel.session.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
    print(f"Celery {version('celery')}", *pragmas, sep="\t")


if __name__ == "__main__":
    match sys.argv[1]:
        case "work":
            options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
            app.worker_main(["worker", "--pool=threads", f"--concurrency={THREADS}", *options])
        case "feed":
            feed(enqueue)
        case "about":
            about()
