//! An invalid configuration ends the program with 78 and a message that names the key.

use certcommit::simulator::Options;

use crate::support::{Bench, output, variable};

const CONFIGURATION: i32 = 78;

#[tokio::test]
async fn an_invalid_file_is_reported_with_its_key_and_the_valid_values_and_exit_code_78() {
    let bench = Bench::new().await;
    let cases = [
        ("[rate]\nper_secnod = 20", "rate.per_secnod", "did you mean `rate.per_second`"),
        ("[rate]\nper_second = \"many\"", "rate.per_second", "a whole number from 1 to 20"),
        ("[rate]\nper_second = 21", "rate.per_second", "a whole number from 1 to 20"),
        ("[retry]\nmax_backoff = 300", "retry.max_backoff", "a duration such as"),
        ("[api]\nendpoint = \"http://ssl.tencentcloudapi.com\"", "api.endpoint", "https://"),
        ("[api]\naction = \"Commit\"", "api.action", "CommitCertificateInformation"),
    ];
    for (number, (toml, key, expected)) in cases.into_iter().enumerate() {
        let file = bench.path(&format!("wrong-{number}.toml"));
        std::fs::write(&file, toml).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_certcommit"));
        command.env_clear().arg("--config").arg(&file).arg("run");
        assert_refused(command, &[key, expected]).await;
    }
}

#[tokio::test]
async fn an_invalid_variable_is_reported_by_name_with_exit_code_78() {
    let bench = Bench::new().await;
    for (key, value) in [("rate.per_second", "21"), ("rate.foo", "1"), ("verify.settle", "soon")] {
        let mut command = bench.command(&["run"]);
        command.env(variable(key), value);
        assert_refused(command, &[key, &variable(key)]).await;
    }
}

#[tokio::test]
async fn without_credentials_the_sources_tried_are_listed_with_exit_code_78() {
    let bench = Bench::with(Options::default(), &[]).await;
    let metadata = bench.simulator.metadata(None).await.unwrap();
    let role = format!("the machine's role: http://{} says that this machine has no role", metadata.address());
    let words = [
        "systemd: $CREDENTIALS_DIRECTORY is not set",
        "the environment: TENCENTCLOUD_SECRET_ID is not set",
        "/home/.tencentcloud/credentials: there is no such file",
        "the file /etc/tencentcloud/credentials: there is no such file",
        &role,
    ];
    for arguments in ["run", "check"] {
        let mut command = bench.bare_command(&[arguments]);
        command.env(variable("database.path"), bench.database());
        command.env("CERTCOMMIT_METADATA", metadata.address().to_string());
        assert_refused(command, &words).await;
    }
}

#[tokio::test]
async fn a_stand_in_for_the_metadata_service_must_be_on_this_machine() {
    let bench = Bench::new().await;
    for address in ["169.254.0.23:80", "127.0.0.1", "localhost:80", ""] {
        let mut command = bench.command(&["check"]);
        command.env("CERTCOMMIT_METADATA", address);
        assert_refused(command, &["CERTCOMMIT_METADATA", "a loopback address with a port"]).await;
    }
}

async fn assert_refused(command: std::process::Command, words: &[&str]) {
    let command_line = format!("{command:?}");
    let output = output(command).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(CONFIGURATION), "{command_line}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word} in {stderr}");
    }
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
}
