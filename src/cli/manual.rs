//! `certcommit manual`: the man page, generated from the commands, the catalogs and the sample configuration.

use std::io::{self, Write};

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

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
        "The queue, with -wal and -shm files beside it while it is open. If it is a symbolic link, all of them are beside \
         its target.",
    ),
    (
        "/var/lib/certcommit/queue.db.mark",
        "The number of the newest request. A queue that is behind this number, or came without the file, starts paused. So \
         does a queue whose daemon died and was silent for more than 15 minutes: its disk may have been restored together \
         with this file.",
    ),
    (
        "/var/lib/certcommit/queue.db.schema-VERSION, queue.db.before-repair-SECONDS",
        "Copies of the queue, made before a migration or a certcommit check --repair.",
    ),
    ("/var/lib/certcommit/queue.db.lock", "Held by the daemon, since only one may run per queue."),
    (
        "/run/certcommit/*.departures",
        "In memory: the number of the newest commit that was handed to the network. After a crash, it tells which were not.",
    ),
    (
        "$CREDENTIALS_DIRECTORY/secret_id, secret_key, token",
        "The credentials that systemd passes with LoadCredential= or LoadCredentialEncrypted=.",
    ),
    ("$CREDENTIALS_DIRECTORY/proxy", "The URL of the proxy that systemd passes, for api.proxy = \"systemd\"."),
    ("~/.tencentcloud/credentials, /etc/tencentcloud/credentials", "The credentials, in the vendor's format."),
    (
        "~/.tccli/PROFILE.credential",
        "The credentials that tccli configure or a login with tccli writes. Read after the files in the vendor's format.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("CERTCOMMIT__SECTION__KEY", "Overrides a key of the configuration file: CERTCOMMIT__RATE__PER_SECOND=10."),
    ("TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY", "The credentials."),
    ("TENCENTCLOUD_TOKEN, TENCENTCLOUD_SESSION_TOKEN", "The token of temporary credentials."),
    (
        "https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY, no_proxy, NO_PROXY",
        "The proxy for the API, and the hosts to reach without it, by curl's rules. Read if api.proxy is \"environment\", the default.",
    ),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "The certificate authorities to trust instead of the system's."),
    ("CERTCOMMIT_METADATA", "The loopback address of a simulated metadata service, to test cvm-role."),
    ("JOURNAL_STREAM", "Set by systemd: log to the journal (log.format = \"auto\")."),
    ("NO_COLOR", "No colors on a terminal, in the log and in status."),
];

const FIELDS: &str = "\
The fields of a log line, besides its time, level, message and event. In the journal, request_id is CERTCOMMIT_REQUEST_ID, \
and so on. A field without a value is omitted.";

const STATUS: &str = "\
certcommit status --json prints one object on one line; with --watch, one every second. These keys and types are stable; \
others may be added. Times are unix seconds. With --watch, if the queue can't be read, the object has only the key error.";

const DAMAGE: &str = "\
If the queue lacks a trigger, an index, a column or a view, for example after a tool rewrote a table, the daemon sends nothing \
more and exits with 65. check and status name what is missing, and certcommit check --repair restores it. If the structure \
of the database is damaged,";

const SIGNALS: &[(&str, &str)] = &[
    ("SIGTERM, SIGINT", "Stop. Requests in flight get worker.stop_timeout to finish; a second signal ends the wait."),
    ("SIGHUP", "Reload the configuration and the credentials. run --until-empty stops instead."),
];

const ERROR_CODES: &str = "\
What an error code of the API means for a submission. The first matching line applies. Any other code puts the submission \
in doubt, to be read back.";

const METRICS: &str = "\
If metrics.listen is set, /metrics serves these to Prometheus. /readyz succeeds while the queue is processed, and /healthz \
while the daemon is alive. / shows the queue in a browser, to those whom metrics.page names.";

pub(super) fn run(program: Command) -> Result<Code, Failure> {
    let mut page = Vec::new();
    write(&mut page, program)?;
    io::stdout().write_all(&page)?;
    Ok(Code::Done)
}

