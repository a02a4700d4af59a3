//! `certcommit manual`: the man page, made from what the program itself knows: its commands, its events, its exit
//! codes, and the sample configuration.

use std::io::{self, Write};

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::Arguments as Program;
use super::exit::{Code, Failure};
use super::status::KEYS;
use crate::logging::{Field, LogEvent};
use crate::metrics::Metric;
use crate::queue::SALVAGE;
use crate::tencent::ERROR_TABLE;

const SAMPLE: &str = include_str!("../../config/certcommit.toml");

const DESCRIPTION: &str = "\
certcommit reads pending certificate IDs from a SQLite queue, submits each to CommitCertificateInformation within 20 \
requests in any sliding second, and writes OrderId, Status and RequestId back. A commit places an order at a certificate \
authority and has no idempotency key, so a request whose reply was lost is read back, never blindly repeated.";

const ENQUEUE: [&str; 5] = [
    "INSERT INTO submissions (certificate_id) VALUES ('abcb1234');",
    "INSERT OR IGNORE INTO submissions (certificate_id, verify_type, priority, reference)",
    "  VALUES ('abcb1235', 'DNS', 3, 'renewals-2026-11');",
    "SELECT certificate_id, order_id, status_text FROM submission_report WHERE state = 'submitted';",
    "UPDATE submissions SET state = 'pending' WHERE state = 'failed' AND error_code = 'FailedOperation.NetworkError';",
];

const FILES: &[(&str, &str)] = &[
    ("/etc/certcommit/certcommit.toml", "The configuration, unless --config names another file."),
    (
        "/var/lib/certcommit/queue.db",
        "The queue. With its -wal and -shm beside it while somebody has it open. If it is a symbolic link, all of these lie \
         where it leads.",
    ),
    (
        "/var/lib/certcommit/queue.db.mark",
        "The number of the newest request. A queue that lags behind it, or came without it, starts paused. So does one whose \
         daemon died and was silent for more than 15 minutes, as a disk that was brought back with the mark is.",
    ),
    (
        "/var/lib/certcommit/queue.db.schema-VERSION, queue.db.before-repair-SECONDS",
        "Copies of the queue from before it was migrated, or repaired by certcommit check --repair.",
    ),
    ("/var/lib/certcommit/queue.db.lock", "Held by the daemon: one daemon a queue."),
    (
        "$CREDENTIALS_DIRECTORY/secret_id, secret_key, token",
        "The credentials that systemd hands over by LoadCredential= or LoadCredentialEncrypted=.",
    ),
    ("$CREDENTIALS_DIRECTORY/proxy", "The URL of the proxy that systemd hands over, for api.proxy = \"systemd\"."),
    ("~/.tencentcloud/credentials, /etc/tencentcloud/credentials", "The credentials, in the vendor's format."),
    (
        "~/.tccli/PROFILE.credential",
        "The credentials as tccli configure, or a login with tccli, writes them; looked for after the vendor's format.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY", "The credentials."),
    ("TENCENTCLOUD_TOKEN, TENCENTCLOUD_SESSION_TOKEN", "The token that goes with temporary keys."),
    (
        "https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY, no_proxy, NO_PROXY",
        "The proxy on the way to the API, and what is reached without it, as curl reads them, unless api.proxy says otherwise.",
    ),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "Certificate authorities in place of the system's."),
    ("CERTCOMMIT_METADATA", "The loopback address of a stand-in for the metadata service, to rehearse cvm-role."),
    ("CERTCOMMIT__SECTION__KEY", "Sets a key of the configuration, before the file: CERTCOMMIT__RATE__PER_SECOND=10."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "The certificate authorities to trust, in place of the machine's."),
    ("JOURNAL_STREAM", "Set by systemd: the log goes to its journal (log.format = \"auto\")."),
    ("NO_COLOR", "No colours on a terminal, in the log and in status."),
];

const FIELDS: &str = "\
What a line has besides its time, its level, its message and its event. In the journal, request_id is \
CERTCOMMIT_REQUEST_ID, and so on; a field without a value is left out.";

const STATUS: &str = "\
What certcommit status --json prints, as one object on one line; with --watch one a second. These keys and types stay; others \
may come beside them. Times are unix seconds. While watching, a queue that can't be read is an object with the key error alone.";

const DAMAGE: &str = "\
A daemon whose queue lacks a trigger, an index, a column or a view, as after a tool that rewrites tables, sends nothing more \
and ends with 65; check and status name what is missing, and certcommit check --repair makes it again. Where the structure of \
the database is damaged,";

const SIGNALS: &[(&str, &str)] = &[
    ("SIGTERM, SIGINT", "Stop: requests on the way get worker.stop_timeout to end. A second one ends the wait."),
    ("SIGHUP", "Reload the configuration and the credentials; a run until empty stops."),
];

const ERROR_CODES: &str = "\
What an error code of the API means for a submission. Of several lines that match, the first counts; a code without a line is \
taken for in doubt, and read back.";

const METRICS: &str = "\
If metrics.listen is set, /metrics has these for Prometheus; /readyz is good while the queue is worked off, and /healthz while \
the daemon lives.";

pub(super) fn run() -> Result<Code, Failure> {
    let mut page = Vec::new();
    write(&mut page)?;
    io::stdout().write_all(&page)?;
    Ok(Code::Done)
}

