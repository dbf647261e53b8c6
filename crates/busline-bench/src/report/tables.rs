//! The tables of a report, whatever form it is written in.

use super::compared::compared;
use super::numbers::{grouped, hundredths, mebibytes, median, millis, percent, with_spread};
use crate::compare::{Summary, buses};
use crate::contender::backend_of_label;
use crate::limit::{Used, long_enough};
use crate::measure::Machine;
use crate::result::BenchReport;

/// A table: every row has as many cells as there are heads.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) heads: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// What the buses were run with.
pub(super) fn settings(report: &BenchReport) -> Table {
    let rows = buses(&report.summaries).into_iter().filter_map(|bus| {
        let first = report.results.iter().find(|run| run.bus == bus)?;
        let window = grouped(first.window_envelopes as f64);
        let (durability, judge) = (first.durability.clone(), checked_by(bus).into());
        let (topics, handlers) = (first.topics.to_string(), first.handler_concurrency.to_string());
        Some(vec![bus.into(), durability, window, topics, handlers, judge])
    });
    Table {
        title: "Settings",
        heads: vec!["bus", "acks attest", "window", "topics", "handlers of a topic", "stored envelopes checked by"],
        rows: rows.collect(),
    }
}

/// By what means the stored envelopes of this bus are checked, in words.
fn checked_by(bus: &str) -> &'static str {
    let is_file = cfg!(feature = "sqlite") && backend_of_label(bus) == "sqlite";
    if is_file { "plain SQL, without the driver" } else { "the driver's bounded reads" }
}

/// What the twin of this bus does; none where there is no twin.
pub(super) fn twin_note(bus: &str) -> Option<&'static str> {
    match backend_of_label(bus) {
        "sqlite" => Some(
            "× twin: the native client in one loop, the same rows in the same transactions, making and encoding each \
             envelope; × premade: with bodies made beforehand. In mode sync the twin commits each envelope by itself.",
        ),
        "nats" => Some(
            "× twin: the native client in one loop, the same bytes, a message and an ack for each envelope, as many \
             awaited at once as the windows hold, making and encoding each envelope; × premade: with bodies made \
             beforehand. In mode sync the twin waits for each ack. Consuming: pull consumers in one loop, which decodes \
             each envelope and stores no progress.",
        ),
        "kafka" => Some(
            "× twin: the native client in one loop, one idempotent producer with the bus's settings, the same bytes, as \
             many acks awaited at once as the windows hold, making and encoding each envelope; × premade: with bodies \
             made beforehand. In mode sync the twin waits for each ack. Consuming: one consumer of all partitions, \
             which decodes each envelope and commits nothing.",
        ),
        _ => None,
    }
}

/// What the twins of these buses do.
pub(super) fn twins(summaries: &[Summary]) -> Vec<String> {
    let mut notes = Vec::new();
    for backend in buses(summaries).into_iter().map(backend_of_label) {
        let note = twin_note(backend).map(|note| format!("{backend}: {note}"));
        notes.extend(note.filter(|note| !notes.contains(note)));
    }
    notes
}

/// Every figure, a table for each subject.
pub(super) fn figures(report: &BenchReport) -> Vec<Table> {
    let summaries = &report.summaries;
    let always = [latencies(summaries), consuming(summaries), resources(summaries)];
    let first = strategies(summaries).into_iter().chain([publishing(summaries)]);
    first.chain(used(report)).chain(always).chain(compared(report)).collect()
}

/// What the bursts used and were held back by, where they were long enough to tell.
fn used(report: &BenchReport) -> Option<Table> {
    let processors = report.header.machine.processors;
    let row = |(it, used): (&Summary, Used)| {
        let thread = used.thread.as_ref().map_or_else(|| "-".into(), |(name, share)| format!("{share:.2} ({name})"));
        vec![
            load(it),
            it.bus.clone(),
            hundredths(used.client),
            thread,
            hundredths(used.others),
            hundredths(used.disk_wait),
            percent((used.window * 100.0).round()),
            used.limit(processors, it.mode).to_string(),
        ]
    };
    let heads = vec![
        "load",
        "bus",
        "client CPUs",
        "busiest thread",
        "other processes",
        "waiting for disk",
        "window taken",
        "held back by",
    ];
    let rows: Vec<Vec<String>> = long_enough(report).into_iter().map(row).collect();
    (!rows.is_empty()).then_some(Table { title: "What publishing used, in processors", heads, rows })
}

/// What is to be known of the table of strategies.
pub(super) const STRATEGIES_NOTE: &str = "task-per-message: the native client with headers, a task, a timer and a channel for each message. capped-256: the \
     native client, what does not find a place among 256 is an error. p50 and p99: from the call to the ack. Tasks: alive at \
     once, the benchmark's senders among them. CPU: of the process, for an envelope that was stored.";

