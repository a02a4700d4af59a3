//! The tokens of a schema statement, normalized so that statements with the same meaning are equal: SQLite stores the text as
//! it was written, and quotes names when it renames.

use std::ops::Range;

/// A token and its position.
#[derive(Debug)]
struct Token {
    text: String,
    at: Range<usize>,
}

/// The tokens of a statement, without whitespace, comments and quotes around names, and in lower case outside of strings.
pub(super) fn tokens(statement: &str) -> Vec<String> {
    split(statement).into_iter().map(|token| token.text).collect()
}

/// What a CREATE TABLE defines.
#[derive(Debug, Default)]
pub(super) struct Definition<'a> {
    /// The columns and the constraints.
    pub(super) parts: Vec<Part<'a>>,
    /// The end of the last of them, after any comments.
    pub(super) end: usize,
    /// WITHOUT ROWID, STRICT.
    pub(super) options: Vec<String>,
}

impl Definition<'_> {
    /// The names of the columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(Part::column)
    }
}

/// A column or a constraint of a table.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) tokens: Vec<String>,
    /// As it was written.
    pub(super) text: &'a str,
}

impl Part<'_> {
    /// The column's name; none if it is a constraint of the table.
    pub(super) fn column(&self) -> Option<&str> {
        const CONSTRAINTS: [&str; 5] = ["constraint", "primary", "unique", "check", "foreign"];
        let first = self.tokens.first()?;
        let quoted = self.text.starts_with(['"', '[', '`']);
        (quoted || !CONSTRAINTS.contains(&first.as_str())).then_some(first)
    }
}

/// Parses a CREATE TABLE.
pub(super) fn definition(statement: &str) -> Definition<'_> {
    let tokens = split(statement);
    let mut definition = Definition::default();
    let (mut depth, mut begin) = (0_usize, 0);
    for (index, token) in tokens.iter().enumerate() {
        let outer = depth;
        match token.text.as_str() {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_last = (outer, depth) == (1, 0);
        if is_last || depth == 1 && token.text == "," {
            definition.parts.extend(part(statement, tokens.get(begin..index).unwrap_or_default()));
        }
        if is_last {
            definition.end = token.at.start;
            definition.options = tokens.iter().skip(index + 1).map(|token| token.text.clone()).collect();
            break;
        }
        if (outer, depth) == (0, 1) || depth == 1 && token.text == "," {
            begin = index + 1;
        }
    }
    definition
}

fn part<'a>(statement: &'a str, tokens: &[Token]) -> Option<Part<'a>> {
    let at = tokens.first()?.at.start..tokens.last()?.at.end;
    Some(Part { tokens: tokens.iter().map(|token| token.text.clone()).collect(), text: statement.get(at)? })
}

fn split(statement: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = statement.get(at..).filter(|rest| !rest.is_empty()) {
        let (length, text) = next(rest);
        tokens.extend(text.map(|text| Token { text, at: at..at + length }));
        at += length;
    }
    tokens
}

/// The length of the first token, and its text; none for whitespace or a comment.
fn next(rest: &str) -> (usize, Option<String>) {
    let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$') || !letter.is_ascii();
    let first = rest.chars().next().unwrap_or_default();
    let until = |end: &str| rest.find(end).map_or(rest.len(), |at| at + end.len());
    match first {
        _ if rest.starts_with("--") => (until("\n"), None),
        _ if rest.starts_with("/*") => (until("*/"), None),
        _ if first.is_whitespace() => (first.len_utf8(), None),
        '\'' => {
            let length = quoted(rest, '\'');
            (length, rest.get(..length).map(str::to_owned))
        }
        '"' | '`' => {
            let length = quoted(rest, first);
            let inner = rest.get(1..length.saturating_sub(1).max(1)).unwrap_or_default();
            (length, Some(inner.replace(&format!("{first}{first}"), &first.to_string()).to_lowercase()))
        }
        '[' => {
            let length = until("]");
            (length, rest.get(1..length.saturating_sub(1).max(1)).map(str::to_lowercase))
        }
        _ if is_name(first) => {
            let length = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
            (length, rest.get(..length).map(str::to_lowercase))
        }
        _ => (first.len_utf8(), Some(first.to_string())),
    }
}

/// The length of a quoted token; a quote in it is doubled.
fn quoted(rest: &str, quote: char) -> usize {
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_sqlite_or_a_tool_rewrote_equals_the_original() {
        let written = "CREATE TRIGGER a BEFORE INSERT ON submissions BEGIN -- a comment\n  SELECT RAISE(ABORT, 'It''s  so') WHERE NEW.x<>1; END";
        let rewritten = "create trigger \"a\" before insert on [submissions] begin /* other */ select raise(ABORT,'It''s  so')\nwhere `new`.X <> 1;END";
        assert_eq!(tokens(written), tokens(rewritten));
    }

    #[test]
    fn statements_that_differ_in_a_string_a_name_or_an_operator_are_not_equal() {
        let statement = tokens("SELECT 'a' WHERE x <> 1");
        for other in ["SELECT 'A' WHERE x <> 1", "SELECT 'a' WHERE y <> 1", "SELECT 'a' WHERE x = 1", "SELECT 'a'"] {
            assert_ne!(tokens(other), statement, "{other}");
        }
    }

    #[test]
    fn a_table_has_its_columns_its_constraints_and_its_options() {
        let table = "CREATE TABLE t ( -- one\n id INTEGER PRIMARY KEY CHECK (id IN (1, 2)), -- two\n \"check\" TEXT DEFAULT 'a,)', UNIQUE (id) ) WITHOUT ROWID";
        let Definition { parts, end, options } = definition(table);
        let columns: Vec<Option<&str>> = parts.iter().map(Part::column).collect();
        assert_eq!(columns, [Some("id"), Some("check"), None]);
        assert_eq!(parts[1].text, "\"check\" TEXT DEFAULT 'a,)'");
        assert_eq!(&table[end..], ") WITHOUT ROWID");
        assert_eq!(options, ["without", "rowid"]);
    }

    #[test]
    fn an_unclosed_token_ends_with_the_text() {
        for text in ["'a", "\"a", "[a", "/* a", "-- a", "`"] {
            assert!(tokens(text).len() <= 1, "{text}");
            assert!(definition(&format!("CREATE TABLE t (a, {text}")).parts.len() <= 1, "{text}");
        }
    }
}
