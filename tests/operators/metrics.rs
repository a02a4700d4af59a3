//! Prometheus's own tool accepts the alert rules in `deploy` and the names of the metrics.

use std::path::Path;
use std::process::{Command, Stdio};

use certcommit::daemon::Stop;
use certcommit::submission::State;

use crate::support::{Bench, bench_with_metrics, get};

fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"));
    command
}

fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("promtool (Debian package prometheus): {error}"));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn promtool_accepts_the_rules_and_each_alert_fires_exactly_when_it_should() {
    run(promtool(&["check", "rules", "certcommit.rules.yml"]));
    run(promtool(&["test", "rules", "certcommit.rules.test.yml"]));
}

#[tokio::test]
async fn promtool_accepts_the_names_of_the_metrics() {
    let bench: Bench = bench_with_metrics().await;
    bench.enqueue(&["abcb1234"]).await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Submitted, 1).await;
    let (_, text) = get(daemon.metrics(), "/metrics").await;
    let file = bench.path("metrics");
    std::fs::write(&file, text).unwrap();
    let mut lint = promtool(&["check", "metrics"]);
    lint.stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
    run(lint);
    daemon.stop(Stop::Soon).await;
}
