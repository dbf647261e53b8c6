//! The plots of bursts: speeds, latencies, memory and costs, each over all levels of a mode or for one load.

use super::figure::{Figure, Key, Sign};
use super::numbers::grouped;
use super::percentile_curve::{percentile_axes, percentile_curve};
use super::plot::{Axis, Curve, Group, bars, curves};
use super::series::Series;
use crate::buckets::Buckets;
use crate::result::RunResult;
use crate::side_by_side::Speed;
use crate::workload::{Level, Mode};

/// Bytes of a mebibyte.
const MEBIBYTE: f64 = (1 << 20) as f64;

const SPEED: &str = "Median of the runs; the line spans the slowest and the fastest one.";
const RANGE: &str = "Median of the runs; the line spans the lowest and the highest one.";

/// How fast each bus was, for each mode and speed.
pub(super) fn throughput(series: &Series<'_>) -> Vec<Figure> {
    let figure = |mode: Mode, speed: Speed| {
        let what = match speed {
            Speed::Acked => "acked",
            Speed::Consumed => "consumed",
            Speed::Followed => "both at once",
        };
        let groups = series.groups(mode, |run| speed.of(run));
        over_levels(&format!("{mode}: {what}"), "envelopes in a second", SPEED, series, &groups)
    };
    Mode::ALL.into_iter().flat_map(|mode| Speed::ALL.map(|speed| figure(mode, speed))).flatten().collect()
}

/// What an envelope costs of processor time, for each mode.
pub(super) fn costs(series: &Series<'_>) -> Vec<Figure> {
    type Cost = fn(&RunResult) -> Option<f64>;
    let costs: [(&str, Cost); 2] = [
        ("publishing an envelope", |run| run.client_cpu_us.filter(|_| run.is_sound())),
        ("consuming an envelope", |run| run.consume_cpu_us.filter(|_| run.is_sound())),
    ];
    let note = format!("Of this process, brokers not included. {RANGE}");
    let figure = |mode: Mode, (what, cost): (&str, Cost)| {
        over_levels(&format!("{mode}: {what}"), "processor time, µs", &note, series, &series.groups(mode, cost))
    };
    Mode::ALL.into_iter().flat_map(|mode| costs.map(|cost| figure(mode, cost))).flatten().collect()
}

/// Bars over the levels of a mode.
pub(super) fn over_levels(
    title: &str,
    unit: &str,
    note: &str,
    series: &Series<'_>,
    groups: &[Group],
) -> Option<Figure> {
    let plot = bars(title, unit, groups)?;
    Some(Figure { title: title.into(), keys: series.keys(Sign::Bar), note: note.into(), plot })
}

/// The latencies of each load as curves.
pub(super) fn latencies(series: &Series<'_>) -> Vec<Figure> {
    const BOTH: [Latency; 2] = [
        Latency { to: "to the ack", sign: Sign::Line, of: |run| &run.histograms.publish_to_ack_ns },
        Latency { to: "to the handler", sign: Sign::Dashes, of: |run| &run.histograms.publish_to_handler_ns },
    ];
    loads().filter_map(|load| latencies_of(series, load, "", &BOTH)).collect()
}

/// The latencies to the ack of each load that several series have runs of, for the bus that all of them are of.
pub(super) fn latencies_to_ack(bus: &str, series: &Series<'_>) -> Vec<Figure> {
    const TO_ACK: [Latency; 1] =
        [Latency { to: "to the ack", sign: Sign::Line, of: |run| &run.histograms.publish_to_ack_ns }];
    let of = |load| latencies_of(series, load, &format!("{bus} "), &TO_ACK);
    loads().filter(|load| series.is_shared(*load)).filter_map(of).collect()
}

fn loads() -> impl Iterator<Item = (Level, Mode)> {
    Mode::ALL.into_iter().flat_map(|mode| Level::ALL.map(|level| (level, mode)))
}

const LATENCY: &str = "All runs together, from the start of the burst, at which all of it is due: the time that the \
                       burst itself takes is in it. Both axes are logarithmic, the lower one in the share that was \
                       slower.";

