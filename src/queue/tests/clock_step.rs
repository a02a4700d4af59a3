//! Due times after the wall clock was set back.

use super::*;

impl Site {
    async fn due_at(&mut self) -> i64 {
        self.number("SELECT due_at - 1700000000 FROM submissions").await.unwrap()
    }
}

#[tokio::test]
async fn the_rest_of_a_backoff_is_counted_from_the_new_time() {
    let mut site = Site::with(&["a"]).await;
    let claim = site.commits(499, 1).await.remove(0);
    let result = site.ended(500, &claim, refused_with(OutcomeClass::Retry));
    site.complete(500, result).await;
    let backoff = site.due_at().await - 500;
    assert!(backoff > 0);
    assert_eq!(site.queue.follow_clock(site.at(100)).await.unwrap(), 1);
    assert_eq!(site.due_at().await, 100 + backoff);
}

#[tokio::test]
async fn a_due_time_that_a_user_set_stays() {
    let mut site = Site::with(&["a"]).await;
    site.sql("UPDATE submissions SET due_at = 1700000900, updated_at = 1700000500").await;
    assert_eq!(site.queue.follow_clock(site.at(100)).await.unwrap(), 0);
    assert_eq!(site.due_at().await, 900);
}

#[tokio::test]
async fn a_request_in_flight_while_the_clock_is_set_back_does_not_make_its_row_wait_for_the_old_time() {
    let mut site = Site::with(&["a"]).await;
    site.sql("UPDATE submissions SET due_at = 1700000500").await;
    let claim = site.commits(500, 1).await.remove(0);
    assert_eq!(site.queue.follow_clock(site.at(100)).await.unwrap(), 1);
    let result = site.ended(100, &claim, refused_with(OutcomeClass::Throttled));
    site.complete(100, result).await;
    assert_eq!(site.state("a").await, "pending");
    assert!(site.due_at().await < 200, "due at {}", site.due_at().await);
}

#[tokio::test]
async fn a_due_time_that_a_user_set_while_the_request_is_in_flight_survives_a_clock_that_is_set_back() {
    let mut site = Site::with(&["a"]).await;
    let claim = site.commits(500, 1).await.remove(0);
    site.sql("UPDATE submissions SET due_at = 1700000900, updated_at = 1700000501").await;
    assert_eq!(site.queue.follow_clock(site.at(100)).await.unwrap(), 0);
    let result = site.ended(100, &claim, refused_with(OutcomeClass::Throttled));
    site.complete(100, result).await;
    assert_eq!(site.due_at().await, 900);
}
