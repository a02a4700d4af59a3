//! What users of the configuration can rely on.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::*;
use crate::logging::{LogFormat, LogLevel};
use crate::submission::VerifyPolicy;

const SAMPLE: &str = include_str!("../../config/certcommit.toml");

/// Loads a file with this text, and these environment variables.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::load(Some(&path), variables).map_err(|error| {
        let place = path.display().to_string();
        error.to_string().replace(&place, "FILE")
    })
}

fn defaults() -> Settings {
    let directory = tempfile::tempdir().unwrap();
    Settings::load_or(None, &directory.path().join("absent.toml"), []).unwrap()
}

fn refused(text: &str) -> String {
    load(text, &[]).unwrap_err()
}

#[test]
fn without_file_and_variables_everything_has_its_documented_default() {
    let seconds = Duration::from_secs;
    let expected = Settings {
        database: DatabaseSettings {
            path: "/var/lib/certcommit/queue.db".into(),
            unsafe_filesystem: UnsafeFilesystem::Refuse,
        },
        api: ApiSettings {
            endpoint: "https://ssl.tencentcloudapi.com".to_owned(),
            proxy: ProxySetting::Environment,
            action: ActionName::CommitCertificateInformation,
            connect_timeout: seconds(5),
            request_timeout: seconds(30),
            language: Language::English,
        },
        credentials: CredentialSettings {
            source: SourceName::Auto,
            file: None,
            profile: "default".to_owned(),
            role: None,
        },
        rate: RateSettings { per_second: 20, guard: Duration::from_millis(25) },
        retry: RetrySettings { max_tries: 8, initial_backoff: seconds(1), max_backoff: seconds(300) },
        verify: VerifySettings { settle: seconds(60), resend_after: seconds(600), per_second: 10 },
        follow: FollowSettings { interval: None },
        pause: PauseSettings { after: 5, probe_initial: seconds(30), probe_max: seconds(900) },
        worker: WorkerSettings { max_in_flight: 64, stop_timeout: seconds(35) },
        log: LogSettings { level: LogLevel::Info, format: LogFormat::Auto, progress_interval: seconds(60) },
        metrics: MetricsSettings { listen: None, page: PageAudience::Loopback },
        retention: RetentionSettings { requests: None },
    };
    assert_eq!(defaults(), expected);
    let policy = defaults().policy().retry;
    assert_eq!((policy.max_tries, policy.initial_backoff, policy.max_backoff), (8, seconds(1), seconds(300)));
    assert_eq!(defaults().policy().verify, VerifyPolicy { settle: seconds(60), resend_after: seconds(600) });
}

/// A setting that the sample comments out, without the comment mark.
fn setting(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()))
}

#[test]
fn the_sample_file_holds_every_key_at_its_default() {
    assert_eq!(load(SAMPLE, &[]), Ok(defaults()));
    let settings: Vec<&str> = SAMPLE.lines().map(|line| setting(line).unwrap_or(line)).collect();
    assert_eq!(load(&settings.join("\n"), &[]), Ok(defaults()));

    let mut section = "";
    let mut found = BTreeSet::new();
    for line in SAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        if let Some((name, value)) = setting(line).and_then(|line| line.split_once(" = ")) {
            let key = format!("{section}.{name}");
            assert!(found.insert((key.clone(), value.to_owned())), "{key} appears twice");
        }
    }
    let keys = KEYS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    assert_eq!(found, keys.collect());
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let text = "[rate]\nper_second = 7\nguard = \"30ms\"\n[log]\nlevel = \"warn\"";
    let variables = [("CERTCOMMIT__RATE__PER_SECOND", "3"), ("CERTCOMMIT__LOG__FORMAT", "json"), ("PATH", "/bin")];
    let settings = load(text, &variables).unwrap();
    assert_eq!(settings.rate, RateSettings { per_second: 3, guard: Duration::from_millis(30) });
    assert_eq!((settings.log.level, settings.log.format), (LogLevel::Warn, LogFormat::Json));
    assert_eq!(settings.retry, defaults().retry);
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    for (key, default) in KEYS {
        let value = default.trim_matches('"');
        assert_eq!(load("", &[(&keys::variable(key), value)]), Ok(defaults()), "{key}");
        if default != &r#""""# {
            let error = load("", &[(&keys::variable(key), "")]).unwrap_err();
            let start = format!("`{key}` is \"\" in the environment variable {}: it must be ", keys::variable(key));
            assert!(error.starts_with(&start), "{error}");
        }
    }
}

