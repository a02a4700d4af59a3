//! `certcommit enqueue` reads files of IDs as people export them.

use crate::support::{Bench, output, text};

#[tokio::test]
async fn a_column_header_in_a_file_of_ids_is_skipped_and_reported() {
    let bench = Bench::new().await;
    let file = bench.path("ids");
    for header in ["CertificateId", "certificate_id", "CERTIFICATE-ID", "id", "\u{feff}CertId"] {
        std::fs::write(&file, format!("{header}\nabcb1234\n")).unwrap();
        let ended = output(bench.command(&["enqueue", "--file", &text(&file)])).await;
        let (out, errors) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
        let name = header.trim_start_matches('\u{feff}');
        assert_eq!(errors, format!("line 1: skipped {name}, which is a column header, not an ID\n"));
        assert!(ended.status.success() && out.ends_with("0 refused\n"), "{out}");
    }
    assert_eq!(bench.rows().await.len(), 1);
}
