-- Each text that explains a pause or a wait gets the code of its cause and, as JSON, the parameters of the cause. Programs
-- read the code; the texts are for people, and may be reworded. Only certcommit writes codes and parameters. They are
-- cleared when anyone else changes the text: a text without a code was written by hand.

ALTER TABLE daemon      ADD COLUMN why_code          TEXT;
ALTER TABLE daemon      ADD COLUMN why_parameters    TEXT;
ALTER TABLE control     ADD COLUMN pause_code        TEXT;
ALTER TABLE control     ADD COLUMN pause_parameters  TEXT;
ALTER TABLE submissions ADD COLUMN reason_code       TEXT;
ALTER TABLE submissions ADD COLUMN reason_parameters TEXT;

CREATE TRIGGER daemon_explained AFTER UPDATE OF why ON daemon
WHEN NEW.why_code IS NOT NULL AND NEW.why IS NOT OLD.why
     AND NEW.why_code IS OLD.why_code AND NEW.why_parameters IS OLD.why_parameters BEGIN
  UPDATE daemon SET why_code = NULL, why_parameters = NULL;
END;

-- A queue that isn't paused has no cause, so that a later pause by hand has none either.
CREATE TRIGGER control_explained AFTER UPDATE ON control
WHEN NEW.pause_code IS NOT NULL
     AND (NEW.paused = 0
          OR NEW.pause_reason IS NOT OLD.pause_reason
             AND NEW.pause_code IS OLD.pause_code AND NEW.pause_parameters IS OLD.pause_parameters) BEGIN
  UPDATE control SET pause_code = NULL, pause_parameters = NULL;
END;

CREATE TRIGGER submissions_explained AFTER UPDATE OF reason ON submissions
WHEN NEW.reason_code IS NOT NULL AND NEW.reason IS NOT OLD.reason
     AND NEW.reason_code IS OLD.reason_code AND NEW.reason_parameters IS OLD.reason_parameters BEGIN
  UPDATE submissions SET reason_code = NULL, reason_parameters = NULL WHERE id = NEW.id;
END;

-- Setting state to pending by hand is enough: everything else is cleared, and the submission is due at once or, if it was
-- enqueued for a later time, at that time.
DROP TRIGGER submissions_requeued;
CREATE TRIGGER submissions_requeued AFTER UPDATE OF state ON submissions
WHEN NEW.state = 'pending' AND OLD.state IN ('failed', 'held', 'canceled') BEGIN
  UPDATE submissions
     SET tries = 0, order_id = NULL, status = NULL, request_id = NULL, error_code = NULL, error_message = NULL,
         reason = NULL, reason_code = NULL, reason_parameters = NULL, resolved_by = NULL, not_before = NULL,
         due_at = CASE WHEN NEW.due_at IS OLD.due_at
                       THEN max(CAST(strftime('%s', 'now') AS INTEGER), coalesce(NEW.not_before, 0)) ELSE NEW.due_at END
   WHERE id = NEW.id;
END;

DROP TRIGGER submissions_insert_not_before;
CREATE TRIGGER submissions_insert_not_before BEFORE INSERT ON submissions BEGIN
  SELECT RAISE(ABORT, 'not_before is written by certcommit; leave it out, and say with due_at when it is to be sent')
   WHERE NEW.not_before IS NOT NULL;
  SELECT RAISE(ABORT, 'reason_code and reason_parameters are written by certcommit; leave them out')
   WHERE NEW.reason_code IS NOT NULL OR NEW.reason_parameters IS NOT NULL;
END;

DROP VIEW submission_report;
CREATE VIEW submission_report AS
SELECT s.id, s.certificate_id, s.state, s.order_id, s.status,
       CASE WHEN s.status IS NOT NULL THEN coalesce(c.text, 'unknown status') END AS status_text,
       s.request_id, s.tries, s.priority, s.verify_type, s.reference, s.error_code, s.error_message, s.reason,
       s.resolved_by,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.due_at, 'unixepoch')      AS due_at,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.created_at, 'unixepoch')  AS created_at,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.updated_at, 'unixepoch')  AS updated_at,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.finished_at, 'unixepoch') AS finished_at,
       s.reason_code
  FROM submissions s LEFT JOIN status_codes c ON c.status = s.status;
