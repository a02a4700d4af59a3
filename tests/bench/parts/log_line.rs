//! A log line, with the program's own setup.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsFd as _;

use certcommit::logging::{self, LogEvent, LogFormat, LogLevel};
use criterion::Criterion;
use rustix::stdio::dup2_stderr;

/// Events with other targets aren't logged.
const TARGET: &str = "certcommit::daemon";

/// Lines go to standard error, which is redirected to /dev/null meanwhile.
pub(super) fn a_line(criterion: &mut Criterion) {
    logging::init(LogLevel::Info, LogFormat::Json).unwrap();
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
    dup2_stderr(File::options().write(true).open("/dev/null").unwrap()).unwrap();
    criterion.bench_function("a line of the log, in JSON", |bencher| {
        bencher.iter(|| {
            tracing::info!(
                target: TARGET,
                event = LogEvent::Submitted.as_str(),
                certificate_id = black_box("abcb1234"),
                state = "submitted",
                r#try = 1,
                outcome = "submitted",
                order_id = "SO000001",
                status = 8,
                request_id = "00000000-0000-4000-8000-000000000001",
                http_status = 200,
                duration_ms = 319,
                "certificate abcb1234: submitted as order SO000001, status 8 (information submitted, pending confirmation \
                 letter upload), try 1"
            );
        });
    });
    dup2_stderr(stderr).unwrap();
}
