//! The HTML report of a campaign with every outcome.

use std::path::PathBuf;

use certcommit::simulator::{Fault, ReadFault};
use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::json;

use crate::driver::Browser;
use crate::looking::{ATTACK, DESKTOP, PHONE};
use crate::support::{Bench, in_time, output, text};

/// Certificates, and what the CA makes of their orders.
const FOLLOWED: [(&str, i64); 4] = [("in-review", 0), ("issued", 1), ("unapproved", 2), ("revoked", 10)];

/// A campaign, and the page about it.
async fn page() -> (Bench, PathBuf) {
    let mut bench = Bench::new().await;
    bench.set("follow.interval", "1s");
    let api = &bench.simulator;
    let error =
        json!({ "Response": { "Error": { "Code": "FailedOperation.X", "Message": ATTACK }, "RequestId": "r-1" } });
    api.script_commits("refused", vec![Fault::Raw(error.to_string().into())]);
    api.script_commits("lost", vec![Fault::CutAfter]);
    api.script_commits("unclear", vec![Fault::CutBefore]);
    api.script_reads_forever("unclear", ReadFault::Shows { order_id: Some("an-order".to_owned()), status: Some(7) });
    bench
        .sql(&format!(
            "INSERT INTO submissions (certificate_id, reference) VALUES ('hostile', '{}')",
            ATTACK.replace('\'', "''")
        ))
        .await;
    bench
        .sql("INSERT INTO submissions (certificate_id, due_at) VALUES ('later', 9999999999), ('given-up', 9999999999)")
        .await;
    bench.sql("UPDATE submissions SET state = 'canceled' WHERE certificate_id = 'given-up'").await;
    bench.enqueue(&["good", "refused", "lost", "unclear"]).await;
    bench.enqueue(&FOLLOWED.map(|(id, _)| id)).await;
    let daemon = bench.spawn(&["run"]);
    in_time("all that is due to be decided", async {
        while [bench.count("submitted").await, bench.count("failed").await, bench.count("held").await] != [7, 1, 1] {}
    })
    .await;
    for (id, status) in FOLLOWED {
        let order = api.order_id(id);
        api.set_certificate(id, status, order.as_deref());
    }
    in_time("what the CA made of the orders", async {
        while bench.value::<i64>("SELECT count(*) FROM followed WHERE status IN (0, 1, 2, 10)").await < 4 {}
    })
    .await;
    daemon.signal("TERM");
    daemon.end().await;
    let file = bench.path("report.html");
    let written = output(bench.command(&["report", "--format", "html", "-o", &text(&file)])).await;
    assert!(written.status.success(), "{written:?}");
    (bench, file)
}

#[tokio::test]
async fn every_outcome_is_shown_without_an_error_and_nothing_is_loaded() {
    let (_bench, file) = page().await;
    let browser = Browser::start(DESKTOP).await;
    browser.open(&file).await;
    let outcomes = browser.text_of("ul.cards").await;
    for card in [
        "11\ncertificates",
        "1\nissued",
        "1\nordered",
        "3\nordered, confirmation letter needed",
        "1\norder refused by the CA",
        "1\norder over",
        "1\nopen",
        "1\nfailed",
        "1\nheld",
        "1\ncanceled",
    ] {
        assert!(outcomes.contains(card), "{card:?} in {outcomes}");
    }
    assert_eq!(browser.listed().await.len(), 11);
    assert_eq!(browser.text_of("#place").await, "1 to 11 of 11");
    assert_eq!(browser.console().await, [""; 0]);
    let own = format!("file://{}", file.display());
    assert_eq!(browser.requests().await, [own]);
    browser.end().await;
}

#[tokio::test]
async fn text_from_outside_is_shown_and_never_runs() {
    let (_bench, file) = page().await;
    let browser = Browser::start(DESKTOP).await;
    browser.open(&file).await;
    let failures = browser.text_of("main").await;
    assert!(failures.contains(ATTACK), "the server's words: {failures}");
    browser.assert_not_attacked().await;
    browser.end().await;
}

