-- The queue: SQL is the interface, and these tables, views and triggers are its rules.
--
-- Any SQLite from 3.34 on must be able to enqueue, so: no STRICT, no unixepoch(), no IS DISTINCT FROM,
-- RAISE with literals only. Input is checked by triggers rather than by CHECKs, because OR IGNORE swallows
-- those. Times are unix seconds, but for those of requests, which are unix milliseconds.

PRAGMA application_id = 1128484180; -- "CCMT"

CREATE TABLE submissions (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  certificate_id TEXT    NOT NULL UNIQUE,
  verify_type    TEXT,                               -- DNS_AUTO DNS FILE DNS_PROXY FILE_PROXY
  priority       INTEGER NOT NULL DEFAULT 0,         -- 0 to 3, higher goes first
  due_at         INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
  reference      TEXT,                               -- the caller's own key
  state          TEXT    NOT NULL DEFAULT 'pending',
  tries          INTEGER NOT NULL DEFAULT 0,         -- commits that counted against retry.max_tries
  order_id       TEXT,
  status         INTEGER,
  request_id     TEXT,
  error_code     TEXT,
  error_message  TEXT,
  reason         TEXT,                               -- why it waits, failed or is held
  resolved_by    TEXT,                               -- reply readback operator
  created_at     INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
  updated_at     INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
  finished_at    INTEGER
);
-- State leads the first three although it never differs: else submissions_state is taken in their place.
CREATE INDEX submissions_due       ON submissions (state, priority, due_at) WHERE state = 'pending';
CREATE INDEX submissions_doubt     ON submissions (state, due_at)           WHERE state = 'in_doubt';
CREATE INDEX submissions_error     ON submissions (state, error_code)       WHERE state = 'failed';
CREATE INDEX submissions_state     ON submissions (state);
CREATE INDEX submissions_reference ON submissions (reference)               WHERE reference IS NOT NULL;
CREATE INDEX submissions_updated   ON submissions (updated_at);

-- Every HTTP request ever made for a submission. A commit's row is written before it goes out and completed
-- after. It outlives the deletion of its submission.
CREATE TABLE requests (
  number         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never restarts
  certificate_id TEXT    NOT NULL,
  kind           TEXT    NOT NULL,                   -- commit read
  run_id         TEXT    NOT NULL,                   -- the daemon's run
  run_ms         INTEGER NOT NULL,                   -- monotonic milliseconds from the run's start to the sending
  started_at     INTEGER NOT NULL,                   -- unix milliseconds
  finished_at    INTEGER,                            -- unix milliseconds
  outcome        TEXT,
  http_status    INTEGER,
  error_code     TEXT,
  request_id     TEXT,
  order_id       TEXT,
  status         INTEGER,
  duration_ms    INTEGER                             -- from the first byte to the outcome
);
CREATE INDEX requests_certificate ON requests (certificate_id, kind, number);
CREATE UNIQUE INDEX requests_unfinished ON requests (certificate_id) WHERE finished_at IS NULL;

CREATE TABLE control (
  id              INTEGER PRIMARY KEY CHECK (id = 1),
  paused          INTEGER NOT NULL DEFAULT 0,
  pause_reason    TEXT,
  probe_requested INTEGER NOT NULL DEFAULT 0
);
INSERT INTO control (id) VALUES (1);

CREATE TABLE daemon (
  id           INTEGER PRIMARY KEY CHECK (id = 1),
  run_id       TEXT,
  pid          INTEGER,
  version      TEXT,
  started_at   INTEGER,
  heartbeat_at INTEGER,                              -- every 10 s
  mode         TEXT NOT NULL DEFAULT 'stopped',      -- running paused_by_operator paused_by_fault stopping stopped
  why          TEXT,
  pace         REAL                                  -- commits a second, at present
);
INSERT INTO daemon (id) VALUES (1);

