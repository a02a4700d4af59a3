-- One rule for what is sent again: after a commit that may have been executed (any outcome but throttled, account and
-- not_sent), only reads since then that found nothing submitted allow another one: two after a commit in doubt or
-- refused for the certificate's status, one after any other. A read that shows anything else makes those before it void.

---------------------------------------------------------------- what an operator established

-- The orders that people found themselves. Like requests, they outlive their submissions.
CREATE TABLE resolutions (
  certificate_id TEXT    NOT NULL PRIMARY KEY,
  order_id       TEXT    NOT NULL,
  resolved_at    INTEGER NOT NULL                    -- unix seconds
) WITHOUT ROWID;
INSERT INTO resolutions (certificate_id, order_id, resolved_at)
  SELECT certificate_id, order_id, coalesce(finished_at, updated_at) FROM submissions
   WHERE state = 'submitted' AND resolved_by = 'operator';

CREATE TRIGGER submissions_resolved AFTER UPDATE OF state ON submissions
WHEN NEW.state = 'submitted' AND NEW.resolved_by = 'operator' BEGIN
  INSERT OR IGNORE INTO resolutions (certificate_id, order_id, resolved_at)
    VALUES (NEW.certificate_id, NEW.order_id, CAST(strftime('%s', 'now') AS INTEGER));
END;
CREATE TRIGGER resolutions_insert_rules BEFORE INSERT ON resolutions BEGIN
  SELECT RAISE(ABORT, 'resolutions are written by the queue, when a held submission is resolved as submitted')
   WHERE NOT EXISTS (SELECT 1 FROM submissions
                      WHERE certificate_id = NEW.certificate_id AND state = 'submitted' AND resolved_by = 'operator'
                        AND order_id = NEW.order_id);
END;
CREATE TRIGGER resolutions_never_change BEFORE UPDATE ON resolutions BEGIN
  SELECT RAISE(ABORT, 'an order that an operator established is evidence and never changes');
END;
CREATE TRIGGER resolutions_stay BEFORE DELETE ON resolutions BEGIN
  SELECT RAISE(ABORT, 'an order that an operator established is evidence and stays');
END;

---------------------------------------------------------------- when it was wanted

-- due_at is when something is done next. Where that is a read, the time before which nothing may be sent is kept here.
ALTER TABLE submissions ADD COLUMN not_before INTEGER;

CREATE TRIGGER submissions_deferred AFTER UPDATE OF state ON submissions
WHEN OLD.state IN ('pending', 'in_flight') AND NEW.state = 'in_doubt' AND OLD.due_at > CAST(strftime('%s', 'now') AS INTEGER) BEGIN
  UPDATE submissions SET not_before = OLD.due_at WHERE id = NEW.id;
END;
CREATE TRIGGER submissions_due_again AFTER UPDATE OF state ON submissions
WHEN OLD.state = 'in_doubt' AND NEW.state = 'pending' AND NEW.not_before IS NOT NULL BEGIN
  UPDATE submissions SET due_at = max(due_at, not_before), not_before = NULL WHERE id = NEW.id;
END;

-- Setting state to pending by hand is enough: the rest is cleared, and it is due at once, or when it was wanted.
DROP TRIGGER submissions_requeued;
CREATE TRIGGER submissions_requeued AFTER UPDATE OF state ON submissions
WHEN NEW.state = 'pending' AND OLD.state IN ('failed', 'held', 'canceled') BEGIN
  UPDATE submissions
     SET tries = 0, order_id = NULL, status = NULL, request_id = NULL, error_code = NULL, error_message = NULL,
         reason = NULL, resolved_by = NULL, not_before = NULL,
         due_at = CASE WHEN NEW.due_at IS OLD.due_at
                       THEN max(CAST(strftime('%s', 'now') AS INTEGER), coalesce(NEW.not_before, 0)) ELSE NEW.due_at END
   WHERE id = NEW.id;
END;

---------------------------------------------------------------- what may be inserted

CREATE TRIGGER submissions_insert_not_before BEFORE INSERT ON submissions BEGIN
  SELECT RAISE(ABORT, 'not_before is written by certcommit; leave it out, and say with due_at when it is to be sent')
   WHERE NEW.not_before IS NOT NULL;
END;

