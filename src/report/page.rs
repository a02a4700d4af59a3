//! One HTML page with everything in it: it loads nothing, and runs no script but its own.
//!
//! Everything from outside is escaped: in the markup by the template engine, and in the data for the script as JSON without any
//! `<`. The page's own Content-Security-Policy forbids whatever it doesn't have itself.
//! <https://www.w3.org/TR/CSP3/>.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::json::to_json_line;
use super::outcome::Outcome;
use super::sections::{self, Form};
use super::summary::Summary;
use crate::queue::Story;

/// The most certificates in the table of a page in a file; the others are in the CSV.
pub const ROWS_ON_PAGE: usize = 10_000;
/// Where a live page says what the daemon is doing. Nothing else in it can look like this, since no `<` from outside gets there.
pub(super) const PLACE_OF_DAEMON: &str = "<!-- what the daemon is doing -->";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// A live page is refreshed so many seconds after it was last refreshed.
const REFRESH_AFTER: &str = "5";

/// The certificates that the page lists: those that wait for a person, then the newest.
#[derive(Debug)]
pub struct Page {
    most: usize,
    waiting: VecDeque<Story>,
    others: VecDeque<Story>,
}

impl Page {
    /// A page that lists so many certificates at most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, waiting: VecDeque::new(), others: VecDeque::new() }
    }

    /// Adds a certificate, in the order in which they were enqueued. If there are too many, the oldest goes.
    pub fn add(&mut self, story: Story) {
        let outcome = Outcome::of(&story);
        let list = if matches!(outcome, Outcome::Failed | Outcome::Held | Outcome::Refused) {
            &mut self.waiting
        } else {
            &mut self.others
        };
        list.push_back(story);
        if list.len() > self.most {
            list.pop_front();
        }
    }

    /// The page, for a file.
    #[must_use]
    pub fn render(self, summary: &Summary) -> String {
        self.document(summary, Form::File).into_string()
    }

    pub(super) fn document(mut self, summary: &Summary, form: Form) -> Markup {
        let room = self.most.saturating_sub(self.waiting.len());
        self.others.drain(..self.others.len().saturating_sub(room));
        let rows: Vec<String> = self.waiting.iter().chain(&self.others).map(to_json_line).collect();
        let left_out = summary.certificates.saturating_sub(u64::try_from(rows.len()).unwrap_or_default());
        let title = sections::title(summary);
        let parts = [
            ("outcomes", sections::outcomes(summary)),
            ("waiting", sections::waiting(summary)),
            ("over-time", sections::over_time(summary)),
            ("failures", sections::failures(summary)),
            ("requests", sections::requests(summary)),
        ];
        let is_live = form == Form::Live;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy(form));
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body data-refresh=[is_live.then_some(REFRESH_AFTER)] {
                    header {
                        (sections::heading(summary, &title))
                        @if is_live { (sections::refreshing()) }
                    }
                    main {
                        @if is_live { (PreEscaped(PLACE_OF_DAEMON)) }
                        @for (name, part) in parts { section data-part=(name) { (part) } }
                        section { (sections::certificates(left_out, form)) }
                    }
                    script type="application/json" id="data" { (data(&format!("[{}]", rows.join(",")))) }
                    script type="application/json" id="words" { (data(&words().to_string())) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }
}

/// What the page may do: nothing but its own style and script and, if it is live, asking for itself again.
pub(super) fn policy(form: Form) -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    let connect = match form {
        Form::File => "",
        Form::Live => "connect-src 'self'; ",
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; {connect}base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
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

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::{commit, story};
    use super::*;
    use crate::queue::{ReportFilter, UntrustedText};

    fn page(stories: &[Story]) -> String {
        let filter = ReportFilter { reference: Some("<b>spring</b>".to_owned()), ..ReportFilter::default() };
        let (mut summary, mut page) = (Summary::new(filter, 1_700_000_000, 20), Page::new(ROWS_ON_PAGE));
        for story in stories {
            summary.add(story);
            page.add(story.clone());
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
        // The script can refresh a live page. In a file, this policy and the missing attribute keep it from trying.
        for absent in ["connect-src", "data-refresh", "id=\"refresh\""] {
            assert!(!page.contains(absent), "{absent}");
        }
        for loads in ["src=", "href=", "url(", "@import", "style="] {
            assert!(!page.contains(loads), "{loads}");
        }
        let addresses = page.matches("://").count() - page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(addresses, 0);
    }

    #[test]
    fn beyond_ten_thousand_certificates_those_that_wait_for_a_person_and_the_newest_stay_and_the_page_says_what_it_lacks()
     {
        let mut stories = vec![story("abcb1233", "failed", None), story("abcb1234", "submitted", Some(1))];
        stories.resize(ROWS_ON_PAGE + 1, story("abcb9999", "submitted", Some(1)));
        let page = page(&stories);
        assert!(page.contains("\"abcb1233\"") && page.contains("1 more certificates are not listed here"));
        assert!(!page.contains("\"abcb1234\""), "the oldest of those that wait for nobody");
        assert_eq!(page.matches("\"certificate_id\":").count(), ROWS_ON_PAGE);
    }
}
