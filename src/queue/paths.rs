//! Paths: the files beside a database, the directory of a file, and quoting for a shell.

use std::path::{Path, PathBuf};

/// The file beside a database with this suffix added to its name.
pub(crate) fn companion(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory of a file.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A path, quoted for a shell if necessary.
pub(crate) fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%,".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_needs_it() {
        assert_eq!(shell_quoted(Path::new("/var/lib/queue.db-wal")), "/var/lib/queue.db-wal");
        assert_eq!(shell_quoted(Path::new("/a b/it's.db")), r"'/a b/it'\''s.db'");
    }
}