CREATE TABLE status_codes (status INTEGER PRIMARY KEY, text TEXT NOT NULL);
INSERT INTO status_codes VALUES
  (0, 'reviewing'),
  (1, 'approved'),
  (2, 'unapproved'),
  (3, 'expired'),
  (4, 'DNS record added'),
  (5, 'enterprise-grade certificate, pending submission'),
  (6, 'canceling order'),
  (7, 'canceled'),
  (8, 'information submitted, pending confirmation letter upload'),
  (9, 'revoking certificate'),
  (10, 'revoked'),
  (11, 'reissuing'),
  (12, 'pending revocation confirmation letter upload'),
  (13, 'free certificate, pending submission'),
  (14, 'refunded'),
  (15, 'migrating');

-- Kept by triggers, so that a summary costs nothing however long the queue is.
CREATE TABLE state_counts (state TEXT PRIMARY KEY, count INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO state_counts (state) VALUES
  ('pending'), ('in_flight'), ('in_doubt'), ('submitted'), ('failed'), ('held'), ('canceled');

-- Whether the row that is being inserted takes the place of another: REPLACE deletes without firing
-- delete triggers, and only a note taken before tells.
CREATE TABLE insert_guard (id INTEGER PRIMARY KEY CHECK (id = 1), taken INTEGER NOT NULL);
INSERT INTO insert_guard VALUES (1, 0);

CREATE VIEW submission_report AS
SELECT s.id, s.certificate_id, s.state, s.order_id, s.status,
       CASE WHEN s.status IS NOT NULL THEN coalesce(c.text, 'unknown status') END AS status_text,
       s.request_id, s.tries, s.priority, s.verify_type, s.reference, s.error_code, s.error_message, s.reason,
       s.resolved_by,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.due_at, 'unixepoch')      AS due_at,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.created_at, 'unixepoch')  AS created_at,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.updated_at, 'unixepoch')  AS updated_at,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.finished_at, 'unixepoch') AS finished_at
  FROM submissions s LEFT JOIN status_codes c ON c.status = s.status;

CREATE VIEW queue_summary AS
SELECT n.state, n.count,
       (SELECT strftime('%Y-%m-%dT%H:%M:%SZ', s.created_at, 'unixepoch') FROM submissions s
         WHERE s.id = (SELECT min(o.id) FROM submissions o WHERE o.state = n.state)) AS oldest,
       strftime('%Y-%m-%dT%H:%M:%SZ',
         CASE n.state
           WHEN 'pending' THEN (SELECT min(due) FROM (
             SELECT min(due_at) AS due FROM submissions WHERE state = 'pending' AND priority = 0 UNION ALL
             SELECT min(due_at) FROM submissions WHERE state = 'pending' AND priority = 1 UNION ALL
             SELECT min(due_at) FROM submissions WHERE state = 'pending' AND priority = 2 UNION ALL
             SELECT min(due_at) FROM submissions WHERE state = 'pending' AND priority = 3))
           WHEN 'in_doubt' THEN (SELECT min(due_at) FROM submissions WHERE state = 'in_doubt')
         END, 'unixepoch') AS next_due
  FROM state_counts n;

---------------------------------------------------------------- what may be inserted

