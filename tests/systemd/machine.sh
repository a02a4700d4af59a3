# The machine that the scenarios run on, and helpers for them.

readonly WORK="$PWD/target/systemd"
readonly SUITE="${SYSTEMD_SUITE:-bookworm}"
readonly ROOT="$WORK/$SUITE"
readonly PACKAGES="$WORK/packages"
readonly QUEUE=/var/lib/certcommit/queue.db
readonly SIMULATOR=127.0.0.1:8017
# In seconds.
readonly PATIENCE=60

# Fails if any of these tools is missing.
need() {
  local missing=()
  for tool in "$@"; do
    command -v "$tool" > /dev/null || missing+=("$tool")
  done
  ((${#missing[@]} == 0)) || fail "missing: ${missing[*]}"
}

# Builds the package of this version, and one of a newer version with a migration.
make_packages() {
  mkdir -p "$PACKAGES"
  local deb
  deb="$(deploy/build-deb | tail -n 1)"
  cp "$deb" "$PACKAGES/certcommit.deb"
  make_next_version
}

# A newer version of this tree: a higher version number, and one more migration.
make_next_version() {
  local next="$WORK/next" newest deb
  rm -rf "$next"
  mkdir -p "$next"
  tar --create --exclude=./target --exclude=./.git . | tar --extract --directory "$next"
  # A shared target directory, so that dependencies are built once.
  ln -s "$PWD/target" "$next/target"
  newest="$(find migrations -name '*.sql' -printf '%f\n' | sort | tail -n 1 | cut -d _ -f 1)"
  echo 'ALTER TABLE daemon ADD COLUMN made_up INTEGER;' \
    > "$next/migrations/$(printf '%04d' $((10#$newest + 1)))_made_up.sql"
  sed -i '0,/^version = .*/s//version = "99.0.0"/' "$next/Cargo.toml"
  sed -i '/^name = "certcommit"$/{n;s/^version = .*/version = "99.0.0"/}' "$next/Cargo.lock"
  sed -i '1s/(.*)/(99.0.0-1)/' "$next/deploy/debian/changelog"
  deb="$("$next/deploy/build-deb" | tail -n 1)"
  cp "$deb" "$PACKAGES/certcommit-next.deb"
}

# Builds a small Debian with systemd, unless there is one.
make_root() {
  if [[ -d "$ROOT" ]]; then
    return
  fi
  local packages=systemd,systemd-sysv,dbus,procps,sqlite3,ca-certificates,man-db
  rm -rf "$ROOT.new"
  mmdebstrap --quiet --variant=apt --include="$packages" "$SUITE" "$ROOT.new"
  mv "$ROOT.new" "$ROOT"
}

# Boots the machine. Its writes stay in memory, and are lost when it stops.
boot() {
  console="$(mktemp "$WORK/console.XXXXXX")"
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --boot --directory="$ROOT" --volatile=overlay \
    --machine="certcommit-$$" --hostname=certcommit --register=no --keep-unit --private-network --console=pipe \
    --bind-ro="$PACKAGES:/packages" < /dev/null > "$console" 2>&1 &
  nspawn=$!
  eventually 'the machine is up' is_up
}

is_up() {
  leader="$(pgrep --parent "$nspawn")" && [[ "$(inside systemctl is-system-running --wait 2> /dev/null)" == running ]]
}

# Runs a command on the machine as root.
inside() {
  nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup --root --wd -- "$@"
}

# Runs a command on the machine as this user.
as() {
  local user="$1"
  shift
  inside runuser --user "$user" -- "$@"
}

# Writes standard input to a file on the machine.
write() {
  inside sh -c 'mkdir -p "$(dirname "$1")" && cat > "$1"' sh "$1"
}

# Stops the machine. After a failure, first shows its journal.
finish() {
  if [[ -z "${passed:-}" && -n "${leader:-}" ]]; then
    inside journalctl --no-pager --boot --lines 80 || true
  fi
  # When its init dies, the machine and its mounts are gone.
  kill -s KILL "${leader:-$nspawn}" || true
  wait "$nspawn" || true
  rm -f "$console"
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

expect() {
  local what="$1" actual="$2" expected="$3"
  [[ "$actual" == "$expected" ]] || fail "$what: expected '$expected', found '$actual'"
}

expect_part() {
  local what="$1" actual="$2" part="$3"
  [[ "$actual" == *"$part"* ]] || fail "$what: expected '$part' in '$actual'"
}

# Waits until a command succeeds.
eventually() {
  local what="$1" deadline=$((SECONDS + PATIENCE))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || fail "waited $PATIENCE s until $what"
    sleep 0.1
  done
}

# One property of a unit.
property() {
  inside systemctl show --value --property "$2" "$1"
}

is_property() {
  [[ "$(property "$1" "$2")" == "$3" ]]
}

# Runs SQL as a member of the group.
sql() {
  as alice sqlite3 -batch -cmd '.timeout 5000' "${2:-$QUEUE}" "$1"
}

is_sql() {
  [[ "$(sql "$1" "${3:-$QUEUE}")" == "$2" ]]
}

# Enqueues COUNT certificates, named PREFIX-0001 and so on, as a member of the group.
enqueue() {
  local prefix="$1" count="$2" queue="${3:-$QUEUE}"
  sql "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $count)
       INSERT INTO submissions (certificate_id) SELECT printf('$prefix-%04d', i) FROM n" "$queue"
}

submitted() {
  sql "SELECT count(*) FROM submissions WHERE state = 'submitted'" "${1:-$QUEUE}"
}

are_submitted() {
  (($(submitted "${2:-$QUEUE}") >= $1))
}

# Runs dpkg, and shows its output only if it fails.
run_dpkg() {
  local output
  output="$(inside dpkg "$@" 2>&1)" || fail "dpkg $*: $output"
}

# Installs the package, and creates two users: alice is in the group, bob is not.
install() {
  run_dpkg --install /packages/certcommit.deb
  inside useradd --create-home --groups certcommit alice
  inside useradd --create-home bob
}

# Starts the simulator of the API on the machine, with this latency in milliseconds.
simulate() {
  inside systemd-run --quiet --unit=simulator --property=StandardOutput=file:/run/simulator \
    certcommit demo --serve "$SIMULATOR" --latency "${1:-50}"
  eventually 'the simulator listens' inside grep --no-messages --quiet 'Ctrl-C' /run/simulator
}

# Prints the simulator's SECRET_ID or SECRET_KEY.
simulator_key() {
  inside sed --quiet --regexp-extended "s/.*TENCENTCLOUD_$1=([^ ]+).*/\1/p" /run/simulator
}

# Writes a configuration for the simulator, with short waits.
configure() {
  write "${1:-/etc/certcommit/certcommit.toml}" << END
[database]
path = "${2:-$QUEUE}"
[api]
endpoint = "http://$SIMULATOR"
[rate]
per_second = ${3:-20}
[verify]
settle = "1s"
resend_after = "3s"
END
}

# Writes the simulator's keys to the vendor's file, readable only by the daemon.
give_credentials() {
  printf '[default]\nsecret_id = %s\nsecret_key = %s\n' "$(simulator_key SECRET_ID)" "$(simulator_key SECRET_KEY)" \
    | write /etc/tencentcloud/credentials
  inside chown certcommit /etc/tencentcloud/credentials
  inside chmod 0600 /etc/tencentcloud/credentials
}

# Installs and starts the service.
serve() {
  install
  simulate "${1:-50}"
  configure
  give_credentials
  inside systemctl start certcommit
}

# Asserts that all COUNT rows are submitted, that the server placed as many orders, so none twice, and that it never saw
# more than 20 requests in a second. Stops the simulator, which then prints a summary.
expect_each_once() {
  local count="$1" summary
  expect 'submitted rows' "$(submitted)" "$count"
  expect 'all rows' "$(sql 'SELECT count(*) FROM submissions')" "$count"
  inside systemctl kill --signal INT simulator
  eventually 'the simulator prints its summary' inside grep --quiet 'orders placed' /run/simulator
  summary="$(inside tail --lines 1 /run/simulator)"
  expect_part 'the simulator' "$summary" " $count orders placed"
  [[ "$summary" =~ 'worst sliding second '([0-9]+) ]] && ((BASH_REMATCH[1] <= 20)) || fail "the rate: $summary"
  echo "        $summary"
}
