#!/bin/sh
# Enqueues certificates and waits for their results, with the sqlite3 shell.
# Usage: enqueue.sh QUEUE.DB REFERENCE CERTIFICATE_ID…
#
# The user must be in the group that owns the queue: sudo usermod -aG certcommit "$USER", then log in again.
set -eu
if [ $# -lt 3 ]; then
  echo "usage: $0 QUEUE.DB REFERENCE CERTIFICATE_ID…" >&2
  exit 2
fi
queue=$1 reference=$2
shift 2
# sqlite3 would create a missing file.
if [ ! -w "$queue" ]; then
  echo "$queue doesn't exist or isn't writable: are you in the group certcommit?" >&2
  exit 1
fi

# Waits up to 5 s for other writers; without it, sqlite3 gives up at once.
sql() { sqlite3 -batch -bail -cmd '.timeout 5000' "$queue" "$@"; }
# Quotes text as an SQL literal.
text() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

# Enqueues all IDs in one transaction, or none. A known ID stays as it is; bad input is an error.
{
  echo 'BEGIN IMMEDIATE;'
  for id; do
    echo "INSERT OR IGNORE INTO submissions (certificate_id, reference) VALUES ($(text "$id"), $(text "$reference"));"
  done
  echo 'COMMIT;'
} | sql

open="SELECT count(*) FROM submissions WHERE reference = $(text "$reference")
       AND state IN ('pending', 'in_flight', 'in_doubt')"
while [ "$(sql "$open")" -gt 0 ]; do
  sleep 1
done
sql "SELECT certificate_id, state, order_id, status_text, coalesce(error_code, '') FROM submission_report
      WHERE reference = $(text "$reference") ORDER BY id"