CREATE TRIGGER submissions_insert_rules BEFORE INSERT ON submissions BEGIN
  SELECT RAISE(ABORT, 'certificate_id must be text of 1 to 64 characters of A-Z a-z 0-9 _ -')
   WHERE typeof(NEW.certificate_id) <> 'text'
      OR length(CAST(NEW.certificate_id AS BLOB)) NOT BETWEEN 1 AND 64
      OR length(CAST(NEW.certificate_id AS BLOB)) <> length(NEW.certificate_id)
      OR NEW.certificate_id GLOB '*[^A-Za-z0-9_-]*';
  SELECT RAISE(ABORT, 'verify_type must be DNS_AUTO, DNS, FILE, DNS_PROXY or FILE_PROXY, or be left out')
   WHERE NEW.verify_type IS NOT NULL
     AND NEW.verify_type NOT IN ('DNS_AUTO', 'DNS', 'FILE', 'DNS_PROXY', 'FILE_PROXY');
  SELECT RAISE(ABORT, 'priority must be a whole number from 0 to 3; higher goes first')
   WHERE typeof(NEW.priority) <> 'integer' OR NEW.priority NOT BETWEEN 0 AND 3;
  SELECT RAISE(ABORT, 'due_at must be unix seconds from 0 to 9999999999 (a larger number looks like milliseconds); leave it out for now')
   WHERE typeof(NEW.due_at) <> 'integer' OR NEW.due_at NOT BETWEEN 0 AND 9999999999;
  SELECT RAISE(ABORT, 'reference must be text of at most 128 characters, without NUL')
   WHERE NEW.reference IS NOT NULL
     AND (typeof(NEW.reference) <> 'text' OR length(NEW.reference) > 128 OR length(CAST(NEW.reference AS BLOB)) > 512
          OR instr(CAST(NEW.reference AS BLOB), x'00') > 0);
  SELECT RAISE(ABORT, 'a new submission is pending; leave state out')
   WHERE NEW.state IS NOT 'pending';
  SELECT RAISE(ABORT, 'tries, results, reason and finished_at are written by certcommit; leave them out')
   WHERE NEW.tries IS NOT 0 OR NEW.order_id IS NOT NULL OR NEW.status IS NOT NULL OR NEW.request_id IS NOT NULL
      OR NEW.error_code IS NOT NULL OR NEW.error_message IS NOT NULL OR NEW.reason IS NOT NULL
      OR NEW.resolved_by IS NOT NULL OR NEW.finished_at IS NOT NULL;
  SELECT RAISE(ABORT, 'created_at and updated_at must be unix seconds; leave them out for now')
   WHERE typeof(NEW.created_at) <> 'integer' OR NEW.created_at NOT BETWEEN 0 AND 9999999999
      OR typeof(NEW.updated_at) <> 'integer' OR NEW.updated_at NOT BETWEEN 0 AND 9999999999;
  UPDATE insert_guard SET taken =
    EXISTS (SELECT 1 FROM submissions WHERE certificate_id = NEW.certificate_id)
    OR EXISTS (SELECT 1 FROM submissions WHERE id = NEW.id);
END;

CREATE TRIGGER submissions_inserted AFTER INSERT ON submissions BEGIN
  SELECT RAISE(ABORT, 'REPLACE would delete a submission; enqueue with INSERT OR IGNORE and change with UPDATE')
   WHERE (SELECT taken FROM insert_guard);
  -- A high id would leave none for those that come after. Rows that OR IGNORE skips use ids up, so gaps are right.
  SELECT RAISE(ABORT, 'id is given out by the queue; leave it out')
   WHERE NEW.id <> (SELECT max(id) FROM submissions)
      OR NEW.id - max(coalesce((SELECT max(id) FROM submissions WHERE id < NEW.id), 0),
                      coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'submissions'), 0))
         NOT BETWEEN 1 AND 1000000000;
  SELECT RAISE(ABORT, 'this certificate was committed before, and its order is placed; see requests')
   WHERE EXISTS (SELECT 1 FROM requests
                  WHERE certificate_id = NEW.certificate_id AND kind = 'commit' AND outcome = 'submitted')
      OR EXISTS (SELECT 1 FROM requests
                  WHERE certificate_id = NEW.certificate_id AND kind = 'read' AND outcome = 'committed');
  SELECT RAISE(ABORT, 'this certificate was committed before, and whether its order is placed is not settled; see requests')
   WHERE EXISTS (
     SELECT 1 FROM requests c
      WHERE c.number = (SELECT max(number) FROM requests WHERE certificate_id = NEW.certificate_id AND kind = 'commit')
        AND (c.finished_at IS NULL OR c.outcome IN ('in_doubt', 'status_refused'))
        AND (SELECT count(*) FROM requests r
              WHERE r.certificate_id = c.certificate_id AND r.kind = 'read' AND r.number > c.number
                AND r.outcome = 'not_committed')
            < CASE c.outcome WHEN 'status_refused' THEN 1 ELSE 2 END);
  UPDATE state_counts SET count = count + 1 WHERE state = NEW.state;
