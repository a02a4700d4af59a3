# Failures of the daemon. Each time, nothing is lost, and nothing is committed twice.

scenarios+=(a_loop_that_hangs_is_killed_by_the_watchdog)
a_loop_that_hangs_is_killed_by_the_watchdog() {
  serve 200
  drop_in 'WatchdogSec=3s'
  inside systemctl restart certcommit
  enqueue hung 60
  eventually 'some are submitted' are_submitted 10
  inside systemctl kill --kill-whom main --signal STOP certcommit
  eventually 'the service has restarted' is_property certcommit NRestarts 1
  eventually 'the journal says why' inside sh -c "journalctl --unit certcommit | grep --quiet 'Watchdog timeout'"
  eventually 'all are submitted' are_submitted 60
  expect_each_once 60
}

drop_in() {
  printf '[Service]\n%s\n' "$@" | write /etc/systemd/system/certcommit.service.d/test.conf
  inside systemctl daemon-reload
}

scenarios+=(a_killed_daemon_resumes_where_it_stopped)
a_killed_daemon_resumes_where_it_stopped() {
  serve 200
  enqueue killed 100
  local kills
  for kills in 1 2 3; do
    eventually 'more are submitted' are_submitted $((kills * 15))
    inside systemctl kill --kill-whom main --signal KILL certcommit
    eventually 'the service has restarted' is_property certcommit NRestarts "$kills"
  done
  eventually 'all are submitted' are_submitted 100
  (("$(sql "SELECT count(*) FROM requests WHERE kind = 'read'")" > 0)) || fail 'no kill hit a request in flight'
  (("$(sql "SELECT count(*) FROM requests WHERE outcome = 'not_sent'")" > 0)) || fail 'the departure marker told nothing'
  expect_each_once 100
}

scenarios+=(a_stop_waits_for_requests_in_flight)
a_stop_waits_for_requests_in_flight() {
  serve 2000
  enqueue stopped 60
  # By then, requests of two seconds are in flight.
  eventually 'the first is submitted' are_submitted 1
  inside systemctl stop certcommit
  expect 'the service' "$(property certcommit ActiveState) $(property certcommit Result)" 'inactive success'
  expect 'rows in flight or in doubt' "$(sql "SELECT count(*) FROM submissions WHERE state IN ('in_flight', 'in_doubt')")" 0
  expect 'unfinished requests' "$(sql 'SELECT count(*) FROM requests WHERE finished_at IS NULL')" 0
  local before
  before="$(submitted)"
  ((before > 0 && before < 60)) || fail "$before were submitted"
  inside systemctl start certcommit
  eventually 'all are submitted' are_submitted 60
  expect 'reads' "$(sql "SELECT count(*) FROM requests WHERE kind = 'read'")" 0
  expect_each_once 60
}
