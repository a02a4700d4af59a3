# Installs the package, starts the service, and removes both.

scenarios+=(an_installation_is_complete_and_waits_for_credentials)
an_installation_is_complete_and_waits_for_credentials() {
  install
  expect 'the service' "$(inside systemctl is-enabled certcommit)" enabled
  expect 'the service' "$(property certcommit ActiveState)" inactive
  expect 'the state directory' "$(inside stat --format '%a %U:%G' /var/lib/certcommit)" '2770 certcommit:certcommit'
  expect 'the user' "$(inside getent passwd certcommit | cut -d : -f 6-)" '/nonexistent:/usr/sbin/nologin'
  expect_part 'the man page' "$(inside man certcommit)" 'ENQUEUE AND WATCH WITH SQL'
  local file
  for file in bash-completion/completions/certcommit zsh/vendor-completions/_certcommit \
    fish/vendor_completions.d/certcommit.fish doc/certcommit/deploy/examples/enqueue.py; do
    inside test -s "/usr/share/$file" || fail "$file is missing"
  done
  as bob certcommit --version > /dev/null

  # Without credentials, it says where it looked, and isn't restarted.
  if inside systemctl start certcommit 2> /dev/null; then
    fail 'it started without credentials'
  fi
  expect 'the exit code' "$(property certcommit ExecMainStatus)" 78
  expect 'the service' "$(property certcommit ActiveState) $(property certcommit NRestarts)" 'failed 0'
  expect_part 'the journal' "$(inside journalctl --unit certcommit)" /etc/tencentcloud/credentials

  simulate
  configure
  give_credentials
  expect_part 'the check' "$(as certcommit certcommit check --online)" 'reached; reading is permitted'
  inside systemctl start certcommit
  expect 'the service' "$(property certcommit ActiveState) $(property certcommit Type)" 'active notify'
}

scenarios+=(the_sandbox_is_in_force)
the_sandbox_is_in_force() {
  serve
  local pid exposure status directory
  pid="$(property certcommit MainPID)"
  exposure="$(inside systemd-analyze security --no-pager certcommit | tail -n 1)"
  echo "        $exposure"
  [[ "$exposure" =~ ([0-9.]+)' OK' ]] && ((10#${BASH_REMATCH[1]/./} <= 12)) || fail "$exposure"
  status="$(inside cat "/proc/$pid/status")"
  expect_part 'privileges' "$status" $'NoNewPrivs:\t1'
  expect_part 'system calls' "$status" $'Seccomp:\t2'
  expect_part 'capabilities' "$status" $'CapBnd:\t0000000000000000'
  expect_part 'core dumps' "$(inside grep core "/proc/$pid/limits" | tr -s ' ')" 'Max core file size 0 0'
  [[ "$(inside readlink "/proc/$pid/ns/user")" != "$(inside readlink /proc/1/ns/user)" ]] || fail 'it shares the user namespace'
  [[ "$(inside readlink "/proc/$pid/ns/mnt")" != "$(inside readlink /proc/1/ns/mnt)" ]] || fail 'it shares the mount namespace'
  # Root tries to write inside the service's mount namespace.
  for directory in /usr /etc /etc/certcommit /var/lib; do
    if inside nsenter --target "$pid" --mount -- touch "$directory/written" 2> /dev/null; then
      fail "$directory can be written to"
    fi
  done
  inside nsenter --target "$pid" --mount -- touch /var/lib/certcommit/written
  expect 'homes' "$(inside nsenter --target "$pid" --mount -- ls /home)" ''
  # The service works in the sandbox.
  enqueue sandboxed 5
  eventually 'all are submitted' are_submitted 5
  expect_each_once 5
}

scenarios+=(removing_keeps_the_queue_and_purging_does_not)
removing_keeps_the_queue_and_purging_does_not() {
  serve
  enqueue kept 10
  eventually 'all are submitted' are_submitted 10
  run_dpkg --remove certcommit
  expect 'the service' "$(property certcommit ActiveState) $(property certcommit LoadState)" 'inactive masked'
  inside test ! -e /usr/bin/certcommit || fail 'the program is still there'
  inside test -s /etc/certcommit/certcommit.toml || fail 'the configuration is gone'
  expect 'rows after the removal' "$(submitted)" 10

  run_dpkg --install /packages/certcommit.deb
  expect 'the service' "$(inside systemctl is-enabled certcommit) $(property certcommit ActiveState)" 'enabled inactive'
  inside systemctl start certcommit
  enqueue later 5
  eventually 'all are submitted' are_submitted 15
  expect_each_once 15

  run_dpkg --purge certcommit
  inside sh -c 'test ! -e /var/lib/certcommit && test ! -e /etc/certcommit' || fail 'the purge left something'
  inside test -e /etc/tencentcloud/credentials || fail "another program's file is gone"
  expect 'links to the units' "$(inside find /etc/systemd/system -name 'certcommit*')" ''
}
