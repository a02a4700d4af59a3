# Upgrades to a version that migrates the queue, with requests in flight, and rolls back.

scenarios+=(an_upgrade_migrates_the_queue_of_a_running_service)
an_upgrade_migrates_the_queue_of_a_running_service() {
  serve 200
  enqueue upgraded 100
  eventually 'some are submitted' are_submitted 20
  run_dpkg --install /packages/certcommit-next.deb
  expect 'the service' "$(property certcommit ActiveState)" active
  expect 'the version that runs' "$(sql 'SELECT version FROM daemon')" 99.0.0
  expect 'the copy' "$(inside stat --format '%a %U:%G' "$(copy_of_the_queue)")" '660 certcommit:certcommit'
  eventually 'all are submitted' are_submitted 100
  expect_each_once 100
}

copy_of_the_queue() {
  inside sh -c "ls $QUEUE.schema-*"
}

scenarios+=(an_upgrade_restarts_only_the_running_instances)
an_upgrade_restarts_only_the_running_instances() {
  serve
  inside systemctl stop certcommit
  configure /etc/certcommit/one.toml /var/lib/certcommit/one/queue.db
  inside systemctl start certcommit@one
  run_dpkg --install /packages/certcommit-next.deb
  expect 'the plain service' "$(property certcommit ActiveState)" inactive
  expect 'the instance' "$(property certcommit@one ActiveState)" active
  expect 'the version that runs' "$(sql 'SELECT version FROM daemon' /var/lib/certcommit/one/queue.db)" 99.0.0
}

# The rollback of deploy/README.md.
scenarios+=(a_rollback_loses_nothing_and_repeats_nothing)
a_rollback_loses_nothing_and_repeats_nothing() {
  serve
  enqueue before 40
  eventually 'some are submitted' are_submitted 10
  run_dpkg --install /packages/certcommit-next.deb
  # The newer version submits the rest, and what is enqueued after the migration.
  enqueue after 10
  eventually 'all are submitted' are_submitted 50
  as alice certcommit pause 'rollback to the previous version' > /dev/null
  enqueue waiting 10

  # The previous version refuses the queue, and leaves it untouched.
  run_dpkg --install /packages/certcommit.deb
  expect 'the service' "$(property certcommit ActiveState) $(property certcommit ExecMainStatus)" 'failed 65'
  expect_part 'the journal' "$(inside journalctl --unit certcommit --output cat)" 'was written by a newer certcommit'

  as certcommit sh -eu << END
cd /var/lib/certcommit
mkdir newer && mv queue.db* newer/
cp -p newer/queue.db.schema-* queue.db && cp -p newer/queue.db.mark .
END
  as certcommit sqlite3 "$QUEUE" "$(rollback_statements)"
  inside systemctl start certcommit
  eventually 'it is paused' is_sql "SELECT mode FROM daemon" paused_by_operator
  as alice certcommit verify --pending > /dev/null
  as alice certcommit resume > /dev/null
  eventually 'all are submitted' are_submitted 60
  expect_each_once 60
}

# The statements that deploy/README.md gives for a rollback.
rollback_statements() {
  sed --quiet '/^```sql rollback$/,/^```$/p' deploy/README.md | grep -v '^```'
}
