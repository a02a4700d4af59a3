//! What the stand-in saw, held against what the database has on record: repeats, and whether each is explained.

use std::collections::HashMap;

use certcommit::simulator::Arrival;
use sqlx::Connection as _;

use super::Bench;

/// How many reads have to lie between a commit whose outcome isn't known and the next.
const READS: usize = 2;

/// Answers that say that no order was placed, and that another try may be made.
const REFUSED: [&str; 2] = ["FailedOperation.NetworkError", "RequestLimitExceeded"];

/// The commits of one certificate on record.
#[derive(Debug, Clone, Copy, Default, sqlx::FromRow)]
struct OnRecord {
    /// Those that may have been sent.
    sent: i64,
    /// Those that were answered, and may be tried again.
    answered: i64,
}

impl Bench {
    /// Holds, by what arrived and not by what the daemon made of it, that no commit arrived that isn't on record as
    /// sent, and that between a commit and the next of the same certificate there are two reads, unless the first
    /// was refused for the time being and that is on record. Returns how many were sent again.
    pub(crate) async fn assert_each_repeat_explained(&self) -> usize {
        let on_record = self.commits_on_record().await;
        let mut repeats = 0;
        for (id, arrivals) in self.arrivals_by_certificate() {
            let known = on_record.get(&id).copied().unwrap_or_default();
            let commits = arrivals.iter().filter(|arrival| arrival.is_commit()).count();
            assert!(i64::try_from(commits).unwrap() <= known.sent, "{id}: {known:?}, yet {arrivals:#?}");
            let unread = unread(&arrivals);
            let refused = unread.iter().all(|commit| REFUSED.contains(&commit.answer.as_str()));
            assert!(refused, "{id}: sent again without two reads: {arrivals:#?}");
            assert!(i64::try_from(unread.len()).unwrap() <= known.answered, "{id}: {known:?}, yet {arrivals:#?}");
            repeats += commits.saturating_sub(1);
        }
        repeats
    }

    fn arrivals_by_certificate(&self) -> HashMap<String, Vec<Arrival>> {
        let mut arrivals: HashMap<String, Vec<Arrival>> = HashMap::new();
        for arrival in self.simulator.arrivals() {
            arrivals.entry(arrival.certificate_id.clone().expect("it names one")).or_default().push(arrival);
        }
        arrivals
    }

    async fn commits_on_record(&self) -> HashMap<String, OnRecord> {
        #[derive(sqlx::FromRow)]
        struct Counted {
            certificate_id: String,
            #[sqlx(flatten)]
            commits: OnRecord,
        }
        let mut connection = self.connect().await;
        let counted: Vec<Counted> = sqlx::query_as(
            "SELECT certificate_id, sum(coalesce(outcome, 'in_doubt') <> 'not_sent') AS sent,
                    sum(coalesce(outcome, 'in_doubt') IN ('retry', 'throttled')) AS answered
               FROM requests WHERE kind = 'commit' GROUP BY certificate_id",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
        counted.into_iter().map(|counted| (counted.certificate_id, counted.commits)).collect()
    }
}

/// The commits of one certificate that another followed with fewer than two reads between them.
fn unread(arrivals: &[Arrival]) -> Vec<&Arrival> {
    let mut unread = Vec::new();
    let mut before: Option<&Arrival> = None;
    let mut reads = 0;
    for arrival in arrivals {
        if arrival.is_commit() {
            unread.extend(before.filter(|_| reads < READS));
            before = Some(arrival);
            reads = 0;
        } else if arrival.is_read() {
            reads += 1;
        }
    }
    unread
}
