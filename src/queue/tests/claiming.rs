//! What goes out next.

use super::*;
use crate::submission::{CommitClass, VerifyType};

#[tokio::test]
async fn a_claim_writes_its_request_and_takes_its_row_in_flight() {
    let mut site = Site::with(&["first"]).await;
    site.enqueue(NewSubmission { verify_type: Some(VerifyType::Dns), ..new("second") }).await;
    let claims = site.commits(7, 9).await;
    let told: Vec<_> = claims.iter().map(|claim| (claim.request, claim.verify_type, claim.row.state)).collect();
    assert_eq!(told, [(1, None, State::InFlight), (2, Some(VerifyType::Dns), State::InFlight)]);
    assert_eq!(names(&claims), ["first", "second"]);
    assert_eq!(site.state("second").await, "in_flight");
    let [request] = <[HistoryLine; 1]>::try_from(site.queue.history(&id("second")).await.unwrap()).unwrap();
    assert_eq!((request.number, request.kind.as_str(), request.outcome), (2, "commit", None));
    assert_eq!(request.started_at, (BEGIN + 7) * 1000);
}

#[tokio::test]
async fn higher_priorities_go_first_then_who_is_due_earlier_then_who_came_earlier() {
    let mut site = Site::with(&["late", "later"]).await;
    site.enqueue(NewSubmission { due_at: Some(999), ..new("early") }).await;
    site.enqueue(NewSubmission { priority: 1, ..new("preferred") }).await;
    site.enqueue(NewSubmission { priority: 3, ..new("urgent") }).await;
    assert_eq!(names(&site.commits(0, 9).await), ["urgent", "preferred", "early", "late", "later"]);
}

#[tokio::test]
async fn no_more_is_claimed_than_is_wanted() {
    let mut site = Site::with(&["a", "b", "c"]).await;
    assert_eq!(names(&site.commits(0, 0).await), [""; 0]);
    assert_eq!(names(&site.commits(0, 2).await), ["a", "b"]);
    assert_eq!(names(&site.commits(0, 2).await), ["c"]);
    assert_eq!(names(&site.commits(0, 2).await), [""; 0]);
}

#[tokio::test]
async fn as_much_is_claimed_as_is_wanted() {
    let names: Vec<String> = (0..50).map(|number| format!("c{number}")).collect();
    let mut site = Site::new().await;
    for name in &names {
        site.enqueue(new(name)).await;
    }
    assert_eq!(site.commits(0, 40).await.len(), 40);
    assert_eq!(site.turn(0, &[], 1, 5).await.claims.commits.len(), 1, "also if more reads than commits are wanted");
}

#[tokio::test]
async fn nothing_is_claimed_before_it_is_due() {
    let mut site = Site::new().await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 10), ..new("later") }).await;
    assert_eq!(names(&site.commits(9, 1).await), [""; 0]);
    assert_eq!(names(&site.commits(10, 1).await), ["later"]);
}

#[tokio::test]
async fn what_is_in_doubt_is_read_when_it_is_due_and_only_once_at_a_time() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, lost()).await;
    assert_eq!(names(&site.reads(59, 1).await), [""; 0], "it settles first");
    assert_eq!(names(&site.reads(60, 0).await), [""; 0], "none was wanted");
    let reads = site.reads(60, 9).await;
    assert_eq!(names(&reads), ["a"]);
    assert_eq!((reads[0].row.state, reads[0].row.tries), (State::InDoubt, 1));
    assert_eq!(reads[0].row.evidence.last_commit, Some(CommitClass::InDoubt));
    assert_eq!(reads[0].row.evidence.age, Duration::from_secs(60));
    assert_eq!(names(&site.reads(61, 9).await), [""; 0], "its read is on the way");
}

#[tokio::test]
async fn no_more_is_read_than_is_wanted() {
    let mut site = Site::with(&["a", "b"]).await;
    site.commit(0, lost()).await;
    site.commit(0, lost()).await;
    assert_eq!(names(&site.reads(60, 1).await), ["a"]);
    assert_eq!(names(&site.reads(60, 1).await), ["b"]);
}

