//! Claims: which rows are sent next.

use super::*;
use crate::submission::{OutcomeClass, VerifyType};

#[tokio::test]
async fn a_claim_writes_its_request_and_moves_its_row_to_in_flight() {
    let mut site = Site::with(&["first"]).await;
    site.enqueue(NewSubmission { verify_type: Some(VerifyType::Dns), ..new("second") }).await;
    let claims = site.commits(7, 9).await;
    let claimed: Vec<_> = claims.iter().map(|claim| (claim.request, claim.verify_type, claim.row.state)).collect();
    assert_eq!(claimed, [(1, None, State::InFlight), (2, Some(VerifyType::Dns), State::InFlight)]);
    assert_eq!(names(&claims), ["first", "second"]);
    assert_eq!(site.state("second").await, "in_flight");
    let [request] = <[HistoryLine; 1]>::try_from(site.queue.history(&id("second")).await.unwrap()).unwrap();
    assert_eq!((request.number, request.kind.as_str(), request.outcome), (2, "commit", None));
    assert_eq!(request.started_at, (BEGIN + 7) * 1000);
}

#[tokio::test]
async fn higher_priorities_go_first_then_earlier_due_times_then_earlier_rows() {
    let mut site = Site::with(&["late", "later"]).await;
    site.enqueue(NewSubmission { due_at: Some(999), ..new("early") }).await;
    site.enqueue(NewSubmission { priority: 1, ..new("preferred") }).await;
    site.enqueue(NewSubmission { priority: 3, ..new("urgent") }).await;
    assert_eq!(names(&site.commits(0, 9).await), ["urgent", "preferred", "early", "late", "later"]);
}

#[tokio::test]
async fn no_more_is_claimed_than_the_limit() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    assert_eq!(names(&site.commits(0, 0).await), [""; 0]);
    assert_eq!(names(&site.commits(0, 2).await), ["a", "b"]);
    assert_eq!(names(&site.commits(0, 2).await), ["c"]);
    assert_eq!(names(&site.commits(0, 2).await), [""; 0]);
}

#[tokio::test]
async fn as_much_is_claimed_as_the_limit_allows() {
    let names: Vec<String> = (0..50).map(|number| format!("c{number}")).collect();
    let mut site = Site::new().await;
    for name in &names {
        site.enqueue(new(name)).await;
    }
    assert_eq!(site.commits(0, 40).await.len(), 40);
    assert_eq!(
        site.write_and_claim(0, &[], 1, 5).await.commits().len(),
        1,
        "even if the limit for readbacks is higher"
    );
}

#[tokio::test]
async fn nothing_is_claimed_before_it_is_due() {
    let mut site = Site::new().await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 10), ..new("later") }).await;
    assert_eq!(names(&site.commits(9, 1).await), [""; 0]);
    assert_eq!(names(&site.commits(10, 1).await), ["later"]);
}

#[tokio::test]
async fn a_row_in_doubt_is_read_back_when_it_is_due_and_once_at_a_time() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    site.read_early(1).await;
    assert_eq!(names(&site.readbacks_at(59, 1).await), [""; 0], "it settles first");
    assert_eq!(names(&site.readbacks_at(60, 0).await), [""; 0], "the limit is 0");
    let reads = site.readbacks_at(60, 9).await;
    assert_eq!(names(&reads), ["a"]);
    assert_eq!((reads[0].row.state, reads[0].row.tries), (State::InDoubt, 1));
    assert_eq!(reads[0].row.evidence.last_commit, Some(OutcomeClass::InDoubt));
    assert_eq!(reads[0].row.evidence.age, Duration::from_secs(60));
    assert_eq!(names(&site.readbacks_at(61, 9).await), [""; 0], "its readback is in flight");
}

#[tokio::test]
async fn no_more_readbacks_are_claimed_than_the_limit() {
    let mut site = Site::with(&["a", "b"]).await;
    site.commit(0, lost()).await;
    site.commit(0, lost()).await;
    assert_eq!(names(&site.readbacks_at(60, 1).await), ["a"]);
    assert_eq!(names(&site.readbacks_at(60, 1).await), ["b"]);
}

#[tokio::test]
async fn a_row_with_a_backend_error_is_read_back_before_its_next_try() {
    let mut site = Site::with(&["a", "b"]).await;
    site.commit(0, refused_with(OutcomeClass::BackendError)).await;
    site.commit(0, refused_with(OutcomeClass::BackendError)).await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 60), ..new("fresh") }).await;
    assert_eq!(names(&site.readbacks_at(59, 1).await), [""; 0], "an order may not show yet");
    let claims = site.write_and_claim(60, &[], 1, 1).await;
    assert_eq!((names(&claims.readbacks()), names(&claims.commits())), (vec!["a"], vec!["fresh"]));
    assert_eq!(claims.readbacks()[0].row.state, State::Pending);
    assert_eq!(site.state("a").await, "pending");
    let result = site.ended(60, &claims.readbacks()[0], nothing_placed());
    site.complete(60, result).await;
    assert_eq!(names(&site.write_and_claim(60, &[], 9, 0).await.commits()), ["a"], "b waits for its readback");
}

