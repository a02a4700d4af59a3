//! The queue at a glance, for people. Pure.

use super::diagnosis::{Condition, Diagnosis};
use super::troubles::Trouble;
use crate::cause::Probes;
use crate::clock::UnixMillis;
use crate::queue::{ErrorCount, UntrustedText};
use crate::report::grouped;
use crate::submission::{State, VerifyType};

/// The column where the text begins.
const LABEL_WIDTH: usize = 13;
/// From the least to the most.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A minute in which nothing succeeded.
const NO_BAR: char = '·';

/// How urgent a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Attention,
    Alarm,
}

/// A line: a label and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) tone: Tone,
    pub(super) label: String,
    pub(super) text: String,
}

impl Line {
    fn new(label: &str, text: impl Into<String>) -> Self {
        Self { tone: Tone::Plain, label: label.to_owned(), text: text.into() }
    }

    fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// The line as it is printed, truncated to `width` characters.
    pub(super) fn print(&self, width: usize, colors: bool) -> String {
        let label: String = format!("{:LABEL_WIDTH$}", self.label).chars().take(width).collect();
        let text: String = self.text.chars().take(width.saturating_sub(label.chars().count())).collect();
        let painted = match (colors, self.tone) {
            (false, _) | (_, Tone::Plain) => label,
            (true, Tone::Good) => format!("\u{1b}[1;32m{label}\u{1b}[0m"),
            (true, Tone::Attention) => format!("\u{1b}[1;33m{label}\u{1b}[0m"),
            (true, Tone::Alarm) => format!("\u{1b}[1;41;97m{label}\u{1b}[0m"),
        };
        format!("{painted}{text}").trim_end().to_owned()
    }
}

/// All lines, the most urgent first, wrapped at this width.
pub(super) fn lines_of(diagnosis: &Diagnosis, width: usize) -> Vec<Line> {
    let mut lines = vec![headline(diagnosis)];
    lines.extend(diagnosis.damage().map(|damage| Line::new("damage", damage).toned(Tone::Alarm)));
    for Trouble { why, since, probes, meanwhile, todo, .. } in diagnosis.troubles() {
        let now = diagnosis.now;
        let parts = [
            ("why", why),
            ("since", since.map(|since| since_when(since, now))),
            ("probes", probes.map(|probes| probed(probes, now))),
            ("meanwhile", meanwhile),
            ("do", todo),
        ];
        lines.extend(parts.into_iter().filter_map(|(label, text)| Some(Line::new(label, text?))));
    }
    lines.extend(counts(diagnosis));
    lines.extend(rate(diagnosis));
    lines.extend(time_left(diagnosis));
    lines.extend(oldest(diagnosis));
    lines.extend(errors(diagnosis));
    lines.extend(waiting_orders(diagnosis));
    let held = diagnosis.status.counts.of(State::Held);
    if held > 0 {
        let what = format!(
            "{} for you to decide: SELECT certificate_id, reason FROM submissions WHERE state = 'held'. First look each up in the \
             Tencent Cloud console: one reading may be wrong. certcommit verify --held reads all again; certcommit resolve decides",
            grouped(held)
        );
        lines.push(Line::new("held", what).toned(Tone::Attention));
    }
    lines.iter().flat_map(|line| wrapped(line, width)).collect()
}

