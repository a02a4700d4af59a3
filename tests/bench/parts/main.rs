//! Benchmarks of the parts that every submission goes through.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a measurement that can't be made ends with its reason")]

mod batches;
mod log_line;

use std::hint::black_box;
use std::time::Duration;

use certcommit::clock;
use certcommit::config::Settings;
use certcommit::pacing::{Limiter, Limits};
use certcommit::submission::{CertificateId, Event, Evidence, Outcome, RequestKind, Row, State, next_state};
use certcommit::tencent::{Action, CanonicalRequest, Scope, authorization, outcome};
use criterion::{Criterion, criterion_group, criterion_main};
use secrecy::SecretString;

const REPLY: &[u8] =
    br#"{"Response":{"OrderId":"SO000001","Status":8,"RequestId":"00000000-0000-4000-8000-000000000001"}}"#;

fn reading_an_id(criterion: &mut Criterion) {
    criterion.bench_function("reading a certificate ID", |bencher| {
        bencher.iter(|| black_box("abcb1234").parse::<CertificateId>());
    });
}

fn the_wire(criterion: &mut Criterion) {
    let id: CertificateId = "abcb1234".parse().unwrap();
    criterion.bench_function("the body of a commit", |bencher| {
        bencher.iter(|| Action::Commit.body(black_box(&id), None));
    });
    criterion.bench_function("reading the reply to a commit", |bencher| {
        bencher.iter(|| outcome(RequestKind::Commit, 200, black_box(REPLY)));
    });
    let key = SecretString::from("Gu5t9xGARNpq86cd98joQYCN3EXAMPLE");
    let body = Action::Commit.body(&id, None);
    let headers = [("content-type", "application/json"), ("host", "ssl.tencentcloudapi.com")];
    criterion.bench_function("signing a commit", |bencher| {
        bencher.iter(|| {
            let scope = Scope { service: "ssl", timestamp: black_box(1_551_113_065) };
            let request = CanonicalRequest { headers: &headers, body: body.as_bytes() };
            authorization("AKIDEXAMPLE", &key, &scope, &request)
        });
    });
}

fn deciding(criterion: &mut Criterion) {
    let policy = Settings::from_text("none".as_ref(), "", []).unwrap().policy();
    let row = Row { state: State::InFlight, tries: 0, is_probe: false, evidence: Evidence::none() };
    let event = Event::Ended(Outcome::submitted("SO000001".to_owned(), 8, Some("0000".to_owned())));
    criterion.bench_function("deciding the transition of a row", |bencher| {
        bencher.iter(|| next_state(black_box(&row), RequestKind::Commit, black_box(&event), &policy, 0.5));
    });
}

/// At full pace in virtual time: each request gets its slot, departs and is granted.
fn pacing(criterion: &mut Criterion) {
    let mut now = clock::now().instant;
    let mut limiter = Limiter::new(Limits { per_second: 20, guard: Duration::from_millis(25) }, now);
    criterion.bench_function("a slot of the limiter", |bencher| {
        bencher.iter(|| {
            while let Err(slot) = limiter.try_send(now) {
                now = slot;
            }
            limiter.departed(now);
            limiter.granted(now, now);
        });
    });
}

criterion_group!(parts, reading_an_id, the_wire, deciding, pacing, batches::claiming_and_recording, log_line::a_line);
criterion_main!(parts);
