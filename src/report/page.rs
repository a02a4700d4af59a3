//! One HTML page with everything in it: it loads nothing, and runs no script but its own.
//!
//! Everything from outside is escaped: in the markup by the template engine, and in the data for the script as JSON without any
//! `<`. The page's own Content-Security-Policy forbids whatever it doesn't have itself.
//! <https://www.w3.org/TR/CSP3/>.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::chart::commits_over_time;
use super::csv::at;
use super::json::to_json_line;
use super::outcome::Outcome;
use super::summary::Summary;
use crate::queue::Story;

/// The most certificates in the table; the others are in the CSV.
pub const ROWS_ON_PAGE: usize = 10_000;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The columns of the table, as the script fills them, with their headings.
const COLUMNS: [(&str, &str); 7] = [
    ("certificate_id", "Certificate"),
    ("outcome", "Outcome"),
    ("order_id", "Order"),
    ("status_text", "Status"),
    ("reference", "Reference"),
    ("error_code", "Error"),
    ("changed_at", "Changed"),
];

/// The certificates that the page lists.
#[derive(Debug, Default)]
pub struct Page {
    /// Those that wait for a person, and come first.
    waiting: Vec<String>,
    others: Vec<String>,
}

impl Page {
    /// Adds a certificate, if there is room for it.
    pub fn add(&mut self, story: &Story) {
        let outcome = Outcome::of(story);
        let list = if matches!(outcome, Outcome::Failed | Outcome::Held | Outcome::Refused) {
            &mut self.waiting
        } else {
            &mut self.others
        };
        if list.len() < ROWS_ON_PAGE {
            list.push(to_json_line(story));
        }
    }

    /// The page.
    #[must_use]
    pub fn render(mut self, summary: &Summary) -> String {
        self.others.truncate(ROWS_ON_PAGE.saturating_sub(self.waiting.len()));
        let rows: Vec<String> = self.waiting.into_iter().chain(self.others).collect();
        let left_out = summary.certificates.saturating_sub(u64::try_from(rows.len()).unwrap_or_default());
        let title = title(summary);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy());
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (heading(summary, &title))
                    main {
                        (outcomes(summary))
                        (waiting(summary))
                        (over_time(summary))
                        (failures(summary))
                        (requests(summary))
                        (certificates(left_out))
                    }
                    script type="application/json" id="data" { (data(&format!("[{}]", rows.join(",")))) }
                    script type="application/json" id="words" { (data(&words().to_string())) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
        .into_string()
    }
}

/// What the page may do: nothing but its own style and script.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn title(summary: &Summary) -> String {
    summary
        .filter
        .reference
        .as_ref()
        .map_or_else(|| "Certificate orders".to_owned(), |reference| format!("Certificate orders of {reference}"))
}

fn heading(summary: &Summary, title: &str) -> Markup {
    let filter = &summary.filter;
    let parts = [
        filter.state.map(|state| format!("state {state}")),
        filter.since.map(|since| format!("enqueued since {}", at(Some(since)))),
        filter.until.map(|until| format!("enqueued before {}", at(Some(until)))),
    ];
    html! {
        header {
            h1 { (title) }
            p.soft { "Made by certcommit at " (at(Some(summary.made_at))) @for part in parts.iter().flatten() { "; " (part) } }
        }
    }
}

fn outcomes(summary: &Summary) -> Markup {
    html! {
        h2 { "Outcome" }
        ul.cards {
            li { b { (grouped(summary.certificates)) } "certificates" }
            @for outcome in Outcome::ALL {
                @if summary.of(outcome) > 0 {
                    li class=(tone(outcome)) { b { (grouped(summary.of(outcome))) } (outcome.words()) }
                }
            }
        }
    }
}

fn tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Issued | Outcome::Ordered => "good",
        Outcome::LetterNeeded | Outcome::Held | Outcome::Open => "wait",
        Outcome::Failed | Outcome::Refused => "bad",
        Outcome::Over | Outcome::Canceled => "soft",
    }
}

fn waiting(summary: &Summary) -> Markup {
    let waiting: Vec<(Outcome, &str)> = Outcome::ALL
        .into_iter()
        .filter(|outcome| summary.of(*outcome) > 0)
        .filter_map(|outcome| outcome.todo().map(|todo| (outcome, todo)))
        .collect();
    html! {
        h2 { "What waits for a person" }
        @if waiting.is_empty() { p { "Nothing." } } @else {
            div.scroll { table {
                thead { tr { th.number scope="col" { "Certificates" } th scope="col" { "Outcome" } th scope="col" { "What to do" } } }
                tbody { @for (outcome, todo) in waiting {
                    tr { td.number { (grouped(summary.of(outcome))) } td { (outcome.words()) } td { (todo) } }
                } }
            } }
        }
    }
}

fn over_time(summary: &Summary) -> Markup {
    let commits = grouped(summary.sent.commits);
    html! {
        h2 { "Commits over time" }
        @match commits_over_time(summary) {
            None => p { "None was sent." },
            Some(chart) => {
                figure.chart role="img" aria-label=(format!(
                    "Bar chart of the commits sent per second. {commits} in all; the line is the configured limit of {} a second.",
                    summary.cap
                )) { (PreEscaped(chart)) }
                p.soft { (commits) " commits; the line is the configured limit, " (summary.cap) " a second. Times are UTC." }
            }
        }
    }
}