#[tokio::test]
async fn the_table_is_searched_sorted_and_read_with_the_keyboard() {
    let (_bench, file) = page().await;
    let browser = Browser::start(DESKTOP).await;
    browser.open(&file).await;
    let search = browser.client.find(Locator::Id("search")).await.unwrap();
    search.send_keys("LOST").await.unwrap();
    assert_eq!(browser.listed().await, ["lost"]);
    assert_eq!(browser.text_of("#place").await, "1 to 1 of 1");

    let story = browser.client.find(Locator::Css("#rows button")).await.unwrap();
    assert_eq!(story.attr("aria-expanded").await.unwrap().as_deref(), Some("false"));
    story.send_keys(&Key::Enter.to_string()).await.unwrap();
    let opened = browser.text_of("#rows").await;
    assert!(opened.contains("commit · in_doubt") && opened.contains("read · committed"), "{opened}");
    assert_eq!(browser.evaluate("document.activeElement.getAttribute('aria-expanded')").await, "true");

    search.clear().await.unwrap();
    search.send_keys("x\u{8}").await.unwrap();
    let header = browser.client.find(Locator::Css("th[data-column=certificate_id] button")).await.unwrap();
    header.send_keys(&Key::Enter.to_string()).await.unwrap();
    let mut sorted = vec!["given-up", "good", "hostile", "later", "lost", "refused", "unclear"];
    sorted.extend(FOLLOWED.map(|(id, _)| id));
    sorted.sort_unstable();
    assert_eq!(browser.listed().await, sorted);
    header.send_keys(&Key::Enter.to_string()).await.unwrap();
    sorted.reverse();
    assert_eq!(browser.listed().await, sorted);
    assert_eq!(
        browser.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')").await,
        "descending"
    );

    let outcome = browser.client.find(Locator::Id("outcome")).await.unwrap();
    outcome.select_by_value("held").await.unwrap();
    assert_eq!(browser.listed().await, ["unclear"]);
    assert_eq!(browser.console().await, [""; 0]);
    browser.end().await;
}

#[tokio::test]
async fn every_text_can_be_read_on_a_light_screen_and_every_control_has_a_name() {
    let (_bench, file) = page().await;
    let browser = Browser::start(DESKTOP).await;
    browser.open(&file).await;
    browser.assert_readable().await;
    browser.assert_named_controls().await;
    assert_eq!(browser.evaluate("document.querySelectorAll('figure:not([aria-label])').length").await, 0);
    assert_eq!(browser.evaluate("document.documentElement.lang").await, "en");
    browser.end().await;
}

#[tokio::test]
async fn on_a_narrow_dark_screen_nothing_is_cut_off_and_every_text_can_be_read() {
    let (_bench, file) = page().await;
    let browser = Browser::start(PHONE).await;
    browser.open(&file).await;
    assert_eq!(browser.evaluate("getComputedStyle(document.body).backgroundColor").await, "rgb(13, 17, 23)");
    browser.assert_not_wider_than_the_screen().await;
    browser.assert_readable().await;
    assert_eq!(browser.console().await, [""; 0]);
    browser.end().await;
}

#[tokio::test]
async fn on_paper_nothing_is_cut_off() {
    let (_bench, file) = page().await;
    let browser = Browser::start(DESKTOP).await;
    browser.open(&file).await;
    browser.show_as_printed().await;
    let wide =
        "[...document.querySelectorAll('body, .scroll')].filter((one) => one.scrollWidth > one.clientWidth).length";
    assert_eq!(browser.evaluate("matchMedia('print').matches").await, true);
    assert_eq!(browser.evaluate(wide).await, 0);
    assert_eq!(browser.evaluate("document.querySelector('.controls').checkVisibility()").await, false);
    browser.end().await;
}

#[tokio::test]
async fn ten_thousand_certificates_are_searched_and_sorted_and_the_page_says_what_it_leaves_to_the_csv() {
    let bench = Bench::new().await;
    bench
        .sql(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 10002)
             INSERT INTO submissions (certificate_id, due_at) SELECT printf('cert-%05d', i), 9999999999 FROM n",
        )
        .await;
    let file = bench.path("report.html");
    let written = output(bench.command(&["report", "--format", "html", "-o", &text(&file)])).await;
    assert!(written.status.success(), "{written:?}");
    let browser = Browser::start(DESKTOP).await;
    browser.open(&file).await;
    assert_eq!(browser.text_of("#place").await, "1 to 50 of 10000");
    let left_out = browser.text_of("main").await;
    assert!(left_out.contains("3 more certificates are not listed here"), "{left_out}");
    browser.press("th[data-column=certificate_id] button").await;
    browser.press("th[data-column=certificate_id] button").await;
    assert_eq!(browser.listed().await[0], "cert-10002");
    let search = browser.client.find(Locator::Id("search")).await.unwrap();
    search.clear().await.unwrap();
    search.send_keys("CERT-0123").await.unwrap();
    assert_eq!(browser.text_of("#place").await, "1 to 10 of 10");
    assert_eq!(browser.console().await, [""; 0]);
    browser.end().await;
}