fn write(page: &mut Vec<u8>) -> io::Result<()> {
    let program = Program::command().disable_help_subcommand(true);
    let head = Man::new(program.clone()).manual("certcommit").source(concat!("certcommit ", env!("CARGO_PKG_VERSION")));
    head.render_title(page)?;
    head.render_name_section(page)?;
    head.render_synopsis_section(page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]).text([roman(DESCRIPTION)]);
    commands(&mut roff, &program);
    example(&mut roff, "ENQUEUE AND WATCH WITH SQL", &ENQUEUE);
    let events: Vec<(&str, String)> = LogEvent::ALL.iter().map(|event| (event.as_str(), event_of(*event))).collect();
    section(&mut roff, "EVENTS", events.iter().map(|(name, meaning)| (*name, meaning.as_str())));
    let fields: Vec<(&str, String)> =
        Field::ALL.iter().map(|field| (field.as_str(), format!("{} ({})", field.describe(), field.unit()))).collect();
    roff.control("SH", ["FIELDS"]).text([roman(FIELDS)]);
    entries(&mut roff, fields.iter().map(|(name, meaning)| (*name, meaning.as_str())));
    let keys: Vec<(&str, String)> =
        KEYS.iter().map(|(key, kind, meaning)| (*key, format!("{meaning} ({kind})"))).collect();
    roff.control("SH", ["STATUS IN JSON"]).text([roman(STATUS)]);
    entries(&mut roff, keys.iter().map(|(name, meaning)| (*name, meaning.as_str())));
    let numbers: Vec<(String, &str)> =
        Code::ALL.iter().map(|code| (code.number().to_string(), code.describe())).collect();
    section(&mut roff, "EXIT STATUS", numbers.iter().map(|(number, meaning)| (number.as_str(), *meaning)));
    section(&mut roff, "SIGNALS", SIGNALS.iter().copied());
    roff.control("SH", ["A DAMAGED QUEUE"]).text([roman(format!("{DAMAGE} {SALVAGE}."))]);
    roff.control("SH", ["ERROR CODES"]).text([roman(ERROR_CODES)]);
    entries(&mut roff, ERROR_TABLE.iter().map(|(code, class)| (*code, class.as_str())));
    roff.control("SH", ["METRICS"]).text([roman(METRICS)]);
    entries(&mut roff, Metric::ALL.map(|metric| (metric.as_str(), metric.describe())));
    section(&mut roff, "FILES", FILES.iter().copied());
    section(&mut roff, "ENVIRONMENT", ENVIRONMENT.iter().copied());
    example(&mut roff, "CONFIGURATION", &SAMPLE.lines().collect::<Vec<_>>());
    roff.to_writer(page)
}

/// An event's level, when it comes, and what its lines have.
fn event_of(event: LogEvent) -> String {
    let fields: Vec<&str> = event.fields().iter().map(|field| field.as_str()).collect();
    format!("{} ({}; {})", event.describe(), event.level().as_str().to_lowercase(), fields.join(", "))
}

/// A list of names, each with its meaning.
fn section<'a>(roff: &mut Roff, title: &str, list: impl IntoIterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", [title]);
    entries(roff, list);
}

fn entries<'a>(roff: &mut Roff, entries: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (name, meaning) in entries {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
}

/// Lines that stay as they are.
fn example(roff: &mut Roff, title: &str, lines: &[&str]) {
    roff.control("SH", [title]).control("nf", []);
    for line in lines {
        roff.text([roman(*line)]);
    }
    roff.control("fi", []);
}

fn commands(roff: &mut Roff, program: &Command) {
    roff.control("SH", ["OPTIONS"]);
    program.get_arguments().for_each(|argument| describe(roff, argument));
    roff.control("SH", ["COMMANDS"]);
    for command in program.get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        roff.control("SS", [format!("certcommit {}", usage(command)).as_str()]).text([roman(format!("{about}."))]);
        command.get_arguments().for_each(|argument| describe(roff, argument));
    }
}

fn usage(command: &Command) -> String {
    let options = command.get_arguments().any(|argument| !argument.is_positional());
    let positionals = command.get_positionals().map(|argument| {
        let name = value_names(argument);
        let many = if argument.get_num_args().is_some_and(|range| range.max_values() > 1) { "…" } else { "" };
        if argument.is_required_set() { format!(" {name}{many}") } else { format!(" [{name}{many}]") }
    });
    let options = if options { " [OPTIONS]" } else { "" };
    format!("{}{options}{}", command.get_name(), positionals.collect::<String>())
}

fn describe(roff: &mut Roff, argument: &Arg) {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    let value = match (argument.is_positional(), argument.get_action().takes_values()) {
        (true, _) => value_names(argument),
        (false, true) => format!(" {}", value_names(argument)),
        (false, false) => String::new(),
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    roff.control("TP", []).text([bold(names), italic(value)]).text([roman(help)]);
}

fn value_names(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_event_field_exit_code_and_key() {
        let mut page = Vec::new();
        write(&mut page).unwrap();
        // Roff escapes hyphens and apostrophes.
        let page = String::from_utf8(page).unwrap().replace("\\-", "-").replace("\\*(Aq", "'");
        for command in Program::command().get_subcommands() {
            assert!(page.contains(&format!("certcommit {}", command.get_name())), "{}", command.get_name());
        }
        for event in LogEvent::ALL {
            assert!(page.contains(&event_of(event)), "{event}");
        }
        for field in Field::ALL {
            assert!(page.contains(&format!("{} ({})", field.describe(), field.unit())), "{field}");
        }
        for (key, kind, meaning) in KEYS {
            assert!(page.contains(&format!("{meaning} ({kind})")), "{key}");
        }
        for code in Code::ALL {
            assert!(page.contains(code.describe()), "{}", code.number());
        }
        for (key, default) in crate::config::KEYS {
            let (_, name) = key.split_once('.').unwrap();
            assert!(page.contains(&format!("#{name} = {default}")), "{key}");
        }
    }
}
