//! The picture around a plot: its ground, grid, labels and units.

use std::fmt::Write;

use super::axis::Axis;
use crate::report::escaped::escaped;

/// Size of the picture. Narrow, because a phone shows it at this size: a wider one would be shrunk, and its text with it.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 280.0;

const LEFT: f64 = 48.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 46.0;

/// Width of what is plotted.
pub(super) const INNER_WIDTH: f64 = WIDTH - LEFT - RIGHT;

/// A plot that is being drawn.
pub(super) struct Frame {
    svg: String,
    y: Axis,
}

impl Frame {
    /// The ground with the grid and the labels of the values.
    pub(super) fn new(title: &str, y: Axis) -> Self {
        let mut svg =
            format!(r#"<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{}</title>"#, escaped(title));
        let _ = write!(svg, r#"<text class="unit" x="4" y="14">{}</text>"#, escaped(&y.unit));
        let mut frame = Self { svg, y };
        for tick in frame.y.ticks.clone() {
            let at = frame.at_y(tick.value);
            let (right, end, middle) = (WIDTH - RIGHT, LEFT - 6.0, at + 4.0);
            frame.add(&format!(r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/>"#));
            frame.add(&format!(r#"<text x="{end}" y="{middle:.1}" text-anchor="end">{}</text>"#, tick.label));
        }
        frame
    }

    /// A label below, this far along.
    pub(super) fn label(&mut self, share: f64, text: &str) {
        let (x, y) = (at_share(share), HEIGHT - BOTTOM + 20.0);
        // At the right end there is no room for the second half of it.
        let anchor = if share > 0.97 { "end" } else { "middle" };
        let text = escaped(text);
        self.add(&format!(r#"<text x="{x:.1}" y="{y}" text-anchor="{anchor}">{text}</text>"#));
    }

    /// What the labels below are of.
    pub(super) fn unit_below(&mut self, text: &str) {
        let (x, y) = (LEFT + INNER_WIDTH / 2.0, HEIGHT - 6.0);
        let text = escaped(text);
        self.add(&format!(r#"<text class="unit" x="{x}" y="{y}" text-anchor="middle">{text}</text>"#));
    }

    /// The ticks and the unit of an axis below.
    pub(super) fn axis_below(&mut self, x: &Axis) {
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        for tick in &x.ticks {
            let share = x.share(tick.value);
            let at = at_share(share);
            self.add(&format!(r#"<path class="grid" d="M{at:.1} {top}V{bottom}"/>"#));
            self.label(share, &tick.label);
        }
        self.unit_below(&x.unit);
    }

    /// Height of a value. Unit: that of the picture, from its top.
    pub(super) fn at_y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    pub(super) fn add(&mut self, element: &str) {
        self.svg += element;
    }

    pub(super) fn end(self) -> String {
        self.svg + "</svg>"
    }
}

/// How far from the left something lies that is this far along.
pub(super) fn at_share(share: f64) -> f64 {
    LEFT + share * INNER_WIDTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_between_the_lowest_and_the_highest_tick() {
        let frame = Frame::new("A", Axis::linear("ms", [930.0]));
        assert_eq!((frame.at_y(0.0), frame.at_y(1_000.0)), (HEIGHT - BOTTOM, TOP));
        assert_eq!((at_share(0.0), at_share(1.0)), (LEFT, WIDTH - RIGHT));
    }

    #[test]
    fn titles_and_units_are_escaped() {
        let mut frame = Frame::new("a < b", Axis::linear("µs & more", [1.0]));
        frame.axis_below(&Axis::nines("\"%\"", 2.0));
        let svg = frame.end();
        for part in ["a &lt; b", "µs &amp; more", "&quot;%&quot;"] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
    }
}
