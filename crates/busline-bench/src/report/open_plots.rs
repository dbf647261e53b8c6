//! The plots of an open load: over the rates, over the share of all latencies, and over time.

use super::figure::{Figure, Key, Sign};
use super::numbers::grouped;
use super::percentile_curve::{percentile_axes, percentile_curve};
use super::plot::{Axis, Curve, curves};
use crate::open_load::{OpenReport, Point, RateResult};

/// The buses, in the order of their first results.
fn buses(report: &OpenReport) -> Vec<&str> {
    let mut buses: Vec<&str> = Vec::new();
    for result in &report.results {
        if !buses.contains(&result.bus.as_str()) {
            buses.push(&result.bus);
        }
    }
    buses
}

/// What came of each rate: delivered, late, at what cost. A line for each bus.
pub(super) fn over_rates(report: &OpenReport) -> Vec<Figure> {
    let buses = buses(report);
    let lines = |of: fn(&RateResult) -> Option<f64>| -> Vec<Curve> {
        let line = |(series, bus): (usize, &&str)| {
            let of_bus = report.results.iter().filter(|result| result.bus == **bus);
            let mut points: Vec<(f64, f64)> =
                of_bus.filter_map(|result| Some((result.offered_per_s, of(result)?))).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            Curve { series: Some(series), is_dashed: false, has_dots: true, points }
        };
        buses.iter().enumerate().map(line).collect()
    };
    let keys: Vec<Key> = buses.iter().enumerate().map(|(series, bus)| line_key(series, bus)).collect();
    let delivered = against_rate("delivered at each rate", "envelopes in a second", lines(|it| it.delivered_per_s));
    let late = lines(|it| Some(it.due_to_handler_ms?.p99));
    let slo = report.slo_ms;
    let late = with_level("p99 at each rate", "ms", late, slo);
    let cost = against_rate("cost at each rate", "processor time of an envelope, µs", lines(|it| it.cpu_us));
    let note =
        format!("From the time an envelope was due to its handler. Dashed: what a rate must stay below, {slo} ms.");
    let whole = "Of this process, published and consumed; brokers not included.";
    let figures = [
        (delivered, "Envelopes that came to handlers, from the first due time to the last delivery.".to_string()),
        (late, note),
        (cost, whole.to_string()),
    ];
    let figure = |(plot, note): (Option<(String, String)>, String)| {
        let (title, plot) = plot?;
        Some(Figure { title, keys: keys.clone(), note, plot })
    };
    figures.into_iter().filter_map(figure).collect()
}

fn line_key(series: usize, label: &str) -> Key {
    Key { label: label.into(), sign: Sign::Curve(series) }
}

const RATE: &str = "offered, envelopes in a second";

/// A plot over the offered rate, with its title.
fn against_rate(title: &str, unit: &str, lines: Vec<Curve>) -> Option<(String, String)> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::logarithmic(RATE, points().map(|point| point.0));
    let y = Axis::linear(unit, points().map(|point| point.1));
    Some((title.into(), curves(title, &x, y, &lines)?))
}

/// The same on a logarithmic axis, with a level across.
fn with_level(title: &str, unit: &str, mut lines: Vec<Curve>, level: f64) -> Option<(String, String)> {
    let points: Vec<(f64, f64)> = lines.iter().flat_map(|line| line.points.clone()).collect();
    let ends = |of: fn(f64, f64) -> f64| points.iter().map(|point| point.0).reduce(of);
    let (first, last) = (ends(f64::min)?, ends(f64::max)?);
    let x = Axis::logarithmic(RATE, [first, last]);
    let y = Axis::logarithmic(unit, points.iter().map(|point| point.1).chain([level]));
    let across = vec![(x.lowest(), level), (x.highest(), level)];
    lines.push(Curve { series: None, is_dashed: true, has_dots: false, points: across });
    Some((title.into(), curves(title, &x, y, &lines)?))
}

/// Rates that one plot shows at most: more would hide each other.
const RATES_MAX: usize = 7;

/// The sound results of a bus, rising: all of few, else evenly chosen with the lowest and the highest.
fn chosen<'r>(report: &'r OpenReport, bus: &str) -> Vec<&'r RateResult> {
    let mut all: Vec<&RateResult> =
        report.results.iter().filter(|result| result.bus == bus && result.is_sound()).collect();
    all.sort_by(|one, other| one.offered_per_s.total_cmp(&other.offered_per_s));
    let count = all.len().min(RATES_MAX);
    (0..count).map(|at| all[if count == 1 { 0 } else { at * (all.len() - 1) / (count - 1) }]).collect()
}