#[tokio::test]
async fn a_row_with_an_error_of_the_backend_is_read_before_its_next_try() {
    let mut site = Site::with(&["a", "b"]).await;
    site.commit(0, CommitOutcome::BackendError(refusal())).await;
    site.commit(0, CommitOutcome::BackendError(refusal())).await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 60), ..new("fresh") }).await;
    assert_eq!(names(&site.reads(59, 1).await), [""; 0], "an order may not show yet");
    let claims = site.turn(60, &[], 1, 1).await.claims;
    assert_eq!((names(&claims.reads), names(&claims.commits)), (vec!["a"], vec!["fresh"]));
    assert_eq!(claims.reads[0].row.state, State::Pending);
    assert_eq!(site.state("a").await, "pending");
    let record = site.read_back(60, &claims.reads[0], nothing_placed());
    site.record(60, record).await;
    assert_eq!(names(&site.turn(60, &[], 9, 0).await.claims.commits), ["a"], "b waits for its read");
}

#[tokio::test]
async fn rows_that_have_to_be_read_first_and_cannot_be_now_hide_none_behind_them() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, CommitOutcome::BackendError(refusal())).await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 60), ..new("behind") }).await;
    assert_eq!(names(&site.commits(60, 1).await), ["behind"]);
}

#[tokio::test]
async fn of_those_behind_them_no_more_are_claimed_than_are_wanted() {
    let mut site = Site::with(&["a"]).await;
    site.commit(0, CommitOutcome::BackendError(refusal())).await;
    for name in ["b", "c", "d", "e"] {
        site.enqueue(NewSubmission { due_at: Some(BEGIN + 60), ..new(name) }).await;
    }
    assert_eq!(names(&site.commits(60, 2).await), ["b", "c"]);
}

#[tokio::test]
async fn a_row_that_no_rule_would_have_let_in_stays_as_it_is_and_blocks_no_other() {
    let mut site = Site::new().await;
    site.sql("DROP TRIGGER submissions_insert_rules").await;
    site.sql("INSERT INTO submissions (certificate_id, due_at) VALUES ('not an id!', 1)").await;
    site.sql("INSERT INTO submissions (certificate_id, verify_type, due_at) VALUES ('odd', 'BY PIGEON', 1)").await;
    site.enqueue(new("good")).await;
    let claims = site.turn(0, &[], 1, 0).await.claims;
    assert_eq!(names(&claims.commits), ["good"]);
    let sentence = "its certificate_id, verify_type or tries can't be right";
    let malformed = |id, text| RejectedWrite { is_malformed: true, ..refused(id, text, None, sentence) };
    assert_eq!(claims.refused, [malformed(1, "not an id!"), malformed(2, "odd")]);
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
    let claims = site.turn(0, &[], 1, 9).await.claims;
    assert_eq!(names(&claims.commits), ["good"]);
    let refused: Vec<Option<i64>> = claims.refused.iter().map(|refused| refused.submission).collect();
    assert_eq!(refused, [9, 1, 2, 3, 4, 5, 6, 7].map(Some));
    assert_eq!(names(&claims.reads), ["some"]);
}

#[tokio::test]
async fn the_next_due_times_are_those_of_the_earliest_commit_and_the_earliest_read() {
    let mut site = Site::new().await;
    let next = |done: TurnReport| (done.next_commit, done.next_read);
    assert_eq!(next(site.turn(0, &[], 0, 0).await), (None, None));
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 9), ..new("later") }).await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 8), priority: 0, ..new("sooner") }).await;
    site.enqueue(NewSubmission { due_at: Some(BEGIN + 10), priority: 3, ..new("urgent") }).await;
    assert_eq!(next(site.turn(0, &[], 0, 0).await), (Some(BEGIN + 8), None));
    site.commit(8, lost()).await;
    assert_eq!(next(site.turn(8, &[], 0, 0).await), (Some(BEGIN + 9), Some(BEGIN + 68)));
    assert_eq!(next(site.turn(9, &[], 1, 0).await), (Some(BEGIN + 10), Some(BEGIN + 68)));
    assert_eq!(next(site.turn(68, &[], 1, 1).await), (None, None), "all is on the way");
}
