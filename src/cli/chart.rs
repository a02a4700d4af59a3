//! A text chart of requests per second.

use std::fmt::Write as _;

/// The width of the longest bar, in characters.
const WIDTH: usize = 40;
/// A longer chart is truncated to this many lines.
const MAX_LINES: usize = 60;

/// One line for each second: its number, a bar with a mark at the cap, its count.
pub(super) fn chart(per_second: &[usize], cap: usize) -> String {
    let max = per_second.iter().copied().max().unwrap_or(0).max(cap).max(1);
    let scale = |count: usize| count * WIDTH / max;
    let mut text = String::new();
    for (second, count) in per_second.iter().take(MAX_LINES).enumerate() {
        let bar: String = (0..WIDTH)
            .map(|column| match (column < scale(*count), column + 1 == scale(cap)) {
                (true, _) => '█',
                (false, true) => '|',
                (false, false) => ' ',
            })
            .collect();
        // Writing to a String can't fail.
        writeln!(text, "{second:>4} s  {bar} {count:>3}").unwrap_or_default();
    }
    if per_second.len() > MAX_LINES {
        writeln!(text, "… and {} more seconds", per_second.len() - MAX_LINES).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_shows_each_second_against_the_cap() {
        let text = chart(&[20, 10, 0], 20);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("   0 s  {}  20", "█".repeat(40)));
        assert_eq!(lines[1], format!("   1 s  {}{}|  10", "█".repeat(20), " ".repeat(19)));
        assert_eq!(lines[2], format!("   2 s  {}|   0", " ".repeat(39)));
    }
}
