//! The states of a database after each transaction, as operators and the daemon see them. A power cut leaves the last durable
//! state or the one in progress, and nothing in between.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use fastrand::Rng;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::image::{Disk, Survival, Syncs};
use super::trace::Event;
use super::{Recording, block_on, scratch};

const STATE: &str = "SELECT json_array(
  (SELECT json_group_array(json_array(id, certificate_id, state, tries, due_at, order_id, status, request_id, error_code,
          reason, resolved_by, finished_at)) FROM (SELECT * FROM submissions ORDER BY id)),
  (SELECT json_group_array(json_array(number, certificate_id, kind, run_id, run_ms, started_at, finished_at, outcome,
          order_id, request_id)) FROM (SELECT * FROM requests ORDER BY number)),
  (SELECT json_group_array(json_array(state, count)) FROM (SELECT * FROM state_counts ORDER BY state)),
  (SELECT json_array(paused, pause_reason) FROM control),
  (SELECT json_array(run_id, mode, why) FROM daemon))";

/// The states of a recording, each with the number of events after which it is durable.
pub(super) struct States(Vec<(usize, u64)>);

impl States {
    pub(super) fn of(recording: &Recording) -> Self {
        let mut disk = Disk::new(Syncs::Kept, recording.before.clone());
        let mut states = vec![(0, after_power_cut(&disk, Survival::All, &mut Rng::with_seed(0)).unwrap())];
        for (number, event) in (1..).zip(&recording.events) {
            disk.apply(event);
            if let Event::Sync { .. } = event {
                let state = after_power_cut(&disk, Survival::All, &mut Rng::with_seed(0)).unwrap();
                if states.last().is_none_or(|(_, last)| *last != state) {
                    states.push((number, state));
                }
            }
        }
        Self(states)
    }

    /// Whether the database may be in this state after this many events.
    pub(super) fn allow(&self, state: u64, events: usize) -> bool {
        let durable = self.0.partition_point(|(after, _)| *after <= events);
        self.0.iter().skip(durable.saturating_sub(1)).take(2).any(|(_, allowed)| *allowed == state)
    }
}

/// The state of a database, as a hash.
pub(super) fn after_power_cut(disk: &Disk, survival: Survival, random: &mut Rng) -> Result<u64, sqlx::Error> {
    let directory = scratch();
    disk.cut_power(survival, random, directory.path());
    block_on(state(&directory.path().join("queue.db")))
}

async fn state(database: &Path) -> Result<u64, sqlx::Error> {
    if !database.exists() {
        return Ok(0);
    }
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(database)).await?;
    let has_schema = "SELECT count(*) > 0 FROM sqlite_master WHERE name = 'state_counts'";
    let mut state = 0;
    if sqlx::query_scalar(has_schema).fetch_one(&mut connection).await? {
        let text: String = sqlx::query_scalar(STATE).fetch_one(&mut connection).await?;
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        state = hasher.finish();
    }
    connection.close().await?;
    Ok(state)
}
