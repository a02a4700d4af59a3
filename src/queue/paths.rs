//! Names of files: those beside a database, the directory of one, and how a shell takes them.

use std::path::{Path, PathBuf};

/// The file beside a database whose name ends in this suffix.
pub(crate) fn companion(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory of a file.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A path as a shell takes it.
pub(crate) fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%,".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_needs_it() {
        assert_eq!(shell(Path::new("/var/lib/queue.db-wal")), "/var/lib/queue.db-wal");
        assert_eq!(shell(Path::new("/a b/it's.db")), r"'/a b/it'\''s.db'");
    }
}
