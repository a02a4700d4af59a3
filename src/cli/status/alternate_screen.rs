//! The terminal's alternate screen, redrawn in place. Leaving it restores the previous contents.

use std::io::{self, IsTerminal as _, Write};

/// Switch to the alternate screen and hide the cursor; and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// How many columns and rows a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The size of standard output's terminal; none if it isn't a terminal.
pub(super) fn size() -> Option<Size> {
    let out = io::stdout();
    let found = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out))?;
    // A terminal that doesn't know its size gets the usual one.
    let found = found.ok().filter(|found| found.ws_col > 0 && found.ws_row > 0);
    let known = found.map(|found| Size { columns: usize::from(found.ws_col), rows: usize::from(found.ws_row) });
    Some(known.unwrap_or(Size { columns: 80, rows: 24 }))
}

/// The alternate screen. Dropping it restores the previous contents of the terminal.
pub(super) struct AlternateScreen(());

impl AlternateScreen {
    pub(super) fn enter() -> io::Result<Self> {
        write!(io::stdout(), "{ENTER}")?;
        Ok(Self(()))
    }

    /// Shows only these lines.
    pub(super) fn show(&self, lines: &[String], size: Size) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(frame(lines, size).as_bytes())?;
        out.flush()
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        let mut out = io::stdout();
        // If the terminal is gone, there is nothing to restore.
        write!(out, "{LEAVE}").and_then(|()| out.flush()).unwrap_or_default();
    }
}

/// Overwrites the previous frame line by line, and clears the rest, so that nothing flickers.
fn frame(lines: &[String], size: Size) -> String {
    let fits = lines.len() <= size.rows;
    let room = if fits { lines.len() } else { size.rows.saturating_sub(1) };
    let hidden = format!("… {} more lines", lines.len() - room);
    let rows = lines.iter().take(room).chain((!fits).then_some(&hidden));
    let rows: Vec<String> = rows.map(|line| format!("{line}\u{1b}[K")).collect();
    format!("\u{1b}[H{}\u{1b}[J", rows.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("line {number}")).collect()
    }

    #[test]
    fn a_frame_overwrites_the_previous_one_and_clears_the_rest() {
        let size = Size { columns: 80, rows: 24 };
        assert_eq!(frame(&lines(2), size), "\u{1b}[Hline 1\u{1b}[K\r\nline 2\u{1b}[K\u{1b}[J");
    }

    #[test]
    fn a_frame_fits_the_terminal_and_counts_the_lines_it_hides() {
        let frame = |rows| frame(&lines(5), Size { columns: 80, rows });
        assert_eq!(frame(5).matches("\r\n").count(), 4);
        assert_eq!(frame(3), "\u{1b}[Hline 1\u{1b}[K\r\nline 2\u{1b}[K\r\n… 3 more lines\u{1b}[K\u{1b}[J");
        assert_eq!(frame(1), "\u{1b}[H… 5 more lines\u{1b}[K\u{1b}[J");
    }
}
