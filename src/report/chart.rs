//! The charts of the page, as SVG. Colors and text sizes are those of the page's style sheet, by classes that the page gives them.

use std::collections::BTreeMap;

use plotters::prelude::*;

use super::summary::{STEP_SECONDS, Summary};
use crate::clock::UnixMillis;

const SIZE: (u32, u32) = (720, 240);
const COMMITS: RGBColor = RGBColor(37, 99, 235);
const LIMIT: RGBColor = RGBColor(185, 28, 28);
/// At most so many bars: steps are put together beyond that.
const MAX_BARS: i64 = 240;
const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// Commits per second over time, against the limit. None: none was sent.
pub(super) fn commits_over_time(summary: &Summary) -> Option<String> {
    let (first, last) = (*summary.per_step.first_key_value()?.0, *summary.per_step.last_key_value()?.0);
    let width = (last - first + 1).div_euclid(MAX_BARS) + 1;
    let mut bars: BTreeMap<i64, u64> = BTreeMap::new();
    for (step, count) in &summary.per_step {
        *bars.entry((step - first) / width).or_default() += count;
    }
    let seconds = number(width * STEP_SECONDS);
    let per_second = |count: u64| number(i64::try_from(count).unwrap_or(i64::MAX)) / seconds;
    let limit = f64::from(summary.cap);
    let highest = bars.values().copied().map(per_second).fold(limit, f64::max) * 1.1;
    let end = (last - first) / width + 1;
    let time = |bar: &i64| label((first + bar * width) * STEP_SECONDS, (last - first) * STEP_SECONDS >= SECONDS_A_DAY);
    let mut svg = String::new();
    draw(
        &mut svg,
        0..end,
        highest,
        &bars.into_iter().map(|(bar, count)| (bar, per_second(count))).collect::<Vec<_>>(),
        limit,
        &time,
    )
    .ok()?;
    Some(svg)
}

fn draw(
    svg: &mut String,
    bars: std::ops::Range<i64>,
    highest: f64,
    values: &[(i64, f64)],
    limit: f64,
    time: &dyn Fn(&i64) -> String,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(56)
        .x_label_area_size(28)
        .y_label_area_size(44)
        .build_cartesian_2d(bars.clone(), 0.0..highest)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(time)
        .y_label_formatter(&|value| format!("{value:.0}/s"))
        .draw()?;
    let bar = |(at, value): &(i64, f64)| Rectangle::new([(*at, 0.0), (at + 1, *value)], COMMITS.filled());
    chart.draw_series(values.iter().map(bar))?;
    chart.draw_series(LineSeries::new([(bars.start, limit), (bars.end, limit)], LIMIT.stroke_width(2)))?;
    area.present()
}

/// The time of a bar: with the date, if the chart spans days.
fn label(seconds: i64, with_date: bool) -> String {
    let text = UnixMillis::of_seconds(seconds).to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.trim_end_matches('Z');
    if with_date { format!("{date} {}", time.get(..5).unwrap_or(time)) } else { time.to_owned() }
}

fn number(number: i64) -> f64 {
    f64::from(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_drawn_against_the_limit_and_nothing_is_drawn_without_any() {
        let mut summary = Summary { cap: 20, ..Summary::default() };
        assert_eq!(commits_over_time(&summary), None);
        summary.per_step = BTreeMap::from([(170_000_000, 195), (170_000_007, 100)]);
        let svg = commits_over_time(&summary).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(svg.matches("#2563EB").count(), 2, "a bar for each step with commits");
        assert_eq!(svg.matches("#B91C1C").count(), 1, "the limit");
    }

    #[test]
    fn a_campaign_of_months_has_few_bars() {
        let per_step = (0..500_000).step_by(100).map(|step| (step, 1)).collect();
        let svg = commits_over_time(&Summary { cap: 20, per_step, ..Summary::default() }).unwrap();
        assert!(svg.matches("#2563EB").count() <= 240);
    }
}
