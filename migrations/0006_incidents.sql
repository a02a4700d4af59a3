-- What stops commits or readbacks at present, since when, and what the probes found: a row for each cause, the first of which
-- is to be dealt with first. The daemon writes them with its heartbeat. Also, since when the queue is paused, and when its
-- pending rows were last marked to be read back. Times are unix seconds.

CREATE TABLE incidents (
  position       INTEGER PRIMARY KEY,
  code           TEXT NOT NULL,
  parameters     TEXT,
  why            TEXT NOT NULL,
  since          INTEGER,
  probes         INTEGER NOT NULL,
  last_probe_at  INTEGER,
  next_probe_at  INTEGER
);

ALTER TABLE control ADD COLUMN paused_at   INTEGER;
ALTER TABLE control ADD COLUMN verified_at INTEGER;

-- A pause by plain SQL has a beginning, too.
CREATE TRIGGER control_paused AFTER UPDATE OF paused ON control WHEN NEW.paused IS NOT OLD.paused BEGIN
  UPDATE control SET paused_at = CASE WHEN NEW.paused THEN CAST(strftime('%s', 'now') AS INTEGER) END;
END;
