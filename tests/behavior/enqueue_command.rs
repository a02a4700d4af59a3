//! `certcommit enqueue` reads lists and tables as people export them.

use std::path::PathBuf;

use crate::support::{Bench, output, text};

/// A table as a spreadsheet saves it: byte order mark, CRLF, quotes, blanks, an empty row, and three rows that can't be.
const TABLE: &str = "\u{feff}reference,certificate_id,priority,verify_type,due_at\r\n\
    \"spring, \"\"first\"\" half\",a1,2,DNS,\r\n\
    , a2 ,\"\",,2026-12-01T00:00:00Z\r\n\
    ,,,,\r\n\
    spring,b 1,,,\r\n\
    spring,b2,9,,\r\n\
    spring,b3,,dns_auto,\r\n\
    spring,a3,,,1700000000\r\n";

/// What the command printed, and how it ended.
struct Ended {
    code: Option<i32>,
    printed: String,
    errors: String,
}

/// Enqueues a file with this content.
async fn enqueue(bench: &Bench, content: &[u8], options: &[&str]) -> Ended {
    let file = bench.path("certificates.csv");
    std::fs::write(&file, content).unwrap();
    let file = text(&file);
    let ended = output(bench.command(&[&["enqueue", "--file", &file], options].concat())).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: ended.status.code(), printed: text(ended.stdout), errors: text(ended.stderr) }
}

/// The rows of the queue, each in one line.
async fn rows(bench: &Bench) -> Vec<String> {
    let rows = bench.rows().await;
    rows.iter().map(|row| row.certificate_id.clone()).collect()
}

#[tokio::test]
async fn a_column_header_in_a_list_is_skipped_and_reported() {
    let bench = Bench::new().await;
    for header in ["CertificateId", "certificate_id", "CERTIFICATE-ID", "id", "\u{feff}CertId"] {
        let ended = enqueue(&bench, format!("{header}\nabcb1234\n").as_bytes(), &[]).await;
        let name = header.trim_start_matches('\u{feff}');
        assert_eq!(ended.errors, format!("line 1: skipped {name}, which is a column header, not an ID\n"));
        assert!(ended.code == Some(0) && ended.printed.ends_with("0 refused\n"), "{}", ended.printed);
    }
    assert_eq!(bench.rows().await.len(), 1);
}

#[tokio::test]
async fn a_table_gives_each_row_its_own_values_and_refuses_rows_by_line_value_and_reason() {
    let bench = Bench::new().await;
    let refused = bench.path("refused.csv");
    let ended = enqueue(&bench, TABLE.as_bytes(), &["--refused", &text(&refused), "--reference", "default"]).await;
    assert_eq!((ended.code, ended.printed.as_str()), (Some(1), "3 new, 0 known, 3 refused\n"));
    let errors = "line 5: invalid certificate ID \"b 1\": expected 1–64 characters of A-Z a-z 0-9 _ -\n\
                  line 6: priority \"9\" is no number from 0 to 3\n\
                  line 7: verify_type \"dns_auto\" is none of DNS_AUTO, DNS, FILE, DNS_PROXY, FILE_PROXY\n";
    assert_eq!(ended.errors, errors);
    let file = "line,column,value,reason\n\
                5,certificate_id,b 1,\"invalid certificate ID \"\"b 1\"\": expected 1–64 characters of A-Z a-z 0-9 _ -\"\n\
                6,priority,9,\"priority \"\"9\"\" is no number from 0 to 3\"\n\
                7,verify_type,dns_auto,\"verify_type \"\"dns_auto\"\" is none of DNS_AUTO, DNS, FILE, DNS_PROXY, FILE_PROXY\"\n";
    assert_eq!(std::fs::read_to_string(&refused).unwrap(), file);
    let values: String = bench
        .value(
            "SELECT group_concat(certificate_id || '|' || coalesce(verify_type, '') || '|' || priority || '|' || reference || '|'
                                 || CASE WHEN due_at IN (1700000000, 1796083200) THEN due_at ELSE 'now' END, char(10))
               FROM (SELECT * FROM submissions ORDER BY certificate_id)",
        )
        .await;
    let expected = "a1|DNS|2|spring, \"first\" half|now\na2||0|default|1796083200\na3||0|spring|1700000000";
    assert_eq!(values, expected);
}

#[tokio::test]
async fn tables_with_semicolons_and_tabs_are_read_too() {
    let bench = Bench::new().await;
    for (delimiter, id) in [(";", "a1"), ("\t", "a2")] {
        let content = format!("Certificate ID{delimiter}Reference\n{id}{delimiter}spring, 24\n");
        let ended = enqueue(&bench, content.as_bytes(), &[]).await;
        assert_eq!((ended.code, ended.printed.as_str()), (Some(0), "1 new, 0 known, 0 refused\n"), "{}", ended.errors);
    }
    let references: i64 = bench.value("SELECT count(*) FROM submissions WHERE reference = 'spring, 24'").await;
    assert_eq!(references, 2);
}