END;

---------------------------------------------------------------- what may be changed

-- What runs for every submission compares one by one: for a list of more than two, SQLite makes a table, each time that
-- a trigger runs, and that was a third of all its work.
CREATE TRIGGER submissions_update_rules BEFORE UPDATE ON submissions BEGIN
  SELECT RAISE(ABORT, 'id, certificate_id and created_at never change; insert another submission')
   WHERE NEW.id IS NOT OLD.id OR NEW.certificate_id IS NOT OLD.certificate_id OR NEW.created_at IS NOT OLD.created_at;
  SELECT RAISE(ABORT, 'verify_type must be DNS_AUTO, DNS, FILE, DNS_PROXY or FILE_PROXY, or null')
   WHERE NEW.verify_type IS NOT NULL
     AND NEW.verify_type <> 'DNS_AUTO' AND NEW.verify_type <> 'DNS' AND NEW.verify_type <> 'FILE'
     AND NEW.verify_type <> 'DNS_PROXY' AND NEW.verify_type <> 'FILE_PROXY';
  SELECT RAISE(ABORT, 'priority must be a whole number from 0 to 3; higher goes first')
   WHERE typeof(NEW.priority) <> 'integer' OR NEW.priority NOT BETWEEN 0 AND 3;
  SELECT RAISE(ABORT, 'due_at must be unix seconds from 0 to 9999999999; a larger number looks like milliseconds')
   WHERE typeof(NEW.due_at) <> 'integer' OR NEW.due_at NOT BETWEEN 0 AND 9999999999;
  SELECT RAISE(ABORT, 'reference must be text of at most 128 characters, without NUL')
   WHERE NEW.reference IS NOT NULL
     AND (typeof(NEW.reference) <> 'text' OR length(NEW.reference) > 128 OR length(CAST(NEW.reference AS BLOB)) > 512
          OR instr(CAST(NEW.reference AS BLOB), x'00') > 0);
  SELECT RAISE(ABORT, 'updated_at and finished_at must be unix seconds')
   WHERE typeof(NEW.updated_at) <> 'integer'
      OR (NEW.finished_at IS NOT NULL AND typeof(NEW.finished_at) <> 'integer');
  SELECT RAISE(ABORT, 'tries must be a whole number from 0')
   WHERE typeof(NEW.tries) <> 'integer' OR NEW.tries NOT BETWEEN 0 AND 4294967295;
  SELECT RAISE(ABORT, 'order_id, request_id, error_code, error_message and reason must be text, and status a whole number')
   WHERE typeof(NEW.order_id) NOT IN ('text', 'null') OR typeof(NEW.request_id) NOT IN ('text', 'null')
      OR typeof(NEW.error_code) NOT IN ('text', 'null') OR typeof(NEW.error_message) NOT IN ('text', 'null')
      OR typeof(NEW.reason) NOT IN ('text', 'null') OR typeof(NEW.status) NOT IN ('integer', 'null');

  SELECT RAISE(ABORT, 'state must be pending, in_flight, in_doubt, submitted, failed, held or canceled')
   WHERE NEW.state IS NULL
      OR NEW.state <> 'pending' AND NEW.state <> 'in_flight' AND NEW.state <> 'in_doubt' AND NEW.state <> 'submitted'
         AND NEW.state <> 'failed' AND NEW.state <> 'held' AND NEW.state <> 'canceled';
  SELECT RAISE(ABORT, 'a pending submission can become canceled, or in_doubt to be read back before it is sent; the rest is for certcommit')
   WHERE OLD.state = 'pending' AND NEW.state <> 'pending' AND NEW.state <> 'in_flight' AND NEW.state <> 'canceled'
     AND NEW.state <> 'in_doubt';
  SELECT RAISE(ABORT, 'a submission in flight is on its way to the server; wait for its outcome')
   WHERE OLD.state = 'in_flight' AND NEW.state <> 'in_flight' AND NEW.state <> 'submitted' AND NEW.state <> 'failed'
     AND NEW.state <> 'pending' AND NEW.state <> 'in_doubt';
  SELECT RAISE(ABORT, 'a submission in doubt may have been placed; it is read back, or becomes held for you to decide')
   WHERE OLD.state = 'in_doubt' AND NEW.state <> 'in_doubt' AND NEW.state <> 'submitted' AND NEW.state <> 'failed'
     AND NEW.state <> 'pending' AND NEW.state <> 'held';
  SELECT RAISE(ABORT, 'a submitted submission is final')
   WHERE OLD.state = 'submitted' AND NEW.state <> 'submitted';
  SELECT RAISE(ABORT, 'a failed submission can become pending, to be tried once more, and nothing else')
   WHERE OLD.state = 'failed' AND NEW.state <> 'failed' AND NEW.state <> 'pending';
  SELECT RAISE(ABORT, 'a held submission can become in_doubt, to be read again, or pending, submitted or failed')
   WHERE OLD.state = 'held' AND NEW.state <> 'held' AND NEW.state <> 'in_doubt' AND NEW.state <> 'pending'
     AND NEW.state <> 'submitted' AND NEW.state <> 'failed';
  SELECT RAISE(ABORT, 'a canceled submission can become pending, and nothing else')
   WHERE OLD.state = 'canceled' AND NEW.state <> 'canceled' AND NEW.state <> 'pending';
  SELECT RAISE(ABORT, 'resolved_by must be reply, readback or operator, and comes with submitted alone')
   WHERE NEW.resolved_by IS NOT NULL
     AND (NEW.resolved_by <> 'reply' AND NEW.resolved_by <> 'readback' AND NEW.resolved_by <> 'operator'
          OR NEW.state IS NOT 'submitted');

  SELECT RAISE(ABORT, 'tries, order_id, status, request_id, error_code, error_message and resolved_by are written by certcommit, with the state')
   WHERE (NEW.tries IS NOT OLD.tries OR NEW.order_id IS NOT OLD.order_id OR NEW.status IS NOT OLD.status
          OR NEW.request_id IS NOT OLD.request_id OR NEW.error_code IS NOT OLD.error_code
          OR NEW.error_message IS NOT OLD.error_message OR NEW.resolved_by IS NOT OLD.resolved_by)
     AND NOT (OLD.state IN ('in_flight', 'in_doubt') AND NEW.state <> OLD.state)
     AND NOT (OLD.state = 'held' AND NEW.state IN ('submitted', 'failed'))
     AND NOT (NEW.state = 'pending' AND NEW.tries IS 0 AND NEW.order_id IS NULL AND NEW.status IS NULL
              AND NEW.request_id IS NULL AND NEW.error_code IS NULL AND NEW.error_message IS NULL
              AND NEW.resolved_by IS NULL);

  -- What a change of state needs besides: the evidence.
  SELECT RAISE(ABORT, 'a submission becomes in_flight only when certcommit claims it; leave it pending')
   WHERE NEW.state = 'in_flight' AND OLD.state <> 'in_flight'
     AND NOT EXISTS (SELECT 1 FROM requests
                      WHERE certificate_id = OLD.certificate_id AND kind = 'commit' AND finished_at IS NULL);
  SELECT RAISE(ABORT, 'a submission in flight is on its way to the server; wait for its outcome')
   WHERE OLD.state = 'in_flight' AND NEW.state <> 'in_flight'
     AND NOT EXISTS (
       SELECT 1 FROM requests
        WHERE number = (SELECT max(number) FROM requests WHERE certificate_id = OLD.certificate_id AND kind = 'commit')
          AND CASE NEW.state
                WHEN 'submitted' THEN outcome = 'submitted'
                WHEN 'failed' THEN outcome IN ('failed', 'denied', 'retry', 'backend_error')
                WHEN 'pending' THEN outcome IN ('retry', 'backend_error', 'throttled', 'account', 'not_sent')
                ELSE outcome IN ('in_doubt', 'status_refused', 'backend_error')
              END);
  SELECT RAISE(ABORT, 'a submission in doubt is sent again only after two reads that found nothing submitted')
   WHERE OLD.state = 'in_doubt' AND NEW.state = 'pending'
     AND (SELECT count(*) FROM requests
           WHERE certificate_id = OLD.certificate_id AND kind = 'read' AND outcome = 'not_committed'
             AND number > coalesce((SELECT max(number) FROM requests
                                     WHERE certificate_id = OLD.certificate_id AND kind = 'commit'), 0)) < 2;
  SELECT RAISE(ABORT, 'a submission in doubt becomes submitted or failed only by what was read back; make it held to decide yourself')
   WHERE OLD.state = 'in_doubt' AND NEW.state IN ('submitted', 'failed')
     AND NOT EXISTS (SELECT 1 FROM requests
                      WHERE certificate_id = OLD.certificate_id AND kind = 'read'
                        AND outcome IN ('committed', CASE NEW.state WHEN 'failed' THEN 'not_committed' END,
                                        CASE NEW.state WHEN 'failed' THEN 'dead_end' END)
                        AND number > coalesce((SELECT max(number) FROM requests
                                                WHERE certificate_id = OLD.certificate_id AND kind = 'commit'), 0));
  SELECT RAISE(ABORT, 'a submission becomes submitted only with its order_id and with who established it (resolved_by)')
   WHERE NEW.state = 'submitted' AND OLD.state <> 'submitted'
     AND (NEW.order_id IS NULL OR length(NEW.order_id) NOT BETWEEN 1 AND 128 OR NEW.resolved_by IS NULL
          OR (OLD.state = 'held') <> (NEW.resolved_by = 'operator'));
