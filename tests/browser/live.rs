//! The page about the queue while the daemon runs.

use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use certcommit::daemon::Stop;
use certcommit::simulator::Fault;
use certcommit::submission::State;
use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::json;

use crate::driver::{Browser, STRANGER, Visitor};
use crate::looking::{ATTACK, DESKTOP, PHONE};
use crate::support::{Bench, Running, bench_with_metrics, ids, in_time, text};

/// Asks until the answer is yes.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    in_time(what, async { while !is_so().await {} }).await;
}

/// Waits until the first element that the selector finds has this text in it.
async fn until_text(browser: &Browser, selector: &str, expected: &str) {
    until(&format!("{expected:?} in {selector}"), async || browser.text_of(selector).await.contains(expected)).await;
}

/// Loads the page of a daemon of the test's own, in a browser of its own.
async fn open(daemon: &Running, visitor: Visitor) -> (Browser, String) {
    let (browser, address) = (Browser::start(visitor).await, format!("http://{}/", daemon.metrics()));
    browser.visit(&address).await;
    (browser, address)
}

#[tokio::test]
async fn the_numbers_follow_the_queue_to_its_end_without_loading_the_page_again() {
    let bench = bench_with_metrics().await;
    let ids = ids(60);
    bench.enqueue(&ids).await;
    let daemon = bench.start().await;
    let (browser, address) = open(&daemon, DESKTOP).await;
    browser.client.execute("window.isTheSame = true", Vec::new()).await.unwrap();
    assert!(browser.text_of("[data-part=outcomes]").await.contains("60\ncertificates"));
    until_text(&browser, "[data-part=outcomes]", "60\nordered, confirmation letter needed").await;
    until_text(&browser, "#refreshed", "Refreshed at ").await;
    assert_eq!(browser.text_of("[data-part=daemon] li").await, "running\nat present");
    assert_eq!(browser.text_of("#place").await, "1 to 50 of 60");
    assert_eq!(browser.evaluate("window.isTheSame").await, true);
    assert_eq!(browser.console().await, [""; 0]);
    let requests = browser.requests().await;
    assert!(requests.len() > 1 && requests.iter().all(|asked| *asked == address), "{requests:?}");
    browser.end().await;
    daemon.stop(Stop::Soon).await;
}

#[tokio::test]
async fn what_a_visitor_typed_opened_and_focused_survives_a_refresh() {
    let bench = bench_with_metrics().await;
    bench.enqueue(&["spring-1", "autumn-1"]).await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Submitted, 2).await;
    let (browser, _) = open(&daemon, DESKTOP).await;
    let header = browser.client.find(Locator::Css("th[data-column=certificate_id] button")).await.unwrap();
    header.click().await.unwrap();
    header.click().await.unwrap();
    let search = browser.client.find(Locator::Id("search")).await.unwrap();
    search.send_keys("SPRING").await.unwrap();
    bench.enqueue(&["spring-2", "autumn-2"]).await;
    until("the new one", async || browser.listed().await == ["spring-2", "spring-1"]).await;
    assert_eq!(browser.evaluate("document.activeElement === document.getElementById('search')").await, true);
    assert_eq!(search.prop("value").await.unwrap().as_deref(), Some("SPRING"));

    browser.press("#story-spring-1").await;
    assert!(browser.text_of("#rows").await.contains("commit · submitted"));
    bench.enqueue(&["spring-3"]).await;
    until("another one", async || browser.listed().await == ["spring-3", "spring-2", "spring-1"]).await;
    assert_eq!(browser.evaluate("document.activeElement.id").await, "story-spring-1");
    assert_eq!(browser.evaluate("document.activeElement.getAttribute('aria-expanded')").await, "true");
    assert_eq!(
        browser.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')").await,
        "descending"
    );
    assert_eq!(browser.console().await, [""; 0]);
    browser.end().await;
    daemon.stop(Stop::Soon).await;
}

#[tokio::test]
async fn a_visitor_stops_the_refreshing_and_starts_it_again() {
    let bench = bench_with_metrics().await;
    let daemon = bench.start().await;
    let (browser, _) = open(&daemon, DESKTOP).await;
    until_text(&browser, "#refreshed", "Refreshed at ").await;
    let refresh = browser.client.find(Locator::Id("refresh")).await.unwrap();
    refresh.send_keys(&Key::Space.to_string()).await.unwrap();
    assert_eq!(refresh.prop("checked").await.unwrap().as_deref(), Some("false"));
    browser.requests().await;
    bench.enqueue(&["new"]).await;
    // As long as it takes for two refreshes, by the browser's own clock.
    let began = browser.evaluate("performance.now()").await.as_f64().unwrap();
    until("the time for two refreshes", async || {
        browser.evaluate("performance.now()").await.as_f64().unwrap() > began + 11_000.0
    })
    .await;
    assert_eq!(browser.requests().await, [""; 0]);
    assert_eq!(browser.listed().await, [""; 0]);
    refresh.send_keys(&Key::Space.to_string()).await.unwrap();
    until("the new one", async || browser.listed().await == ["new"]).await;
    browser.end().await;
    daemon.stop(Stop::Soon).await;
}

