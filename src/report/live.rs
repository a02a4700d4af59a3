//! The page while the daemon runs: the same as in a file, with what the daemon is doing, and refreshed by itself.

use maud::{Markup, html};

use super::page::{PLACE_OF_DAEMON, Page, policy};
use super::sections::Form;
use super::summary::Summary;

/// The most certificates in the table of a live page, which is sent every few seconds.
pub const ROWS_ON_LIVE_PAGE: usize = 1_000;

/// What the daemon is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonNow {
    /// In a few words.
    pub mode: &'static str,
    /// What stops it, the first to act on first.
    pub trouble: Option<Trouble>,
    /// The present pace, in commits a second.
    pub pace: f64,
    /// The configured maximum of commits a second.
    pub cap: u32,
}

/// What stops the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, and since when.
    pub what: String,
    /// The one right thing to do next.
    pub to_do: String,
}

/// A page, all of it but what the daemon is doing.
#[derive(Debug)]
pub struct LivePage {
    before: String,
    after: String,
}

impl LivePage {
    /// The page with these certificates.
    #[must_use]
    pub fn new(page: Page, summary: &Summary) -> Self {
        let document = page.document(summary, Form::Live).into_string();
        let (before, after) = document.split_once(PLACE_OF_DAEMON).unwrap_or((&document, ""));
        Self { before: before.to_owned(), after: after.to_owned() }
    }

    /// The whole page.
    #[must_use]
    pub fn with(&self, now: &DaemonNow) -> String {
        [&self.before, &section(now).into_string(), &self.after].map(String::as_str).concat()
    }
}

/// What a live page may do, for the header of a response. A frame could make a visitor press what another page covers.
#[must_use]
pub fn live_policy() -> String {
    format!("{}; frame-ancestors 'none'", policy(Form::Live))
}

fn section(now: &DaemonNow) -> Markup {
    let tone = if now.trouble.is_some() { "bad" } else { "good" };
    html! {
        section data-part="daemon" {
            h2 { "Daemon" }
            ul.cards {
                li class={ "mode " (tone) } { b { (now.mode) } "at present" }
                li { b { (format!("{:.1}/s", now.pace)) } "pace that it allows itself" }
                li { b { (now.cap) "/s" } "configured limit" }
            }
            @if let Some(Trouble { what, to_do }) = &now.trouble {
                p { (what) }
                p { "What to do: " (to_do) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::story;
    use super::*;
    use crate::queue::ReportFilter;

    const RUNNING: DaemonNow = DaemonNow { mode: "running", trouble: None, pace: 12.25, cap: 20 };

    fn page(stories: usize) -> LivePage {
        let mut summary = Summary::new(ReportFilter::default(), 1_700_000_000, 20);
        let mut page = Page::new(ROWS_ON_LIVE_PAGE);
        for number in 0..stories {
            let story = story(&format!("cert-{number}"), "submitted", Some(8));
            summary.add(&story);
            page.add(story);
        }
        LivePage::new(page, &summary)
    }

    #[test]
    fn the_page_shows_what_the_daemon_is_doing_and_what_stops_it_as_text() {
        let running = page(1).with(&RUNNING);
        assert!(
            running.contains("<li class=\"mode good\"><b>running</b>") && running.contains("<b>12.2/s</b>"),
            "{running}"
        );
        assert!(!running.contains("What to do:") && running.ends_with("</html>"), "{running}");
        let trouble = Trouble { what: "<b>refused</b>".to_owned(), to_do: "certcommit resume".to_owned() };
        let paused = page(1).with(&DaemonNow { mode: "paused by a fault", trouble: Some(trouble), ..RUNNING });
        assert!(paused.contains("<p>&lt;b&gt;refused&lt;/b&gt;</p><p>What to do: certcommit resume</p>"), "{paused}");
    }

    #[test]
    fn the_page_asks_for_itself_and_for_nothing_else_and_no_frame_shows_it() {
        let page = page(1).with(&RUNNING);
        assert!(page.contains("data-refresh=\"5\"") && page.contains("id=\"refresh\""), "{page}");
        assert!(page.contains("connect-src 'self'; "), "the policy of a copy in a file: {page}");
        let header = live_policy();
        assert!(header.starts_with("default-src 'none'; ") && header.ends_with("; frame-ancestors 'none'"), "{header}");
        for loads in ["src=", "href=", "url(", "@import", "style="] {
            assert!(!page.contains(loads), "{loads}");
        }
    }

    #[test]
    fn beyond_a_thousand_certificates_the_newest_stay_and_the_page_says_where_all_are() {
        let page = page(ROWS_ON_LIVE_PAGE + 2).with(&RUNNING);
        assert!(!page.contains("\"cert-1\"") && page.contains("\"cert-2\"") && page.contains("\"cert-1001\""));
        assert!(page.contains("2 more certificates are not listed here. This table has those that wait for a person"));
    }
}