DROP TRIGGER submissions_inserted;
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
  SELECT RAISE(ABORT, 'this certificate was committed before, and an operator found its order placed; see resolutions')
   WHERE EXISTS (SELECT 1 FROM resolutions WHERE certificate_id = NEW.certificate_id);
  -- Whatever else happened to it may come again: it is read before it is sent, if it may have been placed.
  SELECT RAISE(ABORT, 'a request for this certificate is still on its way; wait for its outcome')
   WHERE EXISTS (SELECT 1 FROM requests WHERE certificate_id = NEW.certificate_id AND finished_at IS NULL);
  UPDATE state_counts SET count = count + 1 WHERE state = NEW.state;
END;

---------------------------------------------------------------- what may be changed

CREATE TRIGGER submissions_update_not_before BEFORE UPDATE OF not_before ON submissions BEGIN
  SELECT RAISE(ABORT, 'not_before must be unix seconds')
   WHERE NEW.not_before IS NOT NULL AND typeof(NEW.not_before) <> 'integer';
END;

DROP TRIGGER submissions_update_rules;
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
  SELECT RAISE(ABORT, 'its order is placed; see requests and resolutions')
   WHERE NEW.state = 'in_flight' AND OLD.state <> 'in_flight'
     AND (EXISTS (SELECT 1 FROM requests
                   WHERE certificate_id = OLD.certificate_id AND kind = 'commit' AND outcome = 'submitted')
          OR EXISTS (SELECT 1 FROM requests
                      WHERE certificate_id = OLD.certificate_id AND kind = 'read' AND outcome = 'committed')
          OR EXISTS (SELECT 1 FROM resolutions WHERE certificate_id = OLD.certificate_id));
  SELECT RAISE(ABORT, 'a submission that may have been placed is sent again only after it was read, and nothing was found submitted')
   WHERE NEW.state = 'in_flight' AND OLD.state <> 'in_flight'
     AND EXISTS (
       SELECT 1 FROM requests c
        WHERE c.number = (SELECT max(number) FROM requests
                           WHERE certificate_id = OLD.certificate_id AND kind = 'commit' AND finished_at IS NOT NULL
                             AND outcome <> 'throttled' AND outcome <> 'account' AND outcome <> 'not_sent')
          AND (SELECT count(*) FROM requests r
                WHERE r.certificate_id = c.certificate_id AND r.kind = 'read' AND r.outcome = 'not_committed'
                  AND r.number > max(c.number, coalesce((SELECT max(number) FROM requests
                                                          WHERE certificate_id = c.certificate_id AND kind = 'read'
                                                            AND outcome IN ('dead_end', 'unclear', 'failed')), 0)))
              < CASE WHEN c.outcome = 'in_doubt' OR c.outcome = 'status_refused' THEN 2 ELSE 1 END);
  SELECT RAISE(ABORT, 'a submission in flight is on its way to the server; wait for its outcome')
   WHERE OLD.state = 'in_flight' AND NEW.state <> 'in_flight'
     AND NOT EXISTS (
       SELECT 1 FROM requests
        WHERE number = (SELECT max(number) FROM requests WHERE certificate_id = OLD.certificate_id AND kind = 'commit')
          AND CASE NEW.state
                WHEN 'submitted' THEN outcome = 'submitted'
                WHEN 'failed' THEN outcome IN ('failed', 'denied')
                WHEN 'pending' THEN outcome IN ('retry', 'backend_error', 'throttled', 'account', 'not_sent')
                ELSE outcome IN ('in_doubt', 'status_refused', 'backend_error', 'retry')
              END);
  SELECT RAISE(ABORT, 'a submission in doubt is sent again only after two reads that found nothing submitted')
   WHERE OLD.state = 'in_doubt' AND NEW.state = 'pending'
     AND (SELECT count(*) FROM requests
           WHERE certificate_id = OLD.certificate_id AND kind = 'read' AND outcome = 'not_committed'
             AND number > max(coalesce((SELECT max(number) FROM requests
                                         WHERE certificate_id = OLD.certificate_id AND kind = 'commit'
                                           AND coalesce(outcome NOT IN ('throttled', 'account', 'not_sent'), 1)), 0),
                              coalesce((SELECT max(number) FROM requests
                                         WHERE certificate_id = OLD.certificate_id AND kind = 'read'
                                           AND outcome IN ('committed', 'dead_end', 'unclear', 'failed')), 0))) < 2;
  SELECT RAISE(ABORT, 'a submission in doubt becomes submitted or failed only by what was read back; make it held to decide yourself')
   WHERE OLD.state = 'in_doubt' AND NEW.state IN ('submitted', 'failed')
     AND NOT EXISTS (SELECT 1 FROM requests
                      WHERE certificate_id = OLD.certificate_id AND kind = 'read'
                        AND outcome IN ('committed', CASE NEW.state WHEN 'failed' THEN 'not_committed' END,
                                        CASE NEW.state WHEN 'failed' THEN 'dead_end' END,
                                        CASE NEW.state WHEN 'failed' THEN 'failed' END)
                        AND number > coalesce((SELECT max(number) FROM requests
                                                WHERE certificate_id = OLD.certificate_id AND kind = 'commit'
                                                  AND coalesce(outcome NOT IN ('throttled', 'account', 'not_sent'), 1)), 0));
  SELECT RAISE(ABORT, 'a submission becomes submitted only with its order_id and with who established it (resolved_by)')
   WHERE NEW.state = 'submitted' AND OLD.state <> 'submitted'
     AND (NEW.order_id IS NULL OR length(NEW.order_id) NOT BETWEEN 1 AND 128 OR NEW.resolved_by IS NULL
          OR (OLD.state = 'held') <> (NEW.resolved_by = 'operator'));
