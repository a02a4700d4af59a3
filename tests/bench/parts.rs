//! The parts that every submission goes through, each alone.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use certcommit::submission::CertificateId;
use criterion::{Criterion, criterion_group, criterion_main};

fn reading_an_id(criterion: &mut Criterion) {
    criterion.bench_function("reading a certificate ID", |bencher| {
        bencher.iter(|| black_box("abcb1234").parse::<CertificateId>());
    });
}

criterion_group!(parts, reading_an_id);
criterion_main!(parts);