#[tokio::test]
async fn rows_that_wait_for_a_readback_hide_none_behind_them() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, refused_with(OutcomeClass::BackendError)).await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 60), ..new("behind") }).await;
    assert_eq!(names(&site.commits(60, 1).await), ["behind"]);
}

#[tokio::test]
async fn of_the_rows_behind_them_no_more_are_claimed_than_the_limit() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, refused_with(OutcomeClass::BackendError)).await;
    for name in ["b", "c", "d", "e"] {
        site.enqueue(NewSubmission { due_at: Some(BEGIN + 60), ..new(name) }).await;
    }
    assert_eq!(names(&site.commits(60, 2).await), ["b", "c"]);
}

#[tokio::test]
async fn a_malformed_row_stays_as_it_is_and_blocks_no_other() {
    let mut site = Site::new().await;
    site.sql("DROP TRIGGER submissions_insert_rules").await;
    site.sql("INSERT INTO submissions (certificate_id, due_at) VALUES ('not an id!', 1)").await;
    site.sql("INSERT INTO submissions (certificate_id, verify_type, due_at) VALUES ('odd', 'BY PIGEON', 1)").await;
    site.enqueue(new("good")).await;
    let claims = site.write_and_claim(0, &[], 1, 0).await;
    assert_eq!(names(&claims.commits()), ["good"]);
    let sentence = "its certificate_id, verify_type or tries is invalid";
    let malformed = |id, text| RejectedWrite { is_malformed: true, ..rejected_write(id, text, None, sentence) };
    assert_eq!(claims.rejected_claims, [malformed(1, "not an id!"), malformed(2, "odd")]);
    assert_eq!(site.number("SELECT count(*) FROM submissions WHERE state = 'pending'").await, Some(2));
}

#[tokio::test]
async fn values_of_whatever_type_in_one_row_block_no_other() {
    let mut site = Site::new().await;
    site.sql("DROP TRIGGER submissions_insert_rules").await;
    site.sql(
        "INSERT INTO submissions (certificate_id, verify_type, priority, tries, state, due_at) VALUES
           (x'ff', NULL, 0, 0, 'pending', 1), (CAST(x'ff' AS TEXT), NULL, 0, 0, 'pending', 1),
           (CAST(x'610062' AS TEXT), NULL, 0, 0, 'pending', 1), ('blob', x'ff', 0, 0, 'pending', 1),
           ('bytes', CAST(x'ff' AS TEXT), 0, 0, 'pending', 1), ('many', NULL, 0, 'many', 'pending', 1),
           ('real', NULL, 0, 0.5, 'pending', 1), ('some', NULL, x'ff', 0, 'in_doubt', 1), (x'00', NULL, 'x', -1, 'in_doubt', 1)",
    )
    .await;
    site.enqueue(new("good")).await;
    let claims = site.write_and_claim(0, &[], 1, 9).await;
    assert_eq!(names(&claims.commits()), ["good"]);
    let refused: Vec<Option<i64>> = claims.rejected_claims.iter().map(|one| one.submission).collect();
    assert_eq!(refused, [9, 1, 2, 3, 4, 5, 6, 7].map(Some));
    assert_eq!(names(&claims.readbacks()), ["some"]);
}

#[tokio::test]
async fn the_next_due_times_are_those_of_the_earliest_commit_and_the_earliest_readback() {
    let mut site = Site::new().await;
    let next = |done: BatchReport| (done.next_commit, done.next_readback);
    assert_eq!(next(site.write_and_claim(0, &[], 0, 0).await), (None, None));
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 9), ..new("later") }).await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 8), priority: 0, ..new("sooner") }).await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 10), priority: 3, ..new("urgent") }).await;
    assert_eq!(next(site.write_and_claim(0, &[], 0, 0).await), (Some(BEGIN + 8), None));
    site.commit(8, lost()).await;
    assert_eq!(next(site.write_and_claim(8, &[], 0, 0).await), (Some(BEGIN + 9), Some(BEGIN + 8)));
    assert_eq!(next(site.write_and_claim(9, &[], 1, 0).await), (Some(BEGIN + 10), Some(BEGIN + 8)));
    assert_eq!(next(site.write_and_claim(68, &[], 1, 1).await), (None, None), "everything is in flight");
}
