//! The sections of the page. A live page replaces a part, which has a name in `data-part`, when it changed.

use std::fmt::Display;

use maud::{Markup, PreEscaped, html};

use super::chart::commits_over_time;
use super::csv::at;
use super::outcome::Outcome;
use super::summary::Summary;

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

/// Where the page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In a file, which never changes.
    File,
    /// At an address of the daemon, where there is a newer one every few seconds.
    Live,
}

/// What the page is about, in a line.
pub(super) fn title(summary: &Summary) -> String {
    summary
        .filter
        .reference
        .as_ref()
        .map_or_else(|| "Certificate orders".to_owned(), |reference| format!("Certificate orders of {reference}"))
}

/// What the page is about, and when it was made.
pub(super) fn heading(summary: &Summary, title: &str) -> Markup {
    let filter = &summary.filter;
    let parts = [
        filter.state.map(|state| format!("state {state}")),
        filter.since.map(|since| format!("enqueued since {}", at(Some(since)))),
        filter.until.map(|until| format!("enqueued before {}", at(Some(until)))),
    ];
    html! {
        h1 { (title) }
        p.soft data-part="made" { "Made by certcommit at " (at(Some(summary.made_at))) @for part in parts.iter().flatten() { "; " (part) } }
    }
}

/// How a visitor of a live page stops its refreshing, and sees when it was refreshed. The time isn't announced to screen readers,
/// which would say it every few seconds; that something is wrong is.
pub(super) fn refreshing() -> Markup {
    html! {
        p.controls.soft {
            label.check { input #refresh type="checkbox" checked autocomplete="off"; "Refresh by itself" }
            span #refreshed {}
            span #trouble.bad role="status" {}
        }
    }
}

/// How many certificates stand where.
pub(super) fn outcomes(summary: &Summary) -> Markup {
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

/// What people have to do.
pub(super) fn waiting(summary: &Summary) -> Markup {
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

/// When commits were sent.
pub(super) fn over_time(summary: &Summary) -> Markup {
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

/// What the server refused, and why.
pub(super) fn failures(summary: &Summary) -> Markup {
    let failures = summary.frequent_failures();
    html! {
        @if !failures.is_empty() {
            h2 { "Why certificates failed" }
            div.scroll { table {
                thead { tr { th.number scope="col" { "Certificates" } th scope="col" { "Error" } th scope="col" { "The server's words" } } }
                tbody {
                    @for (failure, count) in failures {
                        tr {
                            td.number { (grouped(count)) }
                            td { (failure.code_in_words()) }
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

/// What was sent, and how long it took.
pub(super) fn requests(summary: &Summary) -> Markup {
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

/// The table of certificates, which the script fills. So many are not in its data.
pub(super) fn certificates(left_out: u64, form: Form) -> Markup {
    html! {
        h2 { "Certificates" }
        div data-part="left-out" { @if left_out > 0 {
            p { (grouped(left_out)) " more certificates are not listed here. " @match form {
                Form::File => { code { "certcommit report --format csv" } " has all of them." },
                Form::Live => {
                    "This table has those that wait for a person, then the newest. " code { "certcommit report --format html" }
                    " lists 10,000, and " code { "certcommit report --format csv" } " has all of them."
                },
            } }
        } }
        noscript { p {
            "Without scripts, the table stays empty. The numbers above are complete."
            @if form == Form::Live { " Load the page again to see newer ones." }
        } }
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

/// A number with commas between its thousands.
#[must_use]
pub fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let comma = |index: usize| index > 0 && (digits.len() - index).is_multiple_of(3);
    digits.char_indices().flat_map(|(index, digit)| comma(index).then_some(',').into_iter().chain([digit])).collect()
}