fn headline(diagnosis: &Diagnosis) -> Line {
    let row = &diagnosis.status.daemon;
    let since = row.started_at.map_or(String::new(), |started| format!(" for {}", duration(diagnosis.now - started)));
    let process = row.pid.map_or(String::new(), |pid| format!(", process {pid}"));
    let open = diagnosis.status.counts.open();
    let pending = diagnosis.status.counts.of(State::Pending);
    let waiting = match (pending, open - pending) {
        (0, 0) => String::new(),
        (pending, 0) => format!("{} waiting to be submitted; ", grouped(pending)),
        (pending, others) => {
            format!("{} waiting to be submitted, {} perhaps ordered; ", grouped(pending), grouped(others))
        }
    };
    let alarm = if open > 0 { Tone::Alarm } else { Tone::Plain };
    match diagnosis.condition() {
        Condition::Running => Line::new("RUNNING", format!("up{since}{process}")).toned(Tone::Good),
        Condition::PausedByOperator => {
            Line::new("PAUSED", format!("by hand; up{since}{process}")).toned(Tone::Attention)
        }
        Condition::PausedAtStart => {
            Line::new("PAUSED", format!("by certcommit, until you resume it; up{since}{process}"))
                .toned(Tone::Attention)
        }
        Condition::PausedByFault => {
            let reads = if diagnosis.is_readback_paused() { ", and without readback" } else { "" };
            Line::new("PAUSED", format!("because of a fault{reads}; up{since}{process}")).toned(Tone::Alarm)
        }
        Condition::ReadbackPaused => {
            Line::new("RUNNING", format!("without readback; up{since}{process}")).toned(Tone::Alarm)
        }
        Condition::Blocked => Line::new("BLOCKED", format!("alive, but can't work{process}")).toned(Tone::Alarm),
        Condition::Stopping => Line::new("STOPPING", format!("waiting for requests in flight{process}")),
        Condition::Silent => {
            let silent = duration(diagnosis.silent_for());
            Line::new("SILENT", format!("alive, but has written nothing for {silent}{process}")).toned(Tone::Alarm)
        }
        Condition::Starting => Line::new("STARTING", "holds the queue, but has written nothing yet"),
        Condition::Stopped => Line::new("NOT RUNNING", format!("{waiting}it shut down cleanly")).toned(alarm),
        Condition::Died => {
            Line::new("NOT RUNNING", format!("{waiting}its last run did not record its end")).toned(Tone::Alarm)
        }
        Condition::NeverRan => {
            Line::new("NOT RUNNING", format!("{waiting}no daemon has ever run on this queue")).toned(alarm)
        }
    }
}

fn since_when(since: UnixMillis, now: i64) -> String {
    format!("{since}, for {}", duration(now - since.seconds()))
}

/// What probes found, and when the next one comes.
fn probed(probes: Probes, now: i64) -> String {
    let Probes { failed, last, next } = probes;
    let last = last.map(|at| format!(", the last {} ago", duration(now - at.seconds()))).unwrap_or_default();
    let next = match next.map(|at| at.seconds() - now) {
        Some(wait) if wait > 0 => format!("the next in {}", duration(wait)),
        Some(_) => "the next is due, and waits for a submission that is due".to_owned(),
        None => "one is under way".to_owned(),
    };
    format!("{failed} failed{last}; {next}")
}

fn counts(diagnosis: &Diagnosis) -> [Line; 2] {
    let list = |states: &[State]| {
        let counts = states.iter().map(|state| {
            format!("{} {}", grouped(diagnosis.status.counts.of(*state)), state.as_str().replace('_', " "))
        });
        counts.collect::<Vec<_>>().join(", ")
    };
    [
        Line::new("open", list(&[State::Pending, State::InFlight, State::InDoubt])),
        Line::new("closed", list(&[State::Submitted, State::Failed, State::Held, State::Canceled])),
    ]
}

fn rate(diagnosis: &Diagnosis) -> [Line; 2] {
    let minutes = &diagnosis.status.per_minute;
    let chart = format!("{} the last {} minutes", chart(minutes), minutes.len());
    [
        Line::new("rate", format!("{:.1}/s in the last minute, {}", diagnosis.rate(), limit(diagnosis))),
        Line::new("", chart),
    ]
}

/// The limit, and whose it is.
fn limit(diagnosis: &Diagnosis) -> String {
    let cap = diagnosis.cap;
    match diagnosis.granted() {
        Some(granted) => {
            let code = diagnosis.status.throttled_with.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            format!(
                "at most {granted:.1}/s: that is what the server allows at present{code}, of {cap}/s that are configured. Nothing to \
                 do: certcommit tries for more by itself"
            )
        }
        None => format!("at most {cap}/s"),
    }
}

/// One bar per minute, scaled to the best minute.
fn chart(per_minute: &[i64]) -> String {
    let max = per_minute.iter().copied().max().unwrap_or(0);
    let bar = |count: i64| {
        let step = (count * 8 - 1).checked_div(max).and_then(|step| usize::try_from(step).ok());
        step.filter(|_| count > 0).and_then(|step| BARS.get(step)).copied().unwrap_or(NO_BAR)
    };
    per_minute.iter().copied().map(bar).collect()
}

fn time_left(diagnosis: &Diagnosis) -> Option<Line> {
    let left = diagnosis.time_left()?;
    let text = if let Some(in_doubt) = diagnosis.stuck_in_doubt() {
        format!("unknown: {} in doubt can't be read back", grouped(in_doubt))
    } else if !diagnosis.sends_commits() {
        format!("unknown: nothing is sent; about {} of work", duration(diagnosis.work()))
    } else if diagnosis.status.last_due.is_some_and(|due| due - diagnosis.now >= left) {
        format!(
            "not before {}, when the last is due; about {} of work",
            at(diagnosis.now + left),
            duration(diagnosis.work())
        )
    } else {
        format!("about {}, until {}", duration(left), at(diagnosis.now + left))
    };
    let doubtful = diagnosis.may_take_longer(left).map(|in_doubt| {
        format!(
            "; the {} in doubt up to {}, if they have no order",
            grouped(in_doubt),
            duration(diagnosis.resend_after)
        )
    });
    Some(Line::new("time left", text + &doubtful.unwrap_or_default()))
}