#[tokio::test]
async fn a_table_with_an_unknown_column_is_refused_unless_unknown_columns_are_ignored() {
    let bench = Bench::new().await;
    let content = b"certificate_id,owner,\na1,Alice,\n";
    let ended = enqueue(&bench, content, &[]).await;
    assert!(
        ended.code == Some(2) && ended.errors.contains("doesn't know these columns: \"owner\""),
        "{}",
        ended.errors
    );
    assert!(ended.errors.ends_with("nothing was enqueued\n"), "{}", ended.errors);
    assert_eq!(rows(&bench).await, [""; 0]);
    let ended = enqueue(&bench, content, &["--ignore-unknown"]).await;
    assert_eq!((ended.code, ended.printed.as_str()), (Some(0), "1 new, 0 known, 0 refused\n"), "{}", ended.errors);
}

#[tokio::test]
async fn text_in_another_encoding_is_named_as_such() {
    let bench = Bench::new().await;
    let utf16: Vec<u8> = "\u{feff}certificate_id\ta\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let ended = enqueue(&bench, &utf16, &[]).await;
    assert!(
        ended.code == Some(2) && ended.errors.contains("is in UTF-16; save it as CSV in UTF-8"),
        "{}",
        ended.errors
    );
    let ended = enqueue(&bench, b"certificate_id,reference\na1,M\xfcller\n", &[]).await;
    assert_eq!(ended.errors, "line 2: the text is not UTF-8; save the table as CSV in UTF-8\n");
    let ended = enqueue(&bench, b"certificate_id,reference\ra1,spring\r", &[]).await;
    assert!(ended.code == Some(2) && ended.errors.contains("a carriage return alone"), "{}", ended.errors);
}

#[tokio::test]
async fn a_quote_that_is_not_closed_is_an_error_and_not_a_record_as_long_as_the_file() {
    let bench = Bench::new().await;
    let content = format!("certificate_id,reference\na1,\"{}", "spring\n".repeat(500_000));
    let ended = enqueue(&bench, content.as_bytes(), &[]).await;
    assert!(ended.code == Some(2) && ended.errors.contains("a quote may be missing"), "{}", ended.errors);
}

#[tokio::test]
async fn all_or_nothing_enqueues_nothing_if_a_line_or_a_rule_refuses_anything() {
    let bench = Bench::new().await;
    let ended = enqueue(&bench, TABLE.as_bytes(), &["--all-or-nothing"]).await;
    let printed = "0 new, 0 known, 3 refused; nothing was enqueued (--all-or-nothing)\n";
    assert_eq!((ended.code, ended.printed.as_str()), (Some(1), printed));
    bench
        .sql(
            "CREATE TRIGGER no_b BEFORE INSERT ON submissions WHEN NEW.certificate_id = 'b1'
             BEGIN SELECT RAISE(ABORT, 'not b1'); END",
        )
        .await;
    let ended = enqueue(&bench, b"a1\nb1\na2\n", &["--all-or-nothing"]).await;
    assert_eq!(ended.printed, "0 new, 0 known, 1 refused; nothing was enqueued (--all-or-nothing)\n");
    assert_eq!(ended.errors, "line 2: b1: not b1\n");
    assert_eq!(rows(&bench).await, [""; 0]);
    bench.sql("DROP TRIGGER no_b").await;
    let ended = enqueue(&bench, b"a1\nb1\na2\na1\n", &["--all-or-nothing"]).await;
    assert_eq!((ended.code, ended.printed.as_str()), (Some(0), "3 new, 1 known, 0 refused\n"));
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_enqueued_and_changes_nothing() {
    let bench = Bench::new().await;
    bench.enqueue(&["a1"]).await;
    let ended = enqueue(&bench, TABLE.as_bytes(), &["--dry-run"]).await;
    let printed = "2 new, 1 known, 3 refused; nothing was changed (--dry-run)\n";
    assert_eq!((ended.code, ended.printed.as_str()), (Some(1), printed), "{}", ended.errors);
    assert_eq!(rows(&bench).await, ["a1"]);

    let database: PathBuf = bench.path("new.db");
    let mut command = bench.command(&["enqueue", "--dry-run", "x1", "x1", "x2"]);
    command.env(crate::support::variable("database.path"), &database);
    let ended = output(command).await;
    let printed = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(printed, "2 new, 1 known, 0 refused; nothing was changed (--dry-run)\n");
    assert!(!database.exists(), "no queue is created");
}