fn write(page: &mut Vec<u8>, program: Command) -> io::Result<()> {
    let program = program.disable_help_subcommand(true);
    let head = Man::new(program.clone()).manual("certcommit").source(concat!("certcommit ", env!("CARGO_PKG_VERSION")));
    head.render_title(page)?;
    head.render_name_section(page)?;
    head.render_synopsis_section(page)?;
    let mut roff = Roff::new();
    text(&mut roff, "DESCRIPTION", DESCRIPTION);
    commands(&mut roff, program);
    example(&mut roff, "ENQUEUE AND WATCH WITH SQL", &ENQUEUE);
    heading(&mut roff, "EVENTS");
    entries(&mut roff, LogEvent::ALL.iter().map(|event| (event.as_str(), event_of(*event))));
    text(&mut roff, "FIELDS", FIELDS);
    let field = |field: &Field| (field.as_str(), format!("{} ({})", field.describe(), field.unit()));
    entries(&mut roff, Field::ALL.iter().map(field));
    text(&mut roff, "STATUS IN JSON", STATUS);
    entries(&mut roff, KEYS.iter().map(|(key, kind, meaning)| (*key, format!("{meaning} ({kind})"))));
    heading(&mut roff, "EXIT STATUS");
    entries(&mut roff, Code::ALL.iter().map(|code| (code.number().to_string(), code.describe())));
    heading(&mut roff, "SIGNALS");
    entries(&mut roff, SIGNALS.iter().copied());
    text(&mut roff, "A DAMAGED QUEUE", &format!("{DAMAGE} {SALVAGE}."));
    text(&mut roff, "ERROR CODES", ERROR_CODES);
    entries(&mut roff, ERROR_TABLE.iter().map(|(code, class)| (*code, class.as_str())));
    text(&mut roff, "METRICS", METRICS);
    entries(&mut roff, Metric::ALL.map(|metric| (metric.as_str(), metric.describe())));
    heading(&mut roff, "FILES");
    entries(&mut roff, FILES.iter().copied());
    heading(&mut roff, "ENVIRONMENT");
    entries(&mut roff, ENVIRONMENT.iter().copied());
    example(&mut roff, "CONFIGURATION", &SAMPLE.lines().collect::<Vec<_>>());
    roff.to_writer(page)
}

/// When an event is logged, at which level, and with which fields.
fn event_of(event: LogEvent) -> String {
    let fields: Vec<&str> = event.fields().iter().map(|field| field.as_str()).collect();
    format!("{} ({}; {})", event.describe(), event.level().as_str().to_lowercase(), fields.join(", "))
}

fn heading(roff: &mut Roff, title: &str) {
    roff.control("SH", [title]);
}

fn text(roff: &mut Roff, title: &str, text: &str) {
    heading(roff, title);
    roff.text([roman(text)]);
}

/// Writes names, each with its meaning.
fn entries(roff: &mut Roff, entries: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) {
    for (name, meaning) in entries {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
}

/// Writes lines verbatim.
fn example(roff: &mut Roff, title: &str, lines: &[&str]) {
    heading(roff, title);
    roff.control("nf", []);
    lines.iter().for_each(|line| {
        roff.text([roman(*line)]);
    });
    roff.control("fi", []);
}

fn commands(roff: &mut Roff, mut program: Command) {
    // Names and usages of subcommands are incomplete until the command is built.
    program.build();
    heading(roff, "OPTIONS");
    entries(roff, program.get_arguments().map(argument));
    heading(roff, "COMMANDS");
    for command in program.get_subcommands_mut() {
        let usage = command.render_usage().to_string();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        roff.control("SS", [usage.trim_start_matches("Usage: ")]).text([roman(format!("{about}."))]);
        // OPTIONS already has what every command has.
        entries(
            roff,
            command
                .get_arguments()
                .filter(|argument| !argument.is_global_set() && argument.get_id() != "help")
                .map(argument),
        );
    }
}

fn argument(argument: &Arg) -> (String, String) {
    (argument.to_string(), argument.get_help().map(ToString::to_string).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Arguments as Program;
    use super::*;

    #[test]
    fn the_page_has_every_command_event_field_exit_code_and_key() {
        let mut page = Vec::new();
        write(&mut page, Program::command()).unwrap();
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
