# To a later version that migrates the queue, while work is going on, and back again.

scenarios+=(an_upgrade_migrates_the_queue_of_a_running_service)
an_upgrade_migrates_the_queue_of_a_running_service() {
  serve 200
  enqueue upgraded 100
  eventually 'some are submitted' are_submitted 20
  packages --install /packages/certcommit-next.deb
  expect 'the service' "$(property certcommit ActiveState)" active
  expect 'the version that runs' "$(sql 'SELECT version FROM daemon')" 99.0.0
  expect 'the copy' "$(inside stat --format '%a %U:%G' "$(copy_of_the_queue)")" '660 certcommit:certcommit'
  eventually 'all are submitted' are_submitted 100
  expect_each_once 100
}

copy_of_the_queue() {
  inside sh -c "ls $QUEUE.schema-*"
}

scenarios+=(an_upgrade_starts_the_instances_again_that_ran_and_no_others)
an_upgrade_starts_the_instances_again_that_ran_and_no_others() {
  serve
  inside systemctl stop certcommit
  configure /etc/certcommit/one.toml /var/lib/certcommit/one/queue.db
  inside systemctl start certcommit@one
  packages --install /packages/certcommit-next.deb
  expect 'the plain service' "$(property certcommit ActiveState)" inactive
  expect 'the instance' "$(property certcommit@one ActiveState)" active
  expect 'the version that runs' "$(sql 'SELECT version FROM daemon' /var/lib/certcommit/one/queue.db)" 99.0.0
}

# The rollback of deploy/README.md.
scenarios+=(the_way_back_loses_nothing_and_repeats_nothing)
the_way_back_loses_nothing_and_repeats_nothing() {
  serve
  enqueue before 40
  eventually 'some are submitted' are_submitted 10
  packages --install /packages/certcommit-next.deb
  # Everything is submitted by the later version, what comes after the migration too.
  enqueue after 10
  eventually 'all are submitted' are_submitted 50
  as alice certcommit pause 'back to the version before' > /dev/null
  enqueue waiting 10

  # The version before refuses the queue, and leaves it alone.
  packages --install /packages/certcommit.deb
  expect 'the service' "$(property certcommit ActiveState) $(property certcommit ExecMainStatus)" 'failed 65'
  expect_part 'the journal' "$(inside journalctl --unit certcommit --output cat)" 'was written by a newer certcommit'

  as certcommit sh -eu << END
cd /var/lib/certcommit
mkdir newer && mv queue.db* newer/
cp -p newer/queue.db.schema-1 queue.db && cp -p newer/queue.db.mark .
END
  as certcommit sqlite3 "$QUEUE" "$(way_back)"
  inside systemctl start certcommit
  eventually 'it is paused' is_sql "SELECT mode FROM daemon" paused_by_operator
  as alice certcommit verify --pending > /dev/null
  as alice certcommit resume > /dev/null
  eventually 'all are submitted' are_submitted 60
  expect_each_once 60
}

# The statements that deploy/README.md gives for a rollback.
way_back() {
  sed --quiet '/^```sql rollback$/,/^```$/p' deploy/README.md | grep -v '^```'
}
