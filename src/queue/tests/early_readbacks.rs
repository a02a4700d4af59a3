//! Readbacks of rows in doubt before an order must show.

use super::*;

fn early() -> Outcome {
    Outcome { class: OutcomeClass::Early, ..nothing_placed() }
}

impl Site {
    /// A readback before settling, which shows no order.
    pub(super) async fn read_early(&mut self, seconds: u64) -> Claim {
        self.read_back(seconds, early()).await
    }

    async fn when_due(&mut self, name: &str) -> i64 {
        let query = sqlx::query_scalar("SELECT due_at FROM submissions WHERE certificate_id = ?").bind(name);
        query.fetch_one(&mut self.queue.connection).await.unwrap()
    }

    /// Claims readbacks, while early ones wait this long.
    async fn readbacks_while(&mut self, seconds: u64, early_readbacks_in: Duration) -> Vec<Claim> {
        let request = claiming(0, 9);
        let limits = ClaimLimits { early_readbacks_in, ..request.limits };
        self.batch(seconds, &BatchRequest { limits, ..request }).await.unwrap().readbacks()
    }
}

#[tokio::test]
async fn a_row_in_doubt_is_read_back_at_once_and_again_when_it_has_settled() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    let claim = site.read_early(1).await;
    assert!(!claim.row.evidence.was_read_early);
    assert_eq!((site.state("a").await.as_str(), site.when_due("a").await), ("in_doubt", BEGIN + 60));
    assert_eq!(site.outcomes("a").await, ["in_doubt", "early"].map(|outcome| Some(outcome.to_owned())));
    assert_eq!(names(&site.readbacks_at(59, 9).await), [""; 0]);
    let claim = site.read_back(60, nothing_placed()).await;
    assert_eq!((claim.row.evidence.negative_readbacks, claim.row.evidence.readbacks), (0, 0), "it counted for nothing");
    assert_eq!(site.when_due("a").await, BEGIN + 600);
}

#[tokio::test]
async fn an_early_readback_that_was_cut_off_is_made_again_by_the_next_run() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    site.readbacks_at(1, 1).await;
    site.restart().await;
    site.recover(2, &[]).await;
    assert_eq!(names(&site.readbacks_at(3, 1).await), ["a"]);
}

#[tokio::test]
async fn readbacks_that_can_decide_come_first_and_the_others_become_due_later() {
    let mut site = Site::with(&["settled"]).await;
    site.commit(0, lost()).await;
    site.read_early(1).await;
    site.enqueue(new("early")).await;
    site.commit(58, lost()).await;
    assert_eq!(site.when_due("early").await, BEGIN + 58, "it is due before the other");
    let claims = site.write_and_claim(60, &[], 0, 1).await;
    assert_eq!(names(&claims.readbacks()), ["settled"]);
    assert_eq!(claims.next_readback, Some(BEGIN + 61));
    assert_eq!(names(&site.readbacks_at(61, 2).await), ["early"]);
}

#[tokio::test]
async fn unsettled_rows_that_are_due_hide_none_that_can_be_decided() {
    let names_of_others: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let mut site = Site::with(&["settled"]).await;
    site.commit(0, lost()).await;
    site.read_early(1).await;
    for name in &names_of_others {
        site.enqueue(new(name)).await;
        site.commit(58, lost()).await;
    }
    let claimed = [site.readbacks_at(60, 1).await, site.readbacks_at(60, 1).await].concat();
    assert!(names(&claimed).contains(&"settled"), "{:?}", names(&claimed));
}

#[tokio::test]
async fn while_early_readbacks_wait_a_row_is_due_when_they_may_be_made_or_when_it_has_settled() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    assert_eq!(names(&site.readbacks_while(1, Duration::from_secs(10)).await), [""; 0]);
    assert_eq!((site.when_due("a").await, site.state("a").await.as_str()), (BEGIN + 12, "in_doubt"));
    let reason = site.line("a").await.reason;
    assert!(reason.as_ref().is_some_and(|reason| reason.contains("may have been placed")), "{reason:?}");
    assert_eq!(names(&site.readbacks_while(12, Duration::from_secs(300)).await), [""; 0]);
    assert_eq!(site.when_due("a").await, BEGIN + 61);
    assert_eq!(names(&site.readbacks_while(61, Duration::from_secs(300)).await), ["a"], "it has settled");
}