#[tokio::test]
async fn text_from_outside_that_a_refresh_brings_is_shown_and_never_runs() {
    let bench = bench_with_metrics().await;
    let error =
        json!({ "Response": { "Error": { "Code": "FailedOperation.X", "Message": ATTACK }, "RequestId": "r-1" } });
    bench.simulator.script_commits("refused", vec![Fault::Raw(error.to_string().into())]);
    let daemon = bench.start().await;
    let (browser, address) = open(&daemon, DESKTOP).await;
    let reference = ATTACK.replace('\'', "''");
    bench.sql(&format!("INSERT INTO submissions (certificate_id, reference) VALUES ('refused', '{reference}')")).await;
    until_text(&browser, "[data-part=failures]", ATTACK).await;
    browser.press("#story-refused").await;
    assert!(browser.text_of("#rows").await.contains(&format!("The server said: {ATTACK}")));
    browser.assert_not_attacked().await;
    bench.sql(&format!("UPDATE control SET paused = 1, pause_reason = '{reference}'")).await;
    until_text(&browser, "[data-part=daemon]", ATTACK).await;
    browser.assert_not_attacked().await;
    assert_eq!(browser.console().await, [""; 0]);
    let requests = browser.requests().await;
    assert!(requests.iter().all(|asked| *asked == address), "{requests:?}");
    browser.end().await;
    daemon.stop(Stop::Soon).await;
}

#[tokio::test]
async fn a_page_of_a_stranger_reads_nothing_by_another_name_or_from_another_origin() {
    let bench = bench_with_metrics().await;
    let daemon = bench.start().await;
    let (browser, address) = open(&daemon, DESKTOP).await;
    assert_eq!(browser.text_of("h1").await, "Certificate orders");
    browser.visit(&format!("http://{STRANGER}:{}/", daemon.metrics().port())).await;
    let told = format!("open this page by an IP address or as localhost, such as {address}");
    assert_eq!(browser.text_of("body").await, told);
    browser.visit("about:blank").await;
    let read = format!("fetch('{address}').then((answer) => answer.text()).catch(() => 'refused')");
    assert_eq!(browser.evaluate(&read).await, "refused");
    browser.end().await;
    daemon.stop(Stop::Soon).await;
}

#[tokio::test]
async fn a_pause_and_its_remedy_can_be_read_on_a_light_screen() {
    let bench = bench_with_metrics().await;
    bench.enqueue(&["waits"]).await;
    bench.sql("UPDATE control SET paused = 1, pause_reason = 'maintenance at the CA'").await;
    let daemon = bench.start().await;
    let (browser, _) = open(&daemon, DESKTOP).await;
    until_text(&browser, "[data-part=daemon]", "paused by an operator").await;
    let shown = browser.text_of("[data-part=daemon]").await;
    assert!(shown.contains("an operator paused the queue: maintenance at the CA; since "), "{shown}");
    assert!(shown.contains("What to do: once the operator's reason is over: certcommit resume"), "{shown}");
    browser.assert_readable().await;
    browser.assert_named_controls().await;
    browser.end().await;
    daemon.stop(Stop::Soon).await;
}

#[tokio::test]
async fn a_demo_is_shown_on_a_narrow_dark_screen_and_its_end_is_noticed() {
    let bench = Bench::new().await;
    let browser = Browser::start(PHONE).await;
    let report = text(&bench.path("report.html"));
    let mut demo =
        bench.bare_command(&["demo", "--certificates", "60", "--listen", "127.0.0.1:0", "--report", &report]);
    let mut demo = demo.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let reader = std::thread::spawn(move || {
        let mut lines = lines;
        let address = lines.find_map(|line| line.split_once(" shows the queue at ").map(|(_, rest)| rest.to_owned()));
        sender.send(address.unwrap()).unwrap();
        lines.for_each(drop);
    });
    let address = in_time("the address of the page", receiver).await.unwrap();
    browser.visit(&address).await;
    until_text(&browser, "[data-part=outcomes]", "60\ncertificates").await;
    browser.assert_not_wider_than_the_screen().await;
    browser.assert_readable().await;
    assert_eq!(browser.console().await, [""; 0]);
    until_text(&browser, "#trouble", "Not refreshed since ").await;
    until_text(&browser, "#trouble", "the daemon can’t be reached").await;
    browser.assert_readable().await;
    browser.end().await;
    reader.join().unwrap();
    // Its verdict about the pace depends on what else this machine does.
    assert!(demo.wait().unwrap().code().is_some());
}