END;

CREATE TRIGGER submissions_moved AFTER UPDATE OF state ON submissions WHEN NEW.state <> OLD.state BEGIN
  UPDATE state_counts SET count = count - 1 WHERE state = OLD.state;
  UPDATE state_counts SET count = count + 1 WHERE state = NEW.state;
  UPDATE submissions
     SET finished_at = CASE WHEN NEW.state = 'submitted' OR NEW.state = 'failed' OR NEW.state = 'canceled'
                            THEN CAST(strftime('%s', 'now') AS INTEGER) END
   WHERE id = NEW.id
     AND (finished_at IS NULL) = (NEW.state = 'submitted' OR NEW.state = 'failed' OR NEW.state = 'canceled');
END;

-- Setting state to pending by hand is enough: the rest is cleared, and it is due at once.
CREATE TRIGGER submissions_requeued AFTER UPDATE OF state ON submissions
WHEN NEW.state = 'pending' AND OLD.state IN ('failed', 'held', 'canceled') BEGIN
  UPDATE submissions
     SET tries = 0, order_id = NULL, status = NULL, request_id = NULL, error_code = NULL, error_message = NULL,
         reason = NULL, resolved_by = NULL,
         due_at = CASE WHEN NEW.due_at IS OLD.due_at THEN CAST(strftime('%s', 'now') AS INTEGER) ELSE NEW.due_at END
   WHERE id = NEW.id;