/// A kind of latency: where it ends, how its curves are drawn, and what was taken down of it.
struct Latency {
    to: &'static str,
    sign: Sign,
    of: fn(&RunResult) -> &Buckets,
}

fn latencies_of(series: &Series<'_>, load: (Level, Mode), bus: &str, kinds: &[Latency]) -> Option<Figure> {
    let curve = |at: usize, kind: &Latency| Curve {
        series: Some(at),
        is_dashed: kind.sign == Sign::Dashes,
        has_dots: false,
        points: percentile_curve(&Buckets::merged(series.runs(at, load).filter(|run| run.is_sound()).map(kind.of))),
    };
    let all = (0..series.len()).flat_map(|at| kinds.iter().map(move |kind| curve(at, kind)));
    let drawn: Vec<Curve> = all.filter(|curve| !curve.points.is_empty()).collect();
    let (x, y) = percentile_axes(drawn.iter().map(|curve| &curve.points));
    let envelopes = (0..series.len()).flat_map(|at| series.runs(at, load)).map(|run| run.envelopes).max()?;
    let title = format!("{bus}{} {}: latency of {} envelopes", load.0, load.1, grouped(envelopes as f64));
    let plot = curves(&title, &x, y, &drawn)?;
    let mut keys = series.keys(Sign::Curve);
    keys.extend(kinds.iter().map(|kind| Key { label: kind.to.into(), sign: kind.sign }));
    Some(Figure { title, keys, note: LATENCY.into(), plot })
}

/// Memory: the peaks, what is held, and over the time of the largest load of each mode.
pub(super) fn memory(series: &Series<'_>) -> Vec<Figure> {
    type Bytes = fn(&RunResult) -> i64;
    let kinds: [(&str, &str, Bytes); 2] = [
        ("peak memory", "Highest rise of resident memory.", |run| run.memory_peak_delta_bytes),
        ("memory held after close", "Allocated and not freed.", |run| run.memory_retained_bytes),
    ];
    let figure = |mode: Mode, (what, note, bytes): (&str, &str, Bytes)| {
        let groups = series.groups(mode, |run| Some(bytes(run).max(0) as f64 / MEBIBYTE));
        over_levels(&format!("{mode}: {what}"), "MiB", &format!("{note} {RANGE}"), series, &groups)
    };
    let of_mode =
        |mode: Mode| kinds.map(|kind| figure(mode, kind)).into_iter().flatten().chain(over_time(series, mode));
    Mode::ALL.into_iter().flat_map(of_mode).collect()
}

const OVER_TIME: &str = "Resident memory above that before the bus was opened, in the last run: opened, burst, read by a \
                         group, second burst followed by another, closed. What the allocator keeps for later is in it.";

/// Memory over the last run of the largest level of a mode.
fn over_time(series: &Series<'_>, mode: Mode) -> Option<Figure> {
    let last =
        |at: usize, level: Level| series.runs(at, (level, mode)).last().filter(|run| !run.memory_series.0.is_empty());
    let level = Level::ALL.into_iter().rev().find(|level| (0..series.len()).any(|at| last(at, *level).is_some()))?;
    let curve = |at: usize| {
        let points = last(at, level)?.memory_series.0.iter().map(|(at_s, bytes)| (*at_s, *bytes as f64 / MEBIBYTE));
        Some(Curve { series: Some(at), is_dashed: false, has_dots: false, points: points.collect() })
    };
    let drawn: Vec<Curve> = (0..series.len()).filter_map(curve).collect();
    let points = || drawn.iter().flat_map(|curve| &curve.points);
    let x = Axis::linear("seconds", points().map(|(at_s, _)| *at_s));
    let y = Axis::linear("MiB", points().map(|(_, mebibytes)| *mebibytes));
    let title = format!("{level} {mode}: memory over the time of a run");
    let plot = curves(&title, &x, y, &drawn)?;
    Some(Figure { title, keys: series.keys(Sign::Curve), note: OVER_TIME.into(), plot })
}