fn oldest(diagnosis: &Diagnosis) -> Option<Line> {
    let oldest = diagnosis.status.oldest.as_ref()?;
    let age = duration(diagnosis.now - oldest.created_at);
    let (id, state) = (&oldest.certificate_id, oldest.state.replace('_', " "));
    Some(Line::new("oldest open", format!("{id}, {state}, enqueued {age} ago; details: certcommit history {id}")))
}

/// The orders that wait for a person, as far as they are followed.
fn waiting_orders(diagnosis: &Diagnosis) -> Option<Line> {
    let counts = diagnosis.status.waiting_orders.iter().filter(|(_, count)| *count > 0);
    let counts = counts.map(|(standing, count)| format!("{} {}", grouped(*count), standing.words()));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let what = format!("{counts}. Which, and what to do: certcommit report --format html -o FILE");
    (!counts.is_empty()).then(|| Line::new("orders", what).toned(Tone::Attention))
}

/// The failed submissions, by what the server said, and how to send them again.
fn errors(diagnosis: &Diagnosis) -> Vec<Line> {
    let errors = &diagnosis.status.errors;
    let texts = errors.iter().flat_map(alike).chain(retry(errors)).enumerate();
    texts.map(|(index, text)| Line::new(if index == 0 { "failed with" } else { "" }, text)).collect()
}

/// The submissions with an error code, a group a line, and how many are in no group that is shown.
fn alike(error: &ErrorCount) -> Vec<String> {
    let code = error.code.as_deref().unwrap_or("no code: failed after a readback, or by an operator");
    let part = |before: &str, text: &Option<UntrustedText>| {
        text.as_ref().map(|text| format!("{before}{text}")).unwrap_or_default()
    };
    let more = |is_last: bool| if error.at_least && is_last { "+" } else { "" };
    let left = error.count - error.groups.iter().map(|group| group.count).sum::<i64>();
    let is_alone = left <= 0 && error.groups.len() == 1;
    let groups = error.groups.iter().map(|group| {
        let shared = [
            part(": ", &group.error_message),
            part("; verify_type ", &group.verify_type),
            part("; reference ", &group.reference),
            group.since.map(|since| format!("; since {}", at(since))).unwrap_or_default(),
        ];
        format!("{}{} {code}{}", grouped(group.count), more(is_alone), shared.concat())
    });
    let left = (left > 0).then(|| format!("{}{} {code}, in other groups", grouped(left), more(true)));
    groups.chain(left).collect()
}

/// How to send the largest group again.
fn retry(errors: &[ErrorCount]) -> Option<String> {
    let error = errors.iter().find(|error| error.code.is_some())?;
    let code = error.code.as_ref()?;
    let reference = error.groups.first().and_then(|group| group.reference.as_ref());
    let reference = reference.map(|reference| format!(" --reference {reference}")).unwrap_or_default();
    let types = VerifyType::ALL.map(VerifyType::as_str).join(", ");
    Some(format!(
        "once the cause is removed: certcommit retry --error-code {code}{reference} --dry-run, and again without --dry-run. If they \
         have to be validated in another way, with --verify-type TYPE ({types})"
    ))
}

/// Wraps a line between words. A word that is wider than a line isn't broken.
fn wrapped(line: &Line, width: usize) -> Vec<Line> {
    let text_width = width.saturating_sub(LABEL_WIDTH).max(20);
    let mut texts = vec![String::new()];
    for word in line.text.split(' ') {
        match texts.last_mut() {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) if last.chars().count() + 1 + word.chars().count() <= text_width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => texts.push(word.to_owned()),
        }
    }
    let label = |index| if index == 0 { line.label.clone() } else { String::new() };
    let lines = texts.into_iter().enumerate();
    lines
        .map(|(index, text)| Line { tone: if index == 0 { line.tone } else { Tone::Plain }, label: label(index), text })
        .collect()
}

fn at(seconds: i64) -> String {
    UnixMillis(seconds.saturating_mul(1000)).to_string()
}

pub(super) fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} days", grouped(seconds / 86_400)),
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
