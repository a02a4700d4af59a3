-- What is known of the certificates whose order stands, after the answer to the submission: a row for each that is followed.
-- The answer itself (submissions.status) never changes. Times are unix seconds.

CREATE TABLE followed (
  submission INTEGER PRIMARY KEY,                    -- submissions.id
  status     INTEGER,                                -- the newest that was read; null: none yet
  status_at  INTEGER,                                -- when it was first read
  message    TEXT,                                   -- the server's words about it, such as why it was refused
  read_at    INTEGER,                                -- when it was last read
  due_at     INTEGER                                 -- when it is read again; null: never, since it is final
);
CREATE INDEX followed_due ON followed (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX followed_status ON followed (status);

CREATE TRIGGER followed_ends AFTER DELETE ON submissions BEGIN
  DELETE FROM followed WHERE submission = OLD.id;
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
       s.reason_code,
       f.status AS current_status,
       CASE WHEN f.status IS NOT NULL THEN coalesce(n.text, 'unknown status') END AS current_status_text,
       strftime('%Y-%m-%dT%H:%M:%SZ', f.status_at, 'unixepoch')   AS current_status_at,
       f.message AS current_status_message
  FROM submissions s
  LEFT JOIN status_codes c ON c.status = s.status
  LEFT JOIN followed f ON f.submission = s.id
  LEFT JOIN status_codes n ON n.status = f.status;
