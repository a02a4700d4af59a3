//! Compares the commits that reached the simulator with those on record, and checks that each repeat is explained.

use std::collections::HashMap;

use certcommit::simulator::Arrival;
use certcommit::submission::OutcomeClass as Class;
use certcommit::tencent::classify_code;
use sqlx::Connection as _;

use super::Bench;

/// The commits of one certificate on record.
#[derive(Debug, Clone, Copy, Default, sqlx::FromRow)]
struct OnRecord {
    /// How many may have been sent.
    sent: i64,
    /// How many the server refused.
    refused: i64,
}

impl Bench {
    /// Asserts, by the arrivals alone, that each commit that arrived is on record as sent, and that between two commits of a
    /// certificate there are the reads that the answer to the first requires; if fewer than two, that its refusal is on record.
    /// Returns the number of repeats.
    pub(crate) async fn assert_each_repeat_explained(&self) -> usize {
        let on_record = self.commits_on_record().await;
        let mut repeats = 0;
        for (id, arrivals) in self.arrivals_by_certificate() {
            let known = on_record.get(&id).copied().unwrap_or_default();
            let commits = arrivals.iter().filter(|arrival| arrival.is_commit()).count();
            assert!(i64::try_from(commits).unwrap() <= known.sent, "{id}: {known:?}, yet {arrivals:#?}");
            let refused = followed(&arrivals).filter(|(commit, reads)| {
                let needed = reads_needed(&commit.answer);
                assert!(*reads >= needed, "{id}: sent again after {reads} reads of {needed}: {arrivals:#?}");
                *reads < READS_IF_UNKNOWN
            });
            assert!(i64::try_from(refused.count()).unwrap() <= known.refused, "{id}: {known:?}, yet {arrivals:#?}");
            repeats += commits.saturating_sub(1);
        }
        repeats
    }

    fn arrivals_by_certificate(&self) -> HashMap<String, Vec<Arrival>> {
        let mut arrivals: HashMap<String, Vec<Arrival>> = HashMap::new();
        for arrival in self.simulator.arrivals() {
            arrivals
                .entry(arrival.certificate_id.clone().expect("each request names a certificate"))
                .or_default()
                .push(arrival);
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
                    sum(coalesce(outcome, 'in_doubt') NOT IN ('not_sent', 'in_doubt', 'submitted')) AS refused
               FROM requests WHERE kind = 'commit' GROUP BY certificate_id",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
        counted.into_iter().map(|counted| (counted.certificate_id, counted.commits)).collect()
    }
}

/// How many reads must follow a commit with an unknown outcome before it is repeated.
const READS_IF_UNKNOWN: usize = 2;

/// How many reads must follow a commit with this answer before it is repeated.
fn reads_needed(answer: &str) -> usize {
    match classify_code(answer) {
        Class::Retry | Class::Throttled | Class::Account | Class::Denied | Class::Failed => 0,
        Class::BackendError => 1,
        Class::StatusRefused
        | Class::InDoubt
        | Class::Submitted
        | Class::NotSent
        | Class::Committed
        | Class::NotCommitted
        | Class::DeadEnd
        | Class::Unclear
        | Class::Early => READS_IF_UNKNOWN,
    }
}

/// The commits of one certificate that another commit followed, each with the number of reads in between.
fn followed(arrivals: &[Arrival]) -> impl Iterator<Item = (&Arrival, usize)> {
    let commits: Vec<usize> = (0..arrivals.len()).filter(|index| arrivals[*index].is_commit()).collect();
    let pairs: Vec<(usize, usize)> = commits.iter().copied().zip(commits.iter().copied().skip(1)).collect();
    pairs.into_iter().map(|(one, next)| {
        let reads = arrivals[one..next].iter().filter(|arrival| arrival.is_read()).count();
        (&arrivals[one], reads)
    })
}
