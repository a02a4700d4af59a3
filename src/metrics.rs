//! The metrics, in Prometheus's names and text format. They are kept whether somebody reads them or not, and cost
//! next to nothing.

use std::time::Duration;

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

const REQUESTS: &str = "certcommit_requests_total";
const DURATION: &str = "certcommit_request_duration_seconds";
const SUBMISSIONS: &str = "certcommit_submissions";
const OLDEST_DUE: &str = "certcommit_oldest_due_seconds";
const PACE: &str = "certcommit_pace_per_second";
const CAP: &str = "certcommit_rate_limit_per_second";
const PAUSED: &str = "certcommit_paused";
const DATABASE: &str = "certcommit_database_available";
const BUILD: &str = "certcommit_build_info";

/// From a warm connection nearby to `api.request_timeout`, in seconds.
const BUCKETS: [f64; 9] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Every metric with what it tells, as the documentation has it.
pub const CATALOGUE: [(&str, &str); 9] = [
    (
        REQUESTS,
        "Requests that ended, by kind (commit, read), outcome and error code; codes that no table knows count as other.",
    ),
    (DURATION, "From the signing of a request to its outcome, by kind."),
    (SUBMISSIONS, "Submissions, by state."),
    (OLDEST_DUE, "How long the oldest submission that is due has been waiting; 0 if none is."),
    (PACE, "Commits a second that the daemon allows itself at present."),
    (CAP, "Commits a second that it never passes."),
    (PAUSED, "1 while no commits go out, by an operator (by=\"operator\") or because of a fault (by=\"fault\")."),
    (DATABASE, "0 while the database does not work, and nothing is sent."),
    (BUILD, "Always 1; its label is the version."),
];

/// The metrics of one daemon.
pub struct Metrics {
    recorder: PrometheusRecorder,
}

/// What a daemon is at, for the gauges.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// How long the oldest submission that is due has been waiting, in seconds.
    pub oldest_due_s: i64,
    /// Commits a second at present.
    pub pace: f64,
    /// Commits a second at most.
    pub cap: f64,
    /// Whether an operator paused it.
    pub paused_by_operator: bool,
    /// Whether it paused itself.
    pub paused_by_fault: bool,
    /// Whether the database works.
    pub database_available: bool,
}

impl Metrics {
    /// Metrics that have counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // Only an empty list of buckets is refused.
        let builder = builder
            .set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), &BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let metrics = Self { recorder: builder.build_recorder() };
        with_local_recorder(&metrics.recorder, || {
            for (name, meaning) in CATALOGUE {
                match name {
                    REQUESTS => describe_counter!(name, meaning),
                    DURATION => describe_histogram!(name, meaning),
                    _ => describe_gauge!(name, meaning),
                }
            }
            gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        });
        metrics
    }

    /// A request ended.
    pub fn request(&self, kind: &'static str, outcome: &'static str, code: &'static str, duration: Duration) {
        with_local_recorder(&self.recorder, || {
            counter!(REQUESTS, "kind" => kind, "outcome" => outcome, "code" => code).increment(1);
            histogram!(DURATION, "kind" => kind).record(duration.as_secs_f64());
        });
    }

    /// So many submissions are in this state.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a count of submissions is far below 2^52")]
    pub fn submissions(&self, state: &'static str, count: i64) {
        with_local_recorder(&self.recorder, || gauge!(SUBMISSIONS, "state" => state).set(count as f64));
    }

    /// Sets the gauges.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "an age in seconds is far below 2^52")]
    pub fn gauges(&self, gauges: Gauges) {
        with_local_recorder(&self.recorder, || {
            gauge!(OLDEST_DUE).set(gauges.oldest_due_s as f64);
            gauge!(PACE).set(gauges.pace);
            gauge!(CAP).set(gauges.cap);
            gauge!(PAUSED, "by" => "operator").set(f64::from(u8::from(gauges.paused_by_operator)));
            gauge!(PAUSED, "by" => "fault").set(f64::from(u8::from(gauges.paused_by_fault)));
            gauge!(DATABASE).set(f64::from(u8::from(gauges.database_available)));
        });
        // Folds what was recorded into its buckets, also if nobody ever reads.
        self.recorder.handle().run_upkeep();
    }

    /// All of them as Prometheus reads them.
    #[must_use]
    pub fn render(&self) -> String {
        self.recorder.handle().render()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAUGES: Gauges = Gauges {
        oldest_due_s: 7,
        pace: 12.5,
        cap: 20.0,
        paused_by_operator: false,
        paused_by_fault: true,
        database_available: true,
    };

    fn lines(metrics: &Metrics) -> Vec<String> {
        metrics.render().lines().map(str::to_owned).collect()
    }

    #[test]
    fn requests_are_counted_by_kind_outcome_and_code_and_timed_by_kind() {
        let metrics = Metrics::new();
        for _ in 0..2 {
            metrics.request("commit", "submitted", "", Duration::from_millis(300));
        }
        metrics.request("commit", "retry", "FailedOperation.NetworkError", Duration::from_millis(80));
        metrics.request("read", "committed", "", Duration::from_secs(3));
        let lines = lines(&metrics);
        for expected in [
            r#"certcommit_requests_total{kind="commit",outcome="submitted",code=""} 2"#,
            r#"certcommit_requests_total{kind="commit",outcome="retry",code="FailedOperation.NetworkError"} 1"#,
            r#"certcommit_request_duration_seconds_bucket{kind="commit",le="0.1"} 1"#,
            r#"certcommit_request_duration_seconds_bucket{kind="commit",le="0.5"} 3"#,
            r#"certcommit_request_duration_seconds_count{kind="read"} 1"#,
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:#?}");
        }
    }

    #[test]
    fn the_gauges_show_the_last_that_was_set() {
        let metrics = Metrics::new();
        metrics.submissions("pending", 3);
        metrics.submissions("pending", 2);
        metrics.gauges(GAUGES);
        metrics.gauges(Gauges { oldest_due_s: 8, ..GAUGES });
        let lines = lines(&metrics);
        for expected in [r#"certcommit_submissions{state="pending"} 2"#, "certcommit_oldest_due_seconds 8"] {
            assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:#?}");
        }
        assert!(lines.iter().any(|line| line.starts_with("certcommit_build_info{version=")), "{lines:#?}");
    }

    #[test]
    fn each_has_its_help_and_type() {
        let metrics = Metrics::new();
        metrics.request("commit", "submitted", "", Duration::from_millis(300));
        metrics.submissions("pending", 3);
        metrics.gauges(GAUGES);
        let text = metrics.render();
        for (name, meaning) in CATALOGUE {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} {meaning} in {text}");
            let kind = match name {
                REQUESTS => "counter",
                DURATION => "histogram",
                _ => "gauge",
            };
            assert!(text.contains(&format!("# TYPE {name} {kind}")), "{name} in {text}");
        }
    }
}