/// The loads of backends that were published to in more than one way, with all of their ways; way below way.
pub(super) fn in_several_ways(summaries: &[Summary]) -> Vec<&Summary> {
    let of_load = |one: &Summary, it: &Summary| {
        let backend = backend_of_label(&one.bus) == backend_of_label(&it.bus);
        backend && (one.level, one.mode) == (it.level, it.mode)
    };
    let way = |it: &Summary| (it.strategy, it.headers, it.streams);
    let differs = |it: &&Summary| summaries.iter().any(|one| of_load(one, it) && way(one) != way(it));
    let mut several: Vec<&Summary> = summaries.iter().filter(differs).collect();
    let first_of = |bus: &str| summaries.iter().position(|it| backend_of_label(&it.bus) == backend_of_label(bus));
    several.sort_by_key(|it| (it.level, it.mode, first_of(&it.bus)));
    several
}

/// Before and after: what each way to publish stores and costs.
fn strategies(summaries: &[Summary]) -> Option<Table> {
    let several = in_several_ways(summaries);
    let heads = vec![
        "load",
        "bus / way",
        "success",
        "acked/s",
        "p50 ms",
        "p99 ms",
        "senders",
        "peak tasks",
        "peak MiB",
        "CPU µs",
    ];
    let row = |it: &&Summary| {
        let [p50, p99, ..] = it.call_to_ack_ms.map_or_else(|| ["-"; 4].map(String::from), |four| four.map(millis));
        vec![
            load(it),
            it.bus.clone(),
            percent(it.success_percent),
            with_spread(it.acked_per_s, grouped),
            p50,
            p99,
            grouped(it.senders as f64),
            grouped(it.peak_tasks as f64),
            mebibytes(it.memory_peak_delta_bytes),
            with_spread(it.client_cpu_us, hundredths),
        ]
    };
    (!several.is_empty()).then(|| Table { title: "Before and after", heads, rows: several.iter().map(row).collect() })
}

/// The machine in one line.
pub(super) fn machine(machine: &Machine) -> String {
    let Machine { processors, processor, system, file_system, .. } = machine;
    let gibibytes = machine.memory_bytes as f64 / f64::from(1 << 30);
    let debug = if machine.debug_build { ", debug build" } else { "" };
    format!("{processors} × {processor}, {gibibytes:.1} GiB, {system}, {file_system}{debug}")
}

fn publishing(summaries: &[Summary]) -> Table {
    let heads =
        vec!["load", "bus", "envelopes", "payload", "acked/s", "× twin", "× premade", "accepted/s", "CPU µs", "× twin"];
    let row = |it: &Summary| {
        vec![
            load(it),
            it.bus.clone(),
            grouped(it.envelopes as f64),
            format!("{} B", it.payload_bytes),
            with_spread(it.acked_per_s, grouped),
            with_spread(it.ratio_acked, hundredths),
            with_spread(it.ratio_premade, hundredths),
            median(it.accepted_per_s, grouped),
            with_spread(it.client_cpu_us, hundredths),
            with_spread(it.ratio_cpu, hundredths),
        ]
    };
    Table { title: "Publishing", heads, rows: summaries.iter().map(row).collect() }
}

fn latencies(summaries: &[Summary]) -> Table {
    let heads = vec!["load", "bus", "from", "p50 ms", "p99 ms", "p99.9 ms", "max ms"];
    let mut rows = Vec::new();
    for it in summaries {
        for (from, four) in [
            ("burst start to ack", it.publish_to_ack_ms),
            ("call to ack", it.call_to_ack_ms),
            ("burst start to handler", it.publish_to_handler_ms),
        ] {
            let values = four.map_or_else(|| vec!["-".to_string(); 4], |four| four.map(millis).to_vec());
            rows.push([vec![load(it), it.bus.clone(), from.to_string()], values].concat());
        }
    }
    Table { title: "Latency", heads, rows }
}

fn consuming(summaries: &[Summary]) -> Table {
    let heads = vec!["load", "bus", "consumed/s", "× twin", "CPU µs", "× twin", "both/s", "joining ms"];
    let row = |it: &Summary| {
        vec![
            load(it),
            it.bus.clone(),
            with_spread(it.consumed_per_s, grouped),
            with_spread(it.ratio_consumed, hundredths),
            with_spread(it.consume_cpu_us, hundredths),
            with_spread(it.ratio_consume_cpu, hundredths),
            with_spread(it.followed_per_s, grouped),
            format!("{:.0}", it.joined_in_ms),
        ]
    };
    Table { title: "Consuming", heads, rows: summaries.iter().map(row).collect() }
}

fn resources(summaries: &[Summary]) -> Table {
    let heads = vec![
        "load",
        "bus",
        "success",
        "peak MiB",
        "held MiB",
        "peak tasks",
        "tasks left",
        "threads left",
        "descriptors left",
    ];
    let row = |it: &Summary| {
        vec![
            load(it),
            it.bus.clone(),
            percent(it.success_percent),
            mebibytes(it.memory_peak_delta_bytes),
            mebibytes(it.memory_retained_bytes),
            grouped(it.peak_tasks as f64),
            it.leaked.tasks.to_string(),
            it.leaked.threads.to_string(),
            it.leaked.descriptors.to_string(),
        ]
    };
    Table { title: "Memory and what is left", heads, rows: summaries.iter().map(row).collect() }
}

fn load(summary: &Summary) -> String {
    format!("{} {}", summary.level, summary.mode)
}
