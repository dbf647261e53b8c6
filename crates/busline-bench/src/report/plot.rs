//! Plots as SVG text: no script, no font and no colour of their own, so that a page can style them for light and dark.

use std::fmt::Write;

/// A value with the range of the runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    /// Which bus, for its colour.
    pub(super) series: usize,
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Bars that belong together.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) label: String,
    pub(super) bars: Vec<Bar>,
}

/// A line of values, one over each label.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) series: usize,
    pub(super) values: Vec<f64>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;

/// Bars from zero, with the range of the runs as error bars. Values are not negative.
pub(super) fn bars(title: &str, groups: &[Group]) -> String {
    let highest = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.high.max(bar.value)).fold(0.0, f64::max);
    let axis = Axis::linear(highest);
    let mut svg = open(title, &axis);
    let slot = (WIDTH - LEFT - RIGHT) / groups.len().max(1) as f64;
    for (at, group) in groups.iter().enumerate() {
        let begin = LEFT + slot * at as f64;
        label(&mut svg, begin + slot / 2.0, &group.label);
        let width = slot * 0.8 / group.bars.len().max(1) as f64;
        for (place, bar) in group.bars.iter().enumerate() {
            draw_bar(&mut svg, &axis, bar, begin + slot * 0.1 + width * place as f64, width);
        }
    }
    svg + "</svg>"
}

fn draw_bar(svg: &mut String, axis: &Axis, bar: &Bar, x: f64, width: f64) {
    let (top, zero) = (axis.y(bar.value), axis.y(0.0));
    let (series, height, inner) = (bar.series, zero - top, width * 0.9);
    let _ = write!(svg, r#"<rect class="s{series}" x="{x:.1}" y="{top:.1}" width="{inner:.1}" height="{height:.1}"/>"#);
    let (middle, low, high, cap) = (x + inner / 2.0, axis.y(bar.low), axis.y(bar.high), (inner / 4.0).min(6.0));
    let (from, to) = (middle - cap, middle + cap);
    let _ = write!(
        svg,
        r#"<path class="error" d="M{middle:.1} {low:.1}V{high:.1}M{from:.1} {low:.1}H{to:.1}M{from:.1} {high:.1}H{to:.1}"/>"#
    );
}

/// Lines over these labels on a logarithmic axis. Values above zero; others are drawn at the axis' lowest.
pub(super) fn lines(title: &str, labels: &[&str], lines: &[Line]) -> String {
    let values = || lines.iter().flat_map(|line| &line.values).copied().filter(|value| *value > 0.0);
    let axis = Axis::logarithmic(values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let mut svg = open(title, &axis);
    let x = |at: usize| LEFT + (WIDTH - LEFT - RIGHT) * (at as f64 + 0.5) / labels.len().max(1) as f64;
    for (at, text) in labels.iter().enumerate() {
        label(&mut svg, x(at), text);
    }
    for line in lines {
        let series = line.series;
        let points = line.values.iter().enumerate().map(|(at, value)| format!("{:.1},{:.1} ", x(at), axis.y(*value)));
        let _ = write!(svg, r#"<polyline class="line s{series}" points="{}"/>"#, points.collect::<String>().trim_end());
        for (at, value) in line.values.iter().enumerate() {
            let _ = write!(svg, r#"<circle class="s{series}" cx="{:.1}" cy="{:.1}" r="4"/>"#, x(at), axis.y(*value));
        }
    }
    svg + "</svg>"
}

fn open(title: &str, axis: &Axis) -> String {
    let title = escaped(title);
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{title}</title>"#);
    let right = WIDTH - RIGHT;
    for tick in &axis.ticks {
        let (y, text) = (axis.y(*tick), short(*tick));
        let (end, middle) = (LEFT - 6.0, y + 4.0);
        let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/>"#);
        let _ = write!(svg, r#"<text x="{end}" y="{middle:.1}" text-anchor="end">{text}</text>"#);
    }
    svg
}

fn label(svg: &mut String, x: f64, text: &str) {
    let (y, text) = (HEIGHT - 10.0, escaped(text));
    let _ = write!(svg, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{text}</text>"#);
}

/// From values to heights.
struct Axis {
    ticks: Vec<f64>,
    lowest: f64,
    highest: f64,
    is_logarithmic: bool,
}

impl Axis {
    /// From 0 to a round number above this one.
    fn linear(highest: f64) -> Self {
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let magnitude = 10_f64.powf((highest / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude).into_iter().find(|step| step * 4.0 >= highest);
        let step = step.unwrap_or(highest / 4.0);
        let ticks: Vec<f64> = (0..=(highest / step).ceil() as u32).map(|tick| f64::from(tick) * step).collect();
        Self { lowest: 0.0, highest: ticks.last().copied().unwrap_or(highest), ticks, is_logarithmic: false }
    }

    /// From a power of 10 to another one, around these.
    fn logarithmic(lowest: f64, highest: f64) -> Self {
        let (lowest, highest) = if lowest <= highest { (lowest, highest) } else { (0.1, 10.0) };
        let first = lowest.log10().floor() as i32;
        let last = (highest.log10().ceil() as i32).max(first + 1);
        let ticks = (first..=last).map(|power| 10_f64.powi(power)).collect();
        Self { ticks, lowest: 10_f64.powi(first), highest: 10_f64.powi(last), is_logarithmic: true }
    }

    fn y(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(self.lowest) / self.lowest).log10() / (self.highest / self.lowest).log10()
        } else {
            value.max(0.0) / self.highest
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// A tick in a few characters.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        value if value >= 1e3 => format!("{} k", trimmed(value / 1e3)),
        value => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Text for HTML and SVG, in elements and in attributes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_end_where_their_values_are() {
        let axis = Axis::linear(930.0);
        assert_eq!((axis.ticks.as_slice(), axis.highest), ([0.0, 500.0, 1_000.0].as_slice(), 1_000.0));
        assert_eq!(axis.y(0.0), HEIGHT - BOTTOM);
        assert_eq!(axis.y(1_000.0), TOP);
        assert_eq!(Axis::linear(0.0).highest, 1.0);
    }

    #[test]
    fn each_power_of_ten_has_the_same_height() {
        let axis = Axis::logarithmic(0.3, 42.0);
        assert_eq!(axis.ticks, [0.1, 1.0, 10.0, 100.0]);
        let (first, second) = (axis.y(0.1) - axis.y(1.0), axis.y(10.0) - axis.y(100.0));
        assert!((first - second).abs() < 1e-9);
        assert_eq!(axis.y(0.0), axis.y(0.1), "nothing falls out of the plot");
        assert_eq!(Axis::logarithmic(f64::INFINITY, 0.0).ticks, [0.1, 1.0, 10.0]);
    }

    #[test]
    fn ticks_are_short() {
        for (value, wanted) in [(0.001, "0.001"), (0.0, "0"), (500.0, "500"), (2_500.0, "2.5 k"), (1e6, "1 M")] {
            assert_eq!(short(value), wanted);
        }
    }
}