fn failures(summary: &Summary) -> Markup {
    let mut failures: Vec<_> = summary.failures.iter().collect();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    html! {
        @if !failures.is_empty() {
            h2 { "Why certificates failed" }
            div.scroll { table {
                thead { tr { th.number scope="col" { "Certificates" } th scope="col" { "Error" } th scope="col" { "The server's words" } } }
                tbody {
                    @for (failure, count) in failures {
                        tr {
                            td.number { (grouped(*count)) }
                            td { @if failure.code.is_empty() { "no code" } @else { (failure.code) } }
                            td { (failure.words) }
                        }
                    }
                    @if summary.other_failures > 0 {
                        tr { td.number { (grouped(summary.other_failures)) } td { "others" } td {} }
                    }
                }
            } }
        }
    }
}

fn requests(summary: &Summary) -> Markup {
    let latency = |percent| summary.latency(percent).map_or_else(|| "–".to_owned(), |latency| format!("{latency} ms"));
    html! {
        h2 { "Requests" }
        ul.cards {
            li { b { (grouped(summary.sent.commits)) } "commits sent" }
            li { b { (grouped(summary.sent.readbacks)) } "readbacks sent" }
            li { b { (latency(50)) } "median latency of a commit" }
            li { b { (latency(99)) } "99 % of the commits within" }
            @for (tries, count) in &summary.tries {
                li { b { (grouped(*count)) } "ordered with " (tries) @if *tries == 1 { " commit" } @else { " commits" } }
            }
        }
    }
}

fn certificates(left_out: u64) -> Markup {
    html! {
        h2 { "Certificates" }
        @if left_out > 0 {
            p { (grouped(left_out)) " more certificates are not listed here: " code { "certcommit report --format csv" } " has all of them." }
        }
        noscript { p { "Without scripts, the table stays empty. The numbers above are complete." } }
        div.controls {
            label { "Search" input #search type="search" autocomplete="off"; }
            label { "Outcome" select #outcome {
                option value="" { "all" }
                @for outcome in Outcome::ALL { option value=(outcome.as_str()) { (outcome.words()) } }
            } }
            button #before type="button" { "Previous" }
            button #after type="button" { "Next" }
            span #place role="status" {}
        }
        div.scroll { table {
            thead { tr { @for (column, heading) in COLUMNS {
                th scope="col" data-column=(column) { button type="button" { (heading) } }
            } } }
            tbody #rows {}
        } }
    }
}

/// The words of each outcome, for the script.
fn words() -> Value {
    let words = Outcome::ALL.map(|outcome| (outcome.as_str().to_owned(), Value::from(outcome.words())));
    Value::Object(Map::from_iter(words))
}

/// JSON inside a `script` element: without `<`, nothing in it can end the element.
fn data(json: &str) -> PreEscaped<String> {
    PreEscaped(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |index: usize| index > 0 && (digits.len() - index).is_multiple_of(3);
    digits.char_indices().flat_map(|(index, digit)| comma(index).then_some(',').into_iter().chain([digit])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::{commit, story};
    use super::*;
    use crate::queue::{ReportFilter, UntrustedText};

    fn page(stories: &[Story]) -> String {
        let filter = ReportFilter { reference: Some("<b>spring</b>".to_owned()), ..ReportFilter::default() };
        let (mut summary, mut page) = (Summary::new(filter, 1_700_000_000, 20), Page::default());
        for story in stories {
            summary.add(story);
            page.add(story);
        }
        page.render(&summary)
    }

    #[test]
    fn everything_from_outside_is_text() {
        let mut failed = story("abcb1234", "failed", None);
        let attack = "</script><script>alert(1)</script>";
        failed.row.error_code = Some(UntrustedText::of("A.B"));
        failed.row.error_message = Some(UntrustedText::of(attack));
        failed.row.reference = Some(UntrustedText::of(attack));
        let page = page(&[failed]);
        assert!(!page.contains(attack) && !page.contains("<b>spring"), "{page}");
        assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"), "in the markup");
        assert!(page.contains("\\u003c/script\\u003e\\u003cscript\\u003ealert(1)"), "in the data");
        assert_eq!(page.matches("<script").count(), 3, "the data, the words and the script");
    }

    #[test]
    fn the_page_loads_nothing_and_allows_nothing_but_its_own_style_and_script() {
        let mut ordered = story("abcb1234", "submitted", Some(8));
        ordered.requests = vec![commit(1, 0, "submitted", Some(87))];
        let page = page(&[ordered]);
        assert!(page.contains("default-src 'none'; style-src 'sha256-"), "{page}");
        for loads in ["src=", "href=", "url(", "@import", "fetch(", "style="] {
            assert!(!page.contains(loads), "{loads}");
        }
        let addresses = page.matches("://").count() - page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(addresses, 0);
    }

    #[test]
    fn beyond_ten_thousand_certificates_those_that_wait_for_a_person_stay_and_the_page_says_what_it_lacks() {
        let ordered = story("abcb1234", "submitted", Some(1));
        let mut stories = vec![ordered; ROWS_ON_PAGE];
        stories.push(story("abcb9999", "failed", None));
        let page = page(&stories);
        assert!(page.contains("\"abcb9999\"") && page.contains("1 more certificates are not listed here"));
        assert_eq!(page.matches("\"certificate_id\":").count(), ROWS_ON_PAGE);
    }
}