END;

-- Only forwards: a time that was written by a clock that was ahead tells so, once the clock is set back.
CREATE TRIGGER submissions_touched AFTER UPDATE ON submissions
WHEN NEW.updated_at IS OLD.updated_at AND OLD.updated_at < CAST(strftime('%s', 'now') AS INTEGER) BEGIN
  UPDATE submissions SET updated_at = CAST(strftime('%s', 'now') AS INTEGER) WHERE id = NEW.id;
END;

---------------------------------------------------------------- what may be deleted

CREATE TRIGGER submissions_delete_rules BEFORE DELETE ON submissions BEGIN
  SELECT RAISE(ABORT, 'a submission in flight or in doubt can not be deleted: its order may have been placed')
   WHERE OLD.state IN ('in_flight', 'in_doubt');
END;

CREATE TRIGGER submissions_deleted AFTER DELETE ON submissions BEGIN
  UPDATE state_counts SET count = count - 1 WHERE state = OLD.state;
END;

---------------------------------------------------------------- the record of requests

CREATE TRIGGER requests_insert_rules BEFORE INSERT ON requests BEGIN
  SELECT RAISE(ABORT, 'requests are written by certcommit, before it sends them')
   WHERE NEW.kind IS NULL OR NEW.kind NOT IN ('commit', 'read') OR NEW.finished_at IS NOT NULL OR NEW.outcome IS NOT NULL
      OR typeof(NEW.run_id) <> 'text' OR typeof(NEW.run_ms) <> 'integer' OR typeof(NEW.started_at) <> 'integer'
      OR EXISTS (SELECT 1 FROM requests WHERE number = NEW.number)
      OR EXISTS (SELECT 1 FROM requests WHERE certificate_id = NEW.certificate_id AND finished_at IS NULL)
      OR NOT EXISTS (SELECT 1 FROM submissions
                      WHERE certificate_id = NEW.certificate_id
                        AND (state = 'pending' OR (state = 'in_doubt' AND NEW.kind = 'read')));