fn rate_keys(results: &[&RateResult]) -> Vec<Key> {
    let label = |result: &RateResult| format!("{}/s", grouped(result.offered_per_s));
    results.iter().enumerate().map(|(series, result)| line_key(series, &label(result))).collect()
}

/// Latencies of a bus, a curve for each rate.
pub(super) fn percentiles(report: &OpenReport) -> Vec<Figure> {
    let figure = |bus: &str| {
        let results = chosen(report, bus);
        let curve = |(series, result): (usize, &&RateResult)| Curve {
            series: Some(series),
            is_dashed: false,
            has_dots: false,
            points: percentile_curve(&result.due_to_handler_ns),
        };
        let drawn: Vec<Curve> = results.iter().enumerate().map(curve).collect();
        let (x, y) = percentile_axes(drawn.iter().map(|curve| &curve.points));
        let title = format!("{bus}: latency at each rate");
        let plot = curves(&title, &x, y, &drawn)?;
        let note = "From the time an envelope was due to its handler, so what waits behind a stall is as late as it was \
                    for its user. Both axes are logarithmic, the lower one in the share that was slower.";
        Some(Figure { title, keys: rate_keys(&results), note: note.into(), plot })
    };
    buses(report).into_iter().filter_map(figure).collect()
}

/// A value of one look.
type Value = fn(&Point) -> f64;

const MEBIBYTE: f64 = (1 << 20) as f64;

const OVER_TIME: [(&str, &str, &str, Value); 4] = [
    ("memory", "MiB", "Resident, above that before the bus was opened.", |point| point.memory_bytes as f64 / MEBIBYTE),
    ("held memory", "MiB", "Allocated and not freed, above that before the bus was opened.", |point| {
        point.held_bytes as f64 / MEBIBYTE
    }),
    ("lag", "envelopes", "Accepted and not at a handler.", |point| point.lag as f64),
    ("throughput", "envelopes in a second", "Came to handlers since the look before.", |point| point.delivered_per_s),
];

/// Memory, lag and throughput of each bus over time, a line for each rate.
pub(super) fn over_time(report: &OpenReport) -> Vec<Figure> {
    let figure = |bus: &str, (what, unit, note, of): (&str, &str, &str, Value)| {
        let results = chosen(report, bus);
        let line = |(series, result): (usize, &&RateResult)| Curve {
            series: Some(series),
            is_dashed: false,
            has_dots: false,
            points: result.series.iter().map(|point| (point.at_s, of(point))).collect(),
        };
        let drawn: Vec<Curve> = results.iter().enumerate().map(line).collect();
        let points = || drawn.iter().flat_map(|curve| &curve.points);
        let (x, y) = (Axis::linear("seconds", points().map(|it| it.0)), Axis::linear(unit, points().map(|it| it.1)));
        let title = format!("{bus}: {what} over time");
        let plot = curves(&title, &x, y, &drawn)?;
        Some(Figure { title, keys: rate_keys(&results), note: note.into(), plot })
    };
    buses(report).into_iter().flat_map(|bus| OVER_TIME.map(|kind| figure(bus, kind))).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn of_many_rates_some_are_shown_and_the_lowest_and_the_highest_are_among_them() {
        let mut report = sample::open_load();
        let first = report.results[0].clone();
        report.results = (1..=20).rev().map(|n| RateResult { offered_per_s: f64::from(n), ..first.clone() }).collect();
        let rates: Vec<f64> = chosen(&report, "sqlite").iter().map(|result| result.offered_per_s).collect();
        assert_eq!(rates.len(), RATES_MAX);
        assert!(rates.is_sorted() && rates[0] == 1.0 && rates[RATES_MAX - 1] == 20.0, "{rates:?}");
        report.results.truncate(2);
        assert_eq!(chosen(&report, "sqlite").len(), 2);
        assert!(chosen(&report, "nats").is_empty());
    }

    #[test]
    fn the_service_level_lies_across_the_plot_of_p99() {
        let figures = over_rates(&sample::open_load());
        let late = figures.iter().find(|figure| figure.title == "p99 at each rate").expect("a plot");
        assert!(late.plot.contains("line across dashed") && late.note.contains("50 ms"), "{late:?}");
    }
}
