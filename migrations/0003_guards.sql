-- The rows that the queue keeps for itself are guarded against plain statements too. None of them is trusted for a
-- decision: what is left to do is asked of the submissions themselves, and whether a daemon lives, of its lock.

-- The triggers on submissions count one by one, and a correction sets what is counted. SQLite can't tell who updates, so
-- a change by one gets past this; CASE keeps the rows from being counted for it.
CREATE TRIGGER state_counts_rules BEFORE UPDATE ON state_counts BEGIN
  SELECT RAISE(ABORT, 'state_counts is kept by the queue, as the submissions change')
   WHERE NEW.state IS NOT OLD.state OR typeof(NEW.count) <> 'integer'
      OR CASE WHEN NEW.count = OLD.count + 1 OR NEW.count = OLD.count - 1 THEN 0
              ELSE NEW.count <> (SELECT count(*) FROM submissions WHERE state = NEW.state) END;
END;
CREATE TRIGGER state_counts_are_all BEFORE INSERT ON state_counts BEGIN
  SELECT RAISE(ABORT, 'state_counts is kept by the queue');
END;

CREATE TRIGGER insert_guard_is_one BEFORE INSERT ON insert_guard BEGIN
  SELECT RAISE(ABORT, 'insert_guard is kept by the queue');
END;

-- A run compares its run_id at every turn, and gives way to another.
CREATE TRIGGER daemon_run_rules BEFORE UPDATE OF run_id ON daemon WHEN NEW.run_id IS NOT OLD.run_id BEGIN
  SELECT RAISE(ABORT, 'run_id is written by certcommit, when a run begins')
   WHERE typeof(NEW.run_id) <> 'text' OR typeof(NEW.started_at) <> 'integer' OR NEW.started_at IS NOT NEW.heartbeat_at
      OR NEW.mode IS NOT 'running' OR NEW.why IS NOT NULL;
END;
