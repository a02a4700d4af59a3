# Daily operation: people enqueue, the service submits, and operators watch.

scenarios+=(a_member_of_the_group_enqueues_and_others_can_not)
a_member_of_the_group_enqueues_and_others_can_not() {
  install
  simulate
  configure
  give_credentials
  # A member can enqueue before the first start: the queue is created for the group.
  as alice certcommit enqueue early-0001 > /dev/null
  expect 'the queue' "$(inside stat --format '%a %U:%G' "$QUEUE")" '660 alice:certcommit'
  inside systemctl start certcommit
  as alice sqlite3 "$QUEUE" "INSERT INTO submissions (certificate_id, reference) VALUES ('member-0001', 'by hand')"
  eventually 'both are submitted' are_submitted 2
  expect_part 'the report' "$(sql "SELECT * FROM submission_report WHERE certificate_id = 'member-0001'")" 'SO0000'
  if as bob sqlite3 "$QUEUE" "INSERT INTO submissions (certificate_id) VALUES ('other-0001')" 2> /dev/null; then
    fail 'bob enqueued'
  fi
  local output code=0
  output="$(as bob certcommit status 2>&1)" || code=$?
  expect 'the exit code' "$code" 77
  expect_part 'the error' "$output" 'a member of the group certcommit'
  expect_each_once 2
}

scenarios+=(systemctl_status_shows_progress)
systemctl_status_shows_progress() {
  serve
  enqueue status 100
  eventually 'the status has the time left' status_has ' left; '
  inside systemctl status --no-pager --lines 0 certcommit | grep Status: | sed 's/^ */        /'
  eventually 'the status is idle' status_has 'idle: 100 submitted, 0 failed, 0 held'
  as alice certcommit pause 'maintenance at the CA' > /dev/null
  eventually 'the status says why it is paused' status_has 'maintenance at the CA'
  as alice certcommit resume > /dev/null
  eventually 'the queue resumes' status_has 'idle: 100 submitted'
  expect_each_once 100
}

status_has() {
  [[ "$(inside systemctl status --no-pager --lines 0 "${2:-certcommit}")" == *"Status: \""*"$1"* ]]
}

scenarios+=(the_journal_is_searched_by_field_and_by_priority)
the_journal_is_searched_by_field_and_by_priority() {
  serve
  enqueue journal 20
  eventually 'all are submitted' are_submitted 20
  as alice certcommit pause 'maintenance at the CA' > /dev/null
  eventually 'the pause is logged' journal_has CERTCOMMIT_EVENT=paused
  expect 'lines of the event' "$(journal CERTCOMMIT_EVENT=submitted | wc -l)" 20
  expect 'lines of one certificate' "$(journal CERTCOMMIT_CERTIFICATE_ID=journal-0007 | wc -l)" 1
  expect_part 'its line' "$(journal CERTCOMMIT_CERTIFICATE_ID=journal-0007)" 'submitted journal-0007: order '
  expect_part 'warnings' "$(journal --priority warning)" 'maintenance at the CA'
  expect 'warnings about submissions' "$(journal --priority warning CERTCOMMIT_EVENT=submitted | wc -l)" 0
  expect 'errors' "$(journal --priority err | wc -l)" 0
  # A monitoring program gets every field.
  expect_part 'as JSON' "$(inside journalctl --unit certcommit --output json CERTCOMMIT_CERTIFICATE_ID=journal-0007)" \
    '"CERTCOMMIT_REQUEST_ID"'
}

journal() {
  inside journalctl --no-pager --quiet --unit certcommit --output cat "$@"
}

journal_has() {
  [[ -n "$(journal "$@")" ]]
}

scenarios+=(a_reload_applies_new_settings_and_a_bad_file_changes_nothing)
a_reload_applies_new_settings_and_a_bad_file_changes_nothing() {
  serve
  local pid
  pid="$(property certcommit MainPID)"
  enqueue reloaded 60
  eventually 'some are submitted' are_submitted 10
  configure '' '' 5
  inside systemctl reload certcommit
  eventually 'the change is logged' journal_has CERTCOMMIT_EVENT=reloaded
  expect_part 'what has changed' "$(journal CERTCOMMIT_EVENT=reloaded)" 'rate.per_second from "20" to "5"'
  expect 'the service' "$(property certcommit ActiveState) $(property certcommit SubState)" 'active running'

  # systemctl rejects a bad file before it signals the daemon, and the daemon rejects it too.
  configure '' '' 21
  if inside systemctl reload certcommit 2> /dev/null; then
    fail 'a bad file was accepted'
  fi
  inside systemctl kill --kill-whom main --signal HUP certcommit
  eventually 'the refusal is an error' journal_has --priority err CERTCOMMIT_EVENT=reloaded
  expect_part 'the key' "$(journal --priority err CERTCOMMIT_EVENT=reloaded)" rate.per_second
  configure
  inside systemctl reload certcommit
  eventually 'all are submitted' are_submitted 60
  expect 'the process' "$(property certcommit MainPID) $(property certcommit NRestarts)" "$pid 0"
  expect 'reads' "$(sql "SELECT count(*) FROM requests WHERE kind = 'read'")" 0
  expect_each_once 60
}

scenarios+=(several_accounts_run_side_by_side)
several_accounts_run_side_by_side() {
  install
  simulate
  give_credentials
  local instance rate=5
  for instance in one two; do
    configure "/etc/certcommit/$instance.toml" "/var/lib/certcommit/$instance/queue.db" "$rate"
    inside systemctl enable --quiet --now "certcommit@$instance"
    rate=10
  done
  for instance in one two; do
    enqueue "$instance" 20 "/var/lib/certcommit/$instance/queue.db"
  done
  for instance in one two; do
    eventually "$instance is done" are_submitted 20 "/var/lib/certcommit/$instance/queue.db"
    eventually "the status of $instance says so" status_has '20 submitted' "certcommit@$instance"
    expect "the directory of $instance" "$(inside stat --format %a "/var/lib/certcommit/$instance")" 2770
    expect "certificates of $instance" \
      "$(sql "SELECT count(*) FROM submissions WHERE certificate_id LIKE '$instance-%'" \
        "/var/lib/certcommit/$instance/queue.db")" 20
  done
  expect_part 'the rate of one' "$(inside journalctl --unit certcommit@one)" 'at most 5 requests a second'
  expect_part 'the rate of two' "$(inside journalctl --unit certcommit@two)" 'at most 10 requests a second'

  # An instance without database.path doesn't use another's queue.
  write /etc/certcommit/three.toml < /dev/null
  if inside systemctl start certcommit@three 2> /dev/null; then
    fail 'an instance used the queue of the plain service'
  fi
  inside systemctl stop certcommit@three
  inside test ! -e "$QUEUE" || fail 'it created the queue of the plain service'
  inside journalctl --no-pager --output cat --unit certcommit@three | grep "$QUEUE" | tail -n 1 | sed 's/^/        /'
}