END;

CREATE TRIGGER requests_inserted AFTER INSERT ON requests BEGIN
  SELECT RAISE(ABORT, 'number is given out by the queue; leave it out')
   WHERE NEW.number <> (SELECT max(number) FROM requests)
      OR NEW.number <> 1 + max(coalesce((SELECT max(number) FROM requests WHERE number < NEW.number), 0),
                               coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0));
END;

CREATE TRIGGER requests_update_rules BEFORE UPDATE ON requests BEGIN
  SELECT RAISE(ABORT, 'a finished request never changes')
   WHERE OLD.finished_at IS NOT NULL;
  SELECT RAISE(ABORT, 'a request is completed once, with its outcome, and keeps its number, certificate_id, kind and run')
   WHERE NEW.number IS NOT OLD.number OR NEW.certificate_id IS NOT OLD.certificate_id OR NEW.kind IS NOT OLD.kind
      OR NEW.run_id IS NOT OLD.run_id OR NEW.started_at IS NOT OLD.started_at
      OR typeof(NEW.finished_at) <> 'integer' OR typeof(NEW.run_ms) <> 'integer' OR NEW.outcome IS NULL
      OR NOT CASE OLD.kind
               WHEN 'commit' THEN
                 NEW.outcome = 'submitted' OR NEW.outcome = 'retry' OR NEW.outcome = 'backend_error'
                 OR NEW.outcome = 'throttled' OR NEW.outcome = 'account' OR NEW.outcome = 'denied'
                 OR NEW.outcome = 'failed' OR NEW.outcome = 'status_refused' OR NEW.outcome = 'not_sent'
                 OR NEW.outcome = 'in_doubt'
               ELSE
                 NEW.outcome = 'committed' OR NEW.outcome = 'not_committed' OR NEW.outcome = 'dead_end'
                 OR NEW.outcome = 'unclear' OR NEW.outcome = 'retry' OR NEW.outcome = 'throttled'
                 OR NEW.outcome = 'account' OR NEW.outcome = 'denied' OR NEW.outcome = 'failed'
                 OR NEW.outcome = 'not_sent'
             END;