#[test]
fn metrics_are_on_loopback_unless_an_address_is_given() {
    let listen = |text: &str| load(&format!("[metrics]\nlisten = \"{text}\""), &[]).map(|read| read.metrics.listen);
    let address = |text: &str| Ok(Some(text.parse().unwrap()));
    assert_eq!(listen("9437"), address("127.0.0.1:9437"));
    assert_eq!(listen("[::1]:9437"), address("[::1]:9437"));
    assert_eq!(listen("0.0.0.0:9437"), address("0.0.0.0:9437"));
    assert_eq!(listen(""), Ok(None));
    for wrong in ["localhost:9437", "127.0.0.1", ":9437", "70000", "on"] {
        let error = listen(wrong).unwrap_err();
        assert!(error.starts_with(&format!("`metrics.listen` is \"{wrong}\"")), "{error}");
    }
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent.toml");
    let error = Settings::load(Some(&path), []).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("can't read the configuration file {}: No such file", path.display())),
        "{error}"
    );
    assert!(Settings::load(Some(directory.path()), []).is_err(), "a directory");
    assert!(Settings::load_or(None, &path, []).is_ok());
    fs::write(&path, "[rate]\nper_second = 4").unwrap();
    assert_eq!(Settings::load_or(None, &path, []).unwrap().rate.per_second, 4);
    fs::write(&path, b"# \xff").unwrap();
    assert!(Settings::load_or(None, &path, []).is_err(), "not UTF-8");
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_what_exists_instead() {
    let keys_of_rate = "the keys of [rate] are per_second, guard";
    assert_eq!(refused("[rate]\nfoo = 1"), format!("unknown key `rate.foo` in FILE; {keys_of_rate}"));
    assert_eq!(
        refused("[rate]\ngaurd = \"1ms\""),
        format!("unknown key `rate.gaurd` in FILE; {keys_of_rate}; did you mean `rate.guard`?")
    );
    assert_eq!(refused("rate = 5"), format!("unknown key `rate` in FILE; {keys_of_rate}"));
    let sections = "the sections are database, api, credentials, rate, retry, verify, follow, pause, worker, log, metrics, retention";
    for text in ["[tracing]\naddress = \"[::1]:9090\"", "tracing.address = 1"] {
        assert_eq!(refused(text), format!("unknown key `tracing.address` in FILE; {sections}"));
    }
    assert_eq!(refused("max_tries = 1"), format!("unknown key `max_tries` in FILE; {sections}"));
    assert!(refused("[metric]\nport = 1").starts_with("unknown key `metric.port`"));
    assert!(refused("\"\\u001b[31m\" = 1").starts_with("unknown key `\\u{1b}[31m` in FILE"));
}

#[test]
fn an_unknown_variable_is_named_with_what_exists_instead() {
    let error = |name| load("", &[(name, "1")]).unwrap_err();
    assert_eq!(
        error("CERTCOMMIT__RATE__PER_SECONDS"),
        "unknown key `rate.per_seconds` in the environment variable CERTCOMMIT__RATE__PER_SECONDS; \
         the keys of [rate] are per_second, guard; did you mean `rate.per_second`?"
    );
    assert!(error("CERTCOMMIT__").starts_with("unknown key `` in the environment variable CERTCOMMIT__;"));
    assert!(error("CERTCOMMIT__RATE").starts_with("unknown key `rate` in the environment variable CERTCOMMIT__RATE;"));
    for foreign in ["CERTCOMMIT_RATE", "CERTCOMMIT_SERVICE_HOST", "XCERTCOMMIT__RATE__FOO", "é", ""] {
        assert_eq!(load("", &[(foreign, "1")]), Ok(defaults()), "{foreign}");
    }
}

#[test]
fn an_invalid_value_is_shown_with_its_place_and_what_is_expected() {
    let number = "it must be a whole number from 1 to 20";
    for (value, shown) in [
        ("\"many\"", "\"many\""),
        ("2.5", "2.5"),
        ("true", "true"),
        ("0", "0"),
        ("21", "21"),
        ("-1", "-1"),
        ("9223372036854775807", "9223372036854775807"),
        ("99999999999999999999", "99999999999999999999"),
    ] {
        assert_eq!(
            refused(&format!("rate.per_second = {value}")),
            format!("`rate.per_second` is {shown} in FILE: {number}")
        );
    }
    assert_eq!(
        load("", &[("CERTCOMMIT__RATE__PER_SECOND", "many")]).unwrap_err(),
        format!("`rate.per_second` is \"many\" in the environment variable CERTCOMMIT__RATE__PER_SECOND: {number}")
    );
    for text in
        ["rate.per_second = [1]", "rate.per_second = {}", "rate.per_second = 1979-05-27", "[rate.per_second]\nx = 1"]
    {
        assert_eq!(refused(text), "`rate.per_second` is a table or a list in FILE: it must be a single value");
    }
    let duration = "it must be a duration such as \"30s\", \"5m\" or \"25ms\", from 1ms to 720h";
    for value in ["30", "\"30\"", "\"-5s\"", "\"5s ago\"", "\"0s\"", "\"\"", "\"1d\"", "\"721h\"", "\"soon\""] {
        assert_eq!(
            refused(&format!("verify.settle = {value}")),
            format!("`verify.settle` is {value} in FILE: {duration}")
        );
    }
    let error = refused(&format!("log.level = \"{}\"", "x".repeat(10_000)));
    assert!(error.len() < 250 && error.ends_with("one of error, warn, info, debug, trace"), "{error}");
}

