//! The metrics, with Prometheus's names and text format. They are recorded whether or not they are scraped; the cost is
//! negligible.

use std::time::Duration;

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use crate::named_enum::named_enum;

named_enum! {
    /// Every metric.
    pub enum Metric {
        /// Requests that ended, by kind (commit, read), outcome and error code; codes that aren't in the error table count as other.
        Requests = "certcommit_requests_total",
        /// The time from signing a request to its outcome, by kind.
        Duration = "certcommit_request_duration_seconds",
        /// Submissions, by state.
        Submissions = "certcommit_submissions",
        /// Followed orders, by where they stand at the CA (underway, letter_needed, issued, refused, over).
        Followed = "certcommit_followed_orders",
        /// Requests for the statuses of followed orders, by outcome (ok, failed).
        Looks = "certcommit_follow_requests_total",
        /// How long the oldest submission that is due has been waiting; 0 if none is due.
        OldestDue = "certcommit_oldest_due_seconds",
        /// The commits per second that the daemon currently allows itself.
        Pace = "certcommit_pace_per_second",
        /// The configured maximum of commits per second.
        Cap = "certcommit_rate_limit_per_second",
        /// 1 while no commits are sent, because of an operator (by="operator") or a fault (by="fault").
        Paused = "certcommit_paused",
        /// 1 while the cause with this code (docs/RUNBOOK.md) pauses commits or readbacks, 0 once it is over.
        Incident = "certcommit_incident",
        /// 0 while the database is unavailable and nothing is sent.
        Database = "certcommit_database_available",
        /// Always 1; its label is the version.
        Build = "certcommit_build_info",
    }
}

/// In seconds: from a warm connection to a nearby server, up to `api.request_timeout`.
const BUCKETS: [f64; 9] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// The metrics of one daemon.
pub struct Metrics {
    recorder: PrometheusRecorder,
}

/// What a daemon is doing, for the gauges.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// How long the oldest submission that is due has been waiting, in seconds.
    pub oldest_due_s: i64,
    /// Commits per second that the daemon currently allows itself.
    pub pace: f64,
    /// The configured maximum of commits per second.
    pub cap: f64,
    /// Whether an operator paused the queue.
    pub paused_by_operator: bool,
    /// Whether the daemon paused itself.
    pub paused_by_fault: bool,
    /// Whether the database is available.
    pub database_available: bool,
}

impl Metrics {
    /// Metrics without any values yet.
    #[must_use]
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // Only an empty list of buckets is refused.
        let builder = builder
            .set_buckets_for_metric(Matcher::Full(Metric::Duration.to_string()), &BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let metrics = Self { recorder: builder.build_recorder() };
        with_local_recorder(&metrics.recorder, || {
            for metric in Metric::ALL {
                let (name, meaning) = (metric.as_str(), metric.describe());
                match metric {
                    Metric::Requests | Metric::Looks => describe_counter!(name, meaning),
                    Metric::Duration => describe_histogram!(name, meaning),
                    Metric::Submissions
                    | Metric::Followed
                    | Metric::OldestDue
                    | Metric::Pace
                    | Metric::Cap
                    | Metric::Paused
                    | Metric::Incident
                    | Metric::Database
                    | Metric::Build => describe_gauge!(name, meaning),
                }
            }
            gauge!(Metric::Build.as_str(), "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        });
        metrics
    }

    /// Records a request that ended.
    pub fn request(&self, kind: &'static str, outcome: &'static str, code: &'static str, duration: Duration) {
        with_local_recorder(&self.recorder, || {
            counter!(Metric::Requests.as_str(), "kind" => kind, "outcome" => outcome, "code" => code).increment(1);
            histogram!(Metric::Duration.as_str(), "kind" => kind).record(duration.as_secs_f64());
        });
    }

    /// Sets the number of submissions in a state.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a count of submissions is far below 2^52")]
    pub fn submissions(&self, state: &'static str, count: i64) {
        with_local_recorder(&self.recorder, || {
            gauge!(Metric::Submissions.as_str(), "state" => state).set(count as f64)
        });
    }

    /// Sets the number of followed orders that stand like this.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a count of orders is far below 2^52")]
    pub fn followed(&self, standing: &'static str, count: i64) {
        with_local_recorder(&self.recorder, || {
            gauge!(Metric::Followed.as_str(), "standing" => standing).set(count as f64);
        });
    }

    /// Counts a request for statuses.
    pub fn looked(&self, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        with_local_recorder(&self.recorder, || {
            counter!(Metric::Looks.as_str(), "outcome" => outcome).increment(1);
        });
    }

    /// Sets whether the cause with this code pauses anything.
    pub fn incident(&self, code: &'static str, lasts: bool) {
        with_local_recorder(&self.recorder, || {
            gauge!(Metric::Incident.as_str(), "code" => code).set(f64::from(u8::from(lasts)));
        });
    }

    /// Sets the gauges.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "an age in seconds is far below 2^52")]
    pub fn gauges(&self, gauges: Gauges) {
        with_local_recorder(&self.recorder, || {
            gauge!(Metric::OldestDue.as_str()).set(gauges.oldest_due_s as f64);
            gauge!(Metric::Pace.as_str()).set(gauges.pace);
            gauge!(Metric::Cap.as_str()).set(gauges.cap);
            gauge!(Metric::Paused.as_str(), "by" => "operator").set(f64::from(u8::from(gauges.paused_by_operator)));
            gauge!(Metric::Paused.as_str(), "by" => "fault").set(f64::from(u8::from(gauges.paused_by_fault)));
            gauge!(Metric::Database.as_str()).set(f64::from(u8::from(gauges.database_available)));
        });
        // Aggregates recorded durations into buckets; without a scrape, they would pile up.
        self.recorder.handle().run_upkeep();
    }

    /// All metrics in Prometheus's text format.
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
    fn the_gauges_show_the_last_value_set() {
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
    fn every_metric_has_help_and_a_type() {
        let metrics = Metrics::new();
        metrics.request("commit", "submitted", "", Duration::from_millis(300));
        metrics.submissions("pending", 3);
        metrics.incident("ca_busy", true);
        metrics.followed("issued", 3);
        metrics.looked(true);
        metrics.gauges(GAUGES);
        let text = metrics.render();
        for name in Metric::NAMES {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} in {text}");
            let kind = match *name {
                "certcommit_requests_total" | "certcommit_follow_requests_total" => "counter",
                "certcommit_request_duration_seconds" => "histogram",
                _ => "gauge",
            };
            assert!(text.contains(&format!("# TYPE {name} {kind}")), "{name} in {text}");
        }
    }
}
