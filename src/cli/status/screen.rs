//! A terminal whose contents are renewed in place, and given back as they were.

use std::io::{self, IsTerminal as _, Write};

/// The other screen, without a cursor; and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// How many columns and rows a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The size of standard output; none if that is no terminal.
pub(super) fn size() -> Option<Size> {
    let out = io::stdout();
    let found = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out))?;
    // One that doesn't know its size has the usual one.
    let found = found.ok().filter(|found| found.ws_col > 0 && found.ws_row > 0);
    let known = found.map(|found| Size { columns: usize::from(found.ws_col), rows: usize::from(found.ws_row) });
    Some(known.unwrap_or(Size { columns: 80, rows: 24 }))
}

/// The screen. What was on the terminal comes back with its end.
pub(super) struct Screen(());

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        write!(io::stdout(), "{ENTER}")?;
        Ok(Self(()))
    }

    /// Shows these lines, and nothing else.
    pub(super) fn show(&self, lines: &[String], size: Size) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(frame(lines, size).as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout();
        // With the terminal gone, there is nothing to give back.
        write!(out, "{LEAVE}").and_then(|()| out.flush()).unwrap_or_default();
    }
}

/// Writes over what is there, a line at a time, and clears what is left, so that nothing flickers.
fn frame(lines: &[String], size: Size) -> String {
    let fits = lines.len() <= size.rows;
    let room = if fits { lines.len() } else { size.rows.saturating_sub(1) };
    let hidden = format!("… {} more lines", lines.len() - room);
    let shown = lines.iter().take(room).chain((!fits).then_some(&hidden));
    let shown: Vec<String> = shown.map(|line| format!("{line}\u{1b}[K")).collect();
    format!("\u{1b}[H{}\u{1b}[J", shown.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("line {number}")).collect()
    }

    #[test]
    fn a_frame_writes_over_the_last_one_and_clears_what_is_left_of_it() {
        let size = Size { columns: 80, rows: 24 };
        assert_eq!(frame(&lines(2), size), "\u{1b}[Hline 1\u{1b}[K\r\nline 2\u{1b}[K\u{1b}[J");
    }

    #[test]
    fn a_frame_is_no_higher_than_the_terminal_and_says_what_it_leaves_out() {
        let frame = |rows| frame(&lines(5), Size { columns: 80, rows });
        assert_eq!(frame(5).matches("\r\n").count(), 4);
        assert_eq!(frame(3), "\u{1b}[Hline 1\u{1b}[K\r\nline 2\u{1b}[K\r\n… 3 more lines\u{1b}[K\u{1b}[J");
        assert_eq!(frame(1), "\u{1b}[H… 5 more lines\u{1b}[K\u{1b}[J");
    }
}
