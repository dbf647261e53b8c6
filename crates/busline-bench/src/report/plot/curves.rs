//! Lines over a number: time, a rate, or the share of all latencies.

use std::fmt::Write;

use super::axis::Axis;
use super::frame::{Frame, at_share};
use crate::report::look::Look;

/// A line.
#[derive(Debug, Clone)]
pub(in crate::report) struct Curve {
    /// Which series it is of, for its look; none is a level across the plot.
    pub(in crate::report) series: Option<usize>,
    /// Told from another one of its series by dashes.
    pub(in crate::report) is_dashed: bool,
    /// Whether each point has a dot: it was measured, and what lies between was not.
    pub(in crate::report) has_dots: bool,
    pub(in crate::report) points: Vec<(f64, f64)>,
}

/// Draws them; none without a point.
pub(in crate::report) fn curves(title: &str, x: &Axis, y: Axis, curves: &[Curve]) -> Option<String> {
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return None;
    }
    let mut frame = Frame::new(title, y);
    frame.axis_below(x);
    for curve in curves {
        draw(&mut frame, x, curve);
    }
    Some(frame.end())
}

fn draw(frame: &mut Frame, x: &Axis, curve: &Curve) {
    let Curve { series, is_dashed, has_dots, points } = curve;
    let places: Vec<(f64, f64)> =
        points.iter().map(|(at, value)| (at_share(x.share(*at)), frame.at_y(*value))).collect();
    let dashed = if *is_dashed { " dashed" } else { "" };
    let path = places.iter().fold(String::new(), |mut path, (x, y)| {
        let _ = write!(path, "{x:.1},{y:.1} ");
        path
    });
    let look = series.map(Look::of);
    let class = look.map_or("across".into(), Look::class);
    frame.add(&format!(r#"<polyline class="mark line {class}{dashed}" points="{}"/>"#, path.trim_end()));
    let Some(look) = look else { return };
    // A line of one point would be nothing to see.
    let step = if *has_dots || places.len() == 1 { 1 } else { SHAPE_EVERY };
    if step == 1 || look.has_shapes() {
        places.iter().step_by(step).for_each(|(x, y)| frame.add(&look.shape(*x, *y)));
    }
}

/// Points from one shape of a line to the next.
const SHAPE_EVERY: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(series: usize, points: &[(f64, f64)]) -> Curve {
        Curve { series: Some(series), is_dashed: series == 1, has_dots: false, points: points.to_vec() }
    }

    #[test]
    fn lines_have_their_series_and_a_single_point_is_a_dot() {
        let (x, y) = (Axis::linear("s", [10.0]), Axis::logarithmic("ms", [1.0, 10.0]));
        let svg = curves("A", &x, y, &[curve(0, &[(0.0, 1.0), (10.0, 10.0)]), curve(1, &[(5.0, 3.0)])]).expect("lines");
        assert!(svg.contains(r#"<polyline class="mark line s0" points="48.0,234.0 386.0,30.0"/>"#), "{svg}");
        assert!(svg.contains("line s1 dashed") && svg.matches("<circle").count() == 1, "{svg}");
    }

    #[test]
    fn a_line_beyond_the_colours_has_shapes_and_a_level_has_no_look() {
        let (x, y) = (Axis::linear("s", [30.0]), Axis::linear("ms", [9.0]));
        let points: Vec<(f64, f64)> = (0..30).map(|at| (f64::from(at), 5.0)).collect();
        let level = Curve { series: None, ..curve(1, &points) };
        let svg = curves("A", &x, y, &[curve(8, &points), level]).expect("lines");
        assert_eq!(svg.matches(r#"<path class="mark s0" d="M"#).count(), 3, "{svg}");
        assert!(svg.contains(r#"class="mark line across dashed""#), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_no_plot() {
        let axis = Axis::linear("s", [1.0]);
        assert_eq!(curves("A", &axis, axis.clone(), &[curve(0, &[])]), None);
        assert_eq!(curves("A", &axis, axis.clone(), &[]), None);
    }
}
