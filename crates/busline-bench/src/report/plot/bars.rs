//! Bars from zero, with the range of the runs as error bars.

use super::axis::{Axis, short};
use super::frame::{Frame, INNER_WIDTH, at_share};
use crate::report::escaped::escaped;
use crate::report::look::Look;

/// A value with the range of the runs. Values are not negative.
#[derive(Debug, Clone)]
pub(in crate::report) struct Bar {
    /// Which series it is of, for its look.
    pub(in crate::report) series: usize,
    /// The name of that, which is shown with the numbers where a pointer rests on the bar.
    pub(in crate::report) name: String,
    pub(in crate::report) value: f64,
    pub(in crate::report) low: f64,
    pub(in crate::report) high: f64,
}

/// Bars that belong together.
#[derive(Debug, Clone)]
pub(in crate::report) struct Group {
    pub(in crate::report) label: String,
    pub(in crate::report) bars: Vec<Bar>,
}

/// Widest bar. Unit: that of the picture.
const BAR_MAX: f64 = 56.0;

/// Draws them; none without a bar.
pub(in crate::report) fn bars(title: &str, unit: &str, groups: &[Group]) -> Option<String> {
    let highest = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.high.max(bar.value));
    let highest = highest.fold(None, |highest: Option<f64>, value| Some(highest.map_or(value, |it| it.max(value))))?;
    let mut frame = Frame::new(title, Axis::linear(unit, [highest]));
    let slot = 1.0 / groups.len() as f64;
    for (at, group) in (0_u32..).zip(groups) {
        let middle = slot * (f64::from(at) + 0.5);
        frame.label(middle, &group.label);
        let width = (slot * INNER_WIDTH * 0.84 / group.bars.len().max(1) as f64).min(BAR_MAX);
        let first = at_share(middle) - width * group.bars.len() as f64 / 2.0;
        for (place, bar) in (0_u32..).zip(&group.bars) {
            draw(&mut frame, bar, first + width * f64::from(place), width * 0.9);
        }
    }
    frame.unit_below("level");
    Some(frame.end())
}

fn draw(frame: &mut Frame, bar: &Bar, x: f64, width: f64) {
    let (top, low, high) = (frame.at_y(bar.value), frame.at_y(bar.low), frame.at_y(bar.high));
    let (look, foot) = (Look::of(bar.series), frame.at_y(0.0));
    let (class, height) = (look.class(), foot - top);
    let told = escaped(&format!("{}: {} ({} to {})", bar.name, short(bar.value), short(bar.low), short(bar.high)));
    frame.add(&format!(
        r#"<rect class="mark {class}" x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}"><title>{told}</title></rect>"#
    ));
    let (middle, cap) = (x + width / 2.0, (width / 4.0).min(6.0));
    frame.add(&look.stripes(middle, foot, top, width));
    let (from, to) = (middle - cap, middle + cap);
    frame.add(&format!(
        r#"<path class="error" d="M{middle:.1} {low:.1}V{high:.1}M{from:.1} {low:.1}H{to:.1}M{from:.1} {high:.1}H{to:.1}"/>"#
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(series: usize, value: f64) -> Bar {
        Bar { series, name: "nats".into(), value, low: value / 2.0, high: value * 2.0 }
    }

    #[test]
    fn each_bar_has_its_series_its_range_and_its_numbers() {
        let groups = [
            Group { label: "low".into(), bars: vec![bar(0, 10.0), bar(1, 20.0)] },
            Group { label: "high".into(), bars: vec![bar(1, 30.0)] },
        ];
        let svg = bars("A", "ms", &groups).expect("bars");
        assert_eq!((svg.matches("<rect").count(), svg.matches("class=\"error\"").count()), (3, 3));
        assert_eq!(svg.matches("mark s1").count(), 2);
        assert!(
            !svg.contains("stripes") && svg.contains("nats: 30 (15 to 60)") && svg.contains(">high</text>"),
            "{svg}"
        );
    }

    #[test]
    fn a_bar_beyond_the_colours_has_stripes() {
        let groups = [Group { label: "low".into(), bars: vec![bar(0, 10.0), bar(8, 20.0)] }];
        let svg = bars("A", "ms", &groups).expect("bars");
        assert_eq!((svg.matches("mark s0").count(), svg.matches("stripes t1").count()), (2, 1), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_no_plot() {
        assert_eq!(bars("A", "ms", &[]), None);
        assert_eq!(bars("A", "ms", &[Group { label: "low".into(), bars: Vec::new() }]), None);
        assert!(
            bars("A", "ms", &[Group { label: "low".into(), bars: vec![bar(0, 0.0)] }]).is_some(),
            "zero is a value"
        );
    }
}
