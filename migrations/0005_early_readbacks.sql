-- A readback that came before an order had had time to show, and showed none, has an outcome of its own: it counts neither
-- for nor against a commit.

DROP TRIGGER requests_update_rules;
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
                 NEW.outcome = 'committed' OR NEW.outcome = 'not_committed' OR NEW.outcome = 'early'
                 OR NEW.outcome = 'dead_end' OR NEW.outcome = 'unclear' OR NEW.outcome = 'retry'
                 OR NEW.outcome = 'throttled' OR NEW.outcome = 'account' OR NEW.outcome = 'denied'
                 OR NEW.outcome = 'failed' OR NEW.outcome = 'not_sent'
             END;
END;
