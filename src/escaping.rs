//! Makes untrusted text safe to show: it stays on its line, can't control a terminal, and can't pass for other text.

use std::fmt::{self, Write};

/// Whether a character is unsafe to show: a control character, a line or paragraph separator, or one that reorders or hides
/// the text around it.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Untrusted text for one line: unsafe characters are escaped, and after `max` characters it ends with …
#[must_use]
pub fn printable(text: &str, max: usize) -> String {
    let mut safe = String::with_capacity(text.len().min(max));
    let mut room = max;
    for character in text.chars() {
        let escape = is_unsafe(character).then(|| character.escape_default());
        let Some(left) = room.checked_sub(escape.as_ref().map_or(1, ExactSizeIterator::len)) else {
            safe.push('…');
            break;
        };
        room = left;
        match escape {
            Some(escape) => safe.extend(escape),
            None => safe.push(character),
        }
    }
    safe
}

/// Writes text, with `escape` in place of each character that needs it.
fn write_escaped<W: Write>(
    out: &mut W,
    text: &str,
    needs_escape: impl Fn(char) -> bool,
    escape: impl Fn(&mut W, char) -> fmt::Result,
) -> fmt::Result {
    // Almost all text is plain ASCII; checking bytes is faster than checking characters.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return out.write_str(text);
    }
    let mut rest = text;
    while let Some((at, character)) = rest.char_indices().find(|(_, character)| needs_escape(*character)) {
        out.write_str(&rest[..at])?;
        escape(out, character)?;
        rest = &rest[at + character.len_utf8()..];
    }
    out.write_str(rest)
}

/// Writes text with its unsafe characters escaped as in Rust.
pub(crate) struct Escaping<'a, W>(pub(crate) &'a mut W);

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(self.0, text, is_unsafe, |out, character| write!(out, "{}", character.escape_default()))
    }
}

/// Writes JSON with its unsafe characters, which occur only in strings, escaped as in JSON.
pub(crate) struct EscapingJson<'a, W>(pub(crate) &'a mut W);

impl<W: Write> Write for EscapingJson<'_, W> {
    fn write_str(&mut self, json: &str) -> fmt::Result {
        let needs_escape = |character| character != '\n' && is_unsafe(character);
        // All of them are in the Basic Multilingual Plane, where one escape is enough.
        write_escaped(self.0, json, needs_escape, |out, character| write!(out, "\\u{:04x}", u32::from(character)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_escaped_and_truncated() {
        assert_eq!(printable("\u{1b}[31mred\n\u{202e}back", 100), r"\u{1b}[31mred\n\u{202e}back");
        assert_eq!(printable(&"x".repeat(1000), 10), "xxxxxxxxxx…");
        assert_eq!(printable("xxxxxxxx\u{1b}", 10), "xxxxxxxx…", "an escape is not split");
        assert_eq!(printable("é🙂", 2), "é🙂");
    }

    #[test]
    fn exactly_the_unsafe_characters_are_escaped() {
        for character in ('\0'..='\u{ff}').chain(['\u{202e}', '\u{feff}', '🙂']) {
            let (mut text, mut json) = (String::new(), String::new());
            write!(Escaping(&mut text), "{character}").unwrap();
            write!(EscapingJson(&mut json), "{character}").unwrap();
            assert_eq!(text == character.to_string(), !is_unsafe(character), "{character:?}: {text}");
            let breaks_lines = character == '\n';
            assert_eq!(json == character.to_string(), breaks_lines || !is_unsafe(character), "{character:?}: {json}");
        }
    }

    proptest! {
        #[test]
        fn printable_text_is_safe_and_not_too_long(text in "\\PC{0,5}\\p{C}{0,5}.{0,20}", max in 0usize..30) {
            let safe = printable(&text, max);
            prop_assert!(!safe.chars().any(is_unsafe), "{safe:?}");
            prop_assert!(safe.chars().count() <= max + 1, "{safe:?}");
        }

        #[test]
        fn escaped_json_parses_to_the_same_value(text in "\\PC{0,5}\\p{C}{0,5}.{0,20}") {
            let json = serde_json::json!({ "text": text });
            let mut safe = String::new();
            write!(EscapingJson(&mut safe), "{json}").unwrap();
            prop_assert!(!safe.chars().any(is_unsafe), "{safe:?}");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), json);
        }
    }
}