#[test]
fn each_value_has_its_range() {
    let cases = [
        ("rate.per_second", &["1", "20"][..], &["0", "21"][..]),
        ("rate.guard", &["\"0s\"", "\"1s\""], &["\"1001ms\"", "\"-1ms\""]),
        ("retry.max_tries", &["1", "100"], &["0", "101"]),
        ("verify.per_second", &["1", "10"], &["0", "11"]),
        ("pause.after", &["1", "1000"], &["0", "-1"]),
        ("worker.max_in_flight", &["1", "1000"], &["0", "1001"]),
        ("worker.stop_timeout", &["\"1ms\"", "\"1h 30m\""], &["\"0s\""]),
        ("api.connect_timeout", &["\"1ms\""], &["\"0s\""]),
        ("api.request_timeout", &["\"1ms\""], &["\"0s\""]),
        ("api.language", &["\"zh-CN\"", "\"en-US\""], &["\"en\"", "\"de-DE\""]),
        ("api.action", &["\"CertificateOrderSubmit\""], &["\"certificateordersubmit\"", "\"DescribeCertificate\""]),
        (
            "api.proxy",
            &["\"off\"", "\"systemd\"", "\"file:/run/proxy\"", "\"socks5h://user:password@proxy:9050\""],
            &["\"on\"", "\"\"", "3128", "\"file:proxy\"", "\"proxy:3128\""],
        ),
        ("api.endpoint", &["\"http://127.0.0.1:80\""], &["\"http://localhost\"", "\"https://host/\"", "5"]),
        ("credentials.source", &["\"systemd\"", "\"cvm-role\""], &["\"role\"", "\"Auto\"", "\"\""]),
        ("credentials.file", &["\"/run/credentials\"", "\"\""], &["[]", "\"a\\u0000b\""]),
        ("credentials.profile", &["\"production\""], &["\"\"", "[]"]),
        ("credentials.role", &["\"CVM_role-1.a\"", "\"\""], &["\"a/b\"", "\"..\"", "\"a b\"", "\"a?b\"", "[]"]),
        ("database.path", &["\"q.db\""], &["\"\"", "[]", "\"a\\u0000b\""]),
        ("database.unsafe_filesystem", &["\"refuse\"", "\"allow\""], &["\"\"", "true", "\"warn\""]),
        ("log.level", &["\"trace\"", "\"error\""], &["\"INFO\"", "\"off\"", "\"info,sqlx=debug\""]),
        ("log.format", &["\"json\"", "\"text\"", "\"journald\""], &["\"journal\""]),
        ("log.progress_interval", &["\"1s\""], &["\"999ms\""]),
        ("metrics.listen", &["\"9437\"", "\"0.0.0.0:9437\""], &["\"localhost:9437\"", "true"]),
        ("metrics.page", &["\"off\"", "\"loopback\"", "\"any\""], &["\"\"", "true", "\"on\""]),
        (
            "retention.requests",
            &["\"off\"", "\"1d\"", "\"3650d\""],
            &["\"0d\"", "\"3651d\"", "\"90\"", "\"90h\"", "90", "true"],
        ),
        ("follow.interval", &["\"off\"", "\"1s\"", "\"720h\""], &["\"999ms\"", "\"721h\"", "\"1d\"", "\"\"", "true"]),
        ("verify.settle", &["\"1ms\"", "\"10m\""], &["\"0s\"", "\"601s\""]),
        ("retry.initial_backoff", &["\"1ms\"", "\"5m\""], &["\"0s\"", "\"301s\""]),
        ("retry.max_backoff", &["\"1s\"", "\"720h\""], &["\"999ms\""]),
        ("verify.resend_after", &["\"60s\""], &["\"59s\"", "\"0s\""]),
        ("pause.probe_initial", &["\"1ms\"", "\"15m\""], &["\"0s\"", "\"16m\""]),
        ("pause.probe_max", &["\"30s\""], &["\"29s\"", "\"0s\""]),
    ];
    let covered: BTreeSet<&str> = cases.iter().map(|(key, ..)| *key).collect();
    assert_eq!(covered, KEYS.iter().map(|(key, _)| *key).collect());
    for (key, good, bad) in cases {
        for value in good {
            assert!(load(&format!("{key} = {value}"), &[]).is_ok(), "{key} = {value}");
        }
        for value in bad {
            let error = refused(&format!("{key} = {value}"));
            assert!(error.contains(&format!("`{key}`")) && error.contains("it must"), "{error}");
        }
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_known_ones() {
    assert_eq!(
        refused("log.format = \"syslog\""),
        "`log.format` is \"syslog\" in FILE: it must be one of auto, json, text, journald"
    );
}

#[test]
fn a_wait_longer_than_its_maximum_is_refused_with_both() {
    assert_eq!(
        refused("retry.max_backoff = \"500ms\""),
        "`retry.initial_backoff` is \"1s\" by default: it must be at most `retry.max_backoff`, which is \"500ms\" in FILE"
    );
}

#[test]
fn the_slower_action_halves_the_rate_unless_it_is_set() {
    let action = "api.action = \"CertificateOrderSubmit\"\n";
    assert_eq!(load(action, &[]).unwrap().rate.per_second, 10);
    assert_eq!(load(&format!("{action}rate.per_second = 20"), &[]).unwrap().rate.per_second, 20);
    assert_eq!(load(action, &[("CERTCOMMIT__RATE__PER_SECOND", "15")]).unwrap().rate.per_second, 15);
}

#[test]
fn a_file_that_is_not_toml_is_refused_by_position_without_its_text() {
    let error = refused("[credentials]\nprofile = \"a\"\nsecret_key = Zx9 | Zx9\n");
    assert!(error.starts_with("the configuration file FILE isn't valid TOML: "), "{error}");
    assert!(error.ends_with(" at line 3"), "{error}");
    assert!(!error.contains("Zx9") && !error.contains('\n'), "{error}");
    for text in ["a = 1\na = 2", "[rate\n", "a = \"", "= 1", "\u{1}"] {
        let error = refused(text);
        assert!(error.contains("isn't valid TOML") && !error.contains('\n'), "{error}");
        assert!(error.contains(" at line "), "{error}");
    }
}

#[test]
fn no_error_shows_a_secret() {
    let secret = "Zx9Zx9";
    for key in ["secret_key", "secret_id", "token", "foo"] {
        let error = refused(&format!("[credentials]\n{key} = \"{secret}\""));
        assert!(!error.contains(secret), "{error}");
        let name = format!("CERTCOMMIT__CREDENTIALS__{}", key.to_uppercase());
        let error = load("", &[(&name, secret)]).unwrap_err();
        assert!(!error.contains(secret), "{error}");
    }
    assert!(
        refused("credentials.secret_key = 1")
            .ends_with("secrets don't belong in the configuration, see `credentials.source`")
    );
    let error = refused(&format!("api.endpoint = \"https://user:{secret}@host/?token={secret}\""));
    assert!(error.starts_with("`api.endpoint` is \"https://…\" in FILE") && !error.contains(secret), "{error}");
    for wrong in ["http://user:Zx9Zx9@", "http://Zx9Zx9", "http://user:Zx9Zx9@proxy:0", "user:Zx9Zx9@proxy:3128"] {
        let error = refused(&format!("api.proxy = \"{wrong}/x\""));
        assert!(error.starts_with("`api.proxy` is \"") && !error.contains(secret), "{error}");
    }
    let variables = [("TENCENTCLOUD_SECRET_KEY", secret), ("CERTCOMMIT__RATE__FOO", secret)];
    assert!(!load("", &variables).unwrap_err().contains(secret));
}

#[test]
fn a_proxys_password_in_a_file_that_every_user_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.toml");
    let load = |text: &str, mode, variables: &[(&str, &str)]| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(Some(&path), variables).map_err(|error| error.to_string())
    };
    let with = "api.proxy = \"http://user:Zx9Zx9@proxy:3128\"";
    let error = load(with, 0o644, &[]).unwrap_err();
    assert!(error.starts_with("`api.proxy` has a user or a password in ") && !error.contains("Zx9Zx9"), "{error}");
    assert!(load(with, 0o644, &[("CERTCOMMIT__API__PROXY", "off")]).is_err(), "the file still shows it");
    assert!(load(with, 0o640, &[]).is_ok());
    assert!(load("api.proxy = \"http://proxy:3128\"", 0o644, &[]).is_ok());
    assert!(load("", 0o644, &[("CERTCOMMIT__API__PROXY", "http://user:Zx9Zx9@proxy:3128")]).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic_or_fail_with_more_than_one_line(text in "(\\[?(rate|log|x)\\]?\\.?(guard|level|\n)? ?=? ?.{0,20}\n?){0,3}", value in ".{0,20}") {
        for result in [load(&text, &[]), load("", &[("CERTCOMMIT__RATE__GUARD", &value)])] {
            if let Err(error) = result {
                prop_assert!(!error.chars().any(char::is_control), "{error:?}");
            }
        }
    }
}