END;

-- What is deleted must change no decision about a certificate that is still to be made. So the oldest go first, and
-- those that still tell something stay, with all that came after them.
CREATE TRIGGER requests_delete_rules BEFORE DELETE ON requests BEGIN
  SELECT RAISE(ABORT, 'the last commit of a certificate, and what was read since, is evidence and stays')
   WHERE OLD.finished_at IS NULL
      OR OLD.number >= coalesce((SELECT max(number) FROM requests
                                  WHERE certificate_id = OLD.certificate_id AND kind = 'commit'), 0);
  SELECT RAISE(ABORT, 'a request that placed or found an order is evidence and stays')
   WHERE OLD.outcome IN ('submitted', 'committed');
  SELECT RAISE(ABORT, 'a commit whose order may be placed, and that was not disproved by two reads, is evidence and stays')
   WHERE OLD.kind = 'commit' AND OLD.outcome = 'in_doubt'
     AND (SELECT count(*) FROM requests r
           WHERE r.certificate_id = OLD.certificate_id AND r.kind = 'read' AND r.outcome = 'not_committed'
             AND r.number > OLD.number
             AND r.number < (SELECT min(c.number) FROM requests c
                              WHERE c.certificate_id = OLD.certificate_id AND c.kind = 'commit'
                                AND c.number > OLD.number)) < 2;
  SELECT RAISE(ABORT, 'a commit that the backend answered in error, and that was not read since, is evidence and stays')
   WHERE OLD.kind = 'commit' AND OLD.outcome = 'backend_error'
     AND NOT EXISTS (SELECT 1 FROM requests r
                      WHERE r.certificate_id = OLD.certificate_id AND r.kind = 'read' AND r.number > OLD.number
                        AND r.outcome IN ('not_committed', 'denied'));
  SELECT RAISE(ABORT, 'of the requests for a certificate, the oldest has to be deleted first')
   WHERE EXISTS (SELECT 1 FROM requests WHERE certificate_id = OLD.certificate_id AND kind = 'commit' AND number < OLD.number)
      OR EXISTS (SELECT 1 FROM requests WHERE certificate_id = OLD.certificate_id AND kind = 'read' AND number < OLD.number);
END;

---------------------------------------------------------------- the two rows that are always there

CREATE TRIGGER control_rules BEFORE UPDATE ON control BEGIN
  SELECT RAISE(ABORT, 'paused and probe_requested must be 0 or 1, and pause_reason text')
   WHERE NEW.id IS NOT 1 OR NEW.paused NOT IN (0, 1) OR NEW.probe_requested NOT IN (0, 1)
      OR typeof(NEW.paused) <> 'integer' OR typeof(NEW.probe_requested) <> 'integer'
      OR typeof(NEW.pause_reason) NOT IN ('text', 'null');
END;
CREATE TRIGGER control_stays BEFORE DELETE ON control BEGIN
  SELECT RAISE(ABORT, 'control has one row, which stays; update it');
END;
CREATE TRIGGER control_is_one BEFORE INSERT ON control BEGIN
  SELECT RAISE(ABORT, 'control has one row, which stays; update it');
END;
CREATE TRIGGER daemon_stays BEFORE DELETE ON daemon BEGIN
  SELECT RAISE(ABORT, 'daemon has one row, written by certcommit');
END;
CREATE TRIGGER daemon_is_one BEFORE INSERT ON daemon BEGIN
  SELECT RAISE(ABORT, 'daemon has one row, written by certcommit');
END;

CREATE TRIGGER state_counts_stay BEFORE DELETE ON state_counts BEGIN
  SELECT RAISE(ABORT, 'state_counts is kept by the queue');
END;
CREATE TRIGGER insert_guard_stays BEFORE DELETE ON insert_guard BEGIN
  SELECT RAISE(ABORT, 'insert_guard is kept by the queue');
END;