END;

---------------------------------------------------------------- what may be deleted

-- What is deleted must change no decision about a certificate that is still to be made. So the oldest go first, and
-- those that still tell something stay, with all that came after them.
DROP TRIGGER requests_delete_rules;
CREATE TRIGGER requests_delete_rules BEFORE DELETE ON requests BEGIN
  SELECT RAISE(ABORT, 'the last commit of a certificate that may have been executed, and what came since, is evidence and stays')
   WHERE OLD.finished_at IS NULL
      OR OLD.number >= coalesce((SELECT max(number) FROM requests
                                  WHERE certificate_id = OLD.certificate_id AND kind = 'commit'
                                    AND coalesce(outcome NOT IN ('throttled', 'account', 'not_sent'), 1)), 0);
  SELECT RAISE(ABORT, 'a request that placed or found an order is evidence and stays')
   WHERE OLD.outcome IN ('submitted', 'committed');
  SELECT RAISE(ABORT, 'of the requests for a certificate, the oldest has to be deleted first')
   WHERE EXISTS (SELECT 1 FROM requests WHERE certificate_id = OLD.certificate_id AND kind = 'commit' AND number < OLD.number)
      OR EXISTS (SELECT 1 FROM requests WHERE certificate_id = OLD.certificate_id AND kind = 'read' AND number < OLD.number);
  SELECT RAISE(ABORT, 'a commit that may have been executed, and that was not disproved by reads, is evidence and stays')
   WHERE OLD.kind = 'commit' AND OLD.outcome NOT IN ('throttled', 'account', 'not_sent')
     AND (SELECT count(*) FROM requests r
           WHERE r.certificate_id = OLD.certificate_id AND r.kind = 'read' AND r.outcome = 'not_committed'
             AND r.number > OLD.number
             AND r.number < (SELECT min(c.number) FROM requests c
                              WHERE c.certificate_id = OLD.certificate_id AND c.kind = 'commit' AND c.number > OLD.number
                                AND coalesce(c.outcome NOT IN ('throttled', 'account', 'not_sent'), 1))
             AND NOT EXISTS (SELECT 1 FROM requests o
                              WHERE o.certificate_id = OLD.certificate_id AND o.kind = 'read' AND o.number > r.number
                                AND o.outcome IN ('dead_end', 'unclear', 'failed')
                                AND o.number < (SELECT min(c.number) FROM requests c
                                                 WHERE c.certificate_id = OLD.certificate_id AND c.kind = 'commit'
                                                   AND c.number > OLD.number
                                                   AND coalesce(c.outcome NOT IN ('throttled', 'account', 'not_sent'), 1))))
         < CASE WHEN OLD.outcome = 'in_doubt' OR OLD.outcome = 'status_refused' THEN 2 ELSE 1 END;
END;
