# The sources of the keys.

scenarios+=(credentials_come_from_systemd)
credentials_come_from_systemd() {
  install
  simulate
  configure
  write_key_files
  drop_in LoadCredential=secret_id:/etc/certcommit/secret_id LoadCredential=secret_key:/etc/certcommit/secret_key
  inside systemctl start certcommit
  enqueue loaded 5
  eventually 'all are submitted' are_submitted 5
  expect_part 'the check' \
    "$(inside env CREDENTIALS_DIRECTORY=/run/credentials/certcommit.service certcommit check --online)" \
    'reached; reading is permitted'
  local file
  for file in /etc/certcommit/secret_key /run/credentials/certcommit.service/secret_key; do
    if as alice cat "$file" 2> /dev/null; then
      fail "the group can read $file"
    fi
  done

  # If a file is missing, systemd reports the error and doesn't start certcommit.
  inside rm /etc/certcommit/secret_key
  if inside systemctl restart certcommit 2> /dev/null; then
    fail 'it started without its key'
  fi
  expect 'the exit code' "$(property certcommit ExecMainStatus)" 243
  inside systemctl stop certcommit
}

scenarios+=(credentials_are_encrypted_for_this_machine)
credentials_are_encrypted_for_this_machine() {
  install
  simulate
  configure
  write_key_files
  inside systemd-creds encrypt --with-key=host --name=secret_key /etc/certcommit/secret_key /etc/certcommit/secret_key.cred
  inside rm /etc/certcommit/secret_key
  drop_in LoadCredential=secret_id:/etc/certcommit/secret_id \
    LoadCredentialEncrypted=secret_key:/etc/certcommit/secret_key.cred
  inside systemctl start certcommit
  enqueue encrypted 5
  eventually 'all are submitted' are_submitted 5
  expect_each_once 5
}

scenarios+=(a_metadata_service_that_is_down_only_pauses_the_queue)
a_metadata_service_that_is_down_only_pauses_the_queue() {
  install
  simulate
  configure
  printf '[credentials]\nsource = "cvm-role"\n' | inside tee --append /etc/certcommit/certcommit.toml > /dev/null
  # Nobody listens there.
  drop_in Environment=CERTCOMMIT_METADATA=127.0.0.1:9
  inside systemctl start certcommit
  enqueue unpaid 5
  eventually 'the status says why it is paused' status_has 'paused with 5 open'
  property certcommit StatusText | sed 's/^/        /'
  expect 'the service' "$(property certcommit ActiveState) $(property certcommit NRestarts)" 'active 0'
  # A reload brings keys from another source, and the queue resumes.
  configure
  give_credentials
  inside systemctl reload certcommit
  eventually 'all are submitted' are_submitted 5
  expect_each_once 5
}

# Writes the simulator's keys to files that only root can read.
write_key_files() {
  local key
  for key in secret_id secret_key; do
    simulator_key "${key^^}" | write "/etc/certcommit/$key"
    inside chmod 0600 "/etc/certcommit/$key"
  done
}
