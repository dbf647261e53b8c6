//! The rows of the predecessor's report, each with what this run measured of it.
//!
//! Its report had figures that were artefacts. Here each answer is computed from the results; what they do not hold is
//! said to be not measured.

use super::numbers::{grouped, hundredths, mebibytes, percent};
use super::tables::Table;
use crate::compare::Summary;
use crate::contender::backend_of_label;
use crate::result::{BenchReport, RunResult};
use crate::side_by_side::{Decision, Speed, ratio};
use crate::strategy::Strategy;
use crate::verdict::pairs;
use crate::workload::{Level, Mode};

/// Text below the table.
pub(super) const NOTE: &str = "\nThe left column is the predecessor's row; a ratio is of runs that lay directly behind each other. Rows that a \
     benchmark cannot answer are answered by tests and tools: docs/promises.md, `busline doctor` and, in production, `busline canary`.\n";

type Answer<'r> = fn(&Measured<'r>) -> Option<String>;

/// Its rows in its order.
fn answers<'r>() -> [(&'static str, Answer<'r>); 19] {
    [
        ("event bus over NATS JetStream", |it| it.whole("nats")),
        ("the same bus over Kafka", |it| it.whole("kafka")),
        ("envelope: aggregate id, version, type, time, payload", Measured::envelopes),
        ("async publish without a goroutine per message", Measured::tasks_of_async),
        ("sync publish waits for the ack", |it| it.calls(Mode::Sync)),
        ("batch publish: one wait for many", |it| it.calls(Mode::Batch)),
        ("one handler for async failures, with a counter", Measured::outcomes),
        ("max pending acks: 256 lost the burst", Measured::capped),
        ("no headers", Measured::headers),
        ("before and after the refactoring", Measured::before_and_after),
        ("NATS against Kafka over four levels", |it| it.nats_against_kafka(&LEVELS)),
        ("throughput, latency, success, memory, leaks", Measured::kept),
        ("composite score and advice", Measured::advice),
        ("a leak of one goroutine to locate", Measured::leaks),
        ("batches, stream settings, several streams", Measured::streams),
        ("where 26 MB go", Measured::memory),
        ("monitoring against baselines", Measured::baseline),
        ("validation in production", |_| None),
        ("NATS below, Kafka for extreme", |it| it.nats_against_kafka(&[Level::Low, Level::Extreme])),
    ]
}

/// The predecessor's four.
const LEVELS: [Level; 4] = [Level::Low, Level::Medium, Level::High, Level::Extreme];

/// The table; none of a run without the predecessor's two buses.
pub(super) fn rows(report: &BenchReport) -> Option<Table> {
    let measured = Measured(report);
    if SERVERS.iter().all(|backend| measured.runs(backend).next().is_none()) {
        return None;
    }
    let mut rows = Vec::new();
    for (what, answer) in answers() {
        let answer = answer(&measured).unwrap_or_else(|| "not measured by this run".into());
        rows.push(vec![(rows.len() + 1).to_string(), what.to_string(), answer]);
    }
    Some(Table { title: "The predecessor's rows", heads: vec!["#", "in its report", "measured in this run"], rows })
}

const SERVERS: [&str; 2] = ["nats", "kafka"];

/// The results, asked for what they say of a row.
struct Measured<'r>(&'r BenchReport);

impl Measured<'_> {
    fn runs(&self, backend: &str) -> impl Iterator<Item = &RunResult> {
        self.0.results.iter().filter(move |run| backend_of_label(&run.bus) == backend)
    }

    /// Runs of both, strategies of before left out.
    fn runs_as_they_are(&self) -> Vec<&RunResult> {
        let servers = |run: &&RunResult| SERVERS.contains(&backend_of_label(&run.bus));
        self.0.results.iter().filter(servers).filter(|run| run.strategy == Strategy::Fast).collect()
    }

    /// The summary of the largest level that was run in this way.
    fn largest(&self, backend: &str, mode: Mode, is: impl Fn(&Summary) -> bool) -> Option<&Summary> {
        let of = |it: &&Summary| backend_of_label(&it.bus) == backend && it.mode == mode && is(it);
        self.0.summaries.iter().filter(of).max_by_key(|it| it.level)
    }

    /// The summary of the bus as it is, at the largest level of a mode.
    fn plain(&self, backend: &str, mode: Mode) -> Option<&Summary> {
        self.largest(backend, mode, is_plain)
    }

    /// The same load, run in another way; of the same bus, if there are several of the backend.
    fn beside<'s>(&'s self, plain: &Summary, is: impl Fn(&Summary) -> bool) -> Option<&'s Summary> {
        let bus = format!("{}/", plain.bus);
        let same = |it: &&Summary| it.bus.starts_with(&bus) && (it.level, it.mode) == (plain.level, plain.mode);
        self.0.summaries.iter().filter(same).find(|it| is(it))
    }

    /// What is said of each of the two buses; nothing if nothing is said of either.
    fn of_both(&self, said: impl Fn(&str) -> Option<String>) -> Option<String> {
        joined(SERVERS.into_iter().filter_map(said))
    }

    fn whole(&self, backend: &str) -> Option<String> {
        let runs: Vec<&RunResult> = self.runs(backend).filter(|run| run.strategy == Strategy::Fast).collect();
        let sound = runs.iter().filter(|run| run.is_sound()).count();
        let envelopes: u64 = runs.iter().map(|run| run.envelopes).sum();
        let text = || {
            format!(
                "{sound} of {} runs stored and delivered all once and in order; {} envelopes",
                runs.len(),
                grouped(envelopes as f64)
            )
        };
        (!runs.is_empty()).then(text)
    }

    fn envelopes(&self) -> Option<String> {
        let runs = self.runs_as_they_are();
        let (stored, damaged) = runs.iter().fold((0.0, 0), |(stored, damaged), run| {
            (stored + run.success_percent / 100.0 * run.envelopes as f64, damaged + run.damaged)
        });
        let text = || {
            format!(
                "{} bodies read back with aggregate id, version and payload as published; {damaged} changed",
                grouped(stored)
            )
        };
        (!runs.is_empty()).then(text)
    }

    fn tasks_of_async(&self) -> Option<String> {
        self.of_both(|backend| {
            let it = self.plain(backend, Mode::Async)?;
            let (tasks, senders) = (grouped(it.peak_tasks as f64), grouped(it.senders as f64));
            let envelopes = grouped(it.envelopes as f64);
            Some(format!(
                "{} {}: {tasks} tasks at most for {envelopes} envelopes, {senders} of them senders",
                it.bus, it.level
            ))
        })
    }

    fn calls(&self, mode: Mode) -> Option<String> {
        self.of_both(|backend| {
            let it = self.plain(backend, mode)?;
            let [p50, p99, ..] = it.call_to_ack_ms?;
            let acked = grouped(it.acked_per_s?.median);
            Some(format!("{} {}: {acked} acked/s, call to ack p50 {p50:.2} ms, p99 {p99:.2} ms", it.bus, it.level))
        })
    }

    fn outcomes(&self) -> Option<String> {
        let runs = self.runs_as_they_are();
        let not_acked: u64 = runs.iter().map(|run| run.not_acked).sum();
        let published: u64 = runs.iter().map(|run| 2 * run.envelopes).sum();
        let published = grouped(published as f64);
        (!runs.is_empty()).then(|| format!("{published} outcomes counted, {not_acked} of them not acked"))
    }

    fn capped(&self) -> Option<String> {
        let capped = |it: &&Summary| it.strategy == Strategy::Capped256;
        joined(self.0.summaries.iter().filter(capped).filter_map(|it| {
            let plain = self.0.summaries.iter().find(|one| {
                is_plain(one)
                    && it.bus.starts_with(&format!("{}/", one.bus))
                    && (one.level, one.mode) == (it.level, it.mode)
            })?;
            Some(format!(
                "{} {} {}: {} stored, {} without the cap",
                plain.bus,
                it.level,
                it.mode,
                percent(it.success_percent),
                percent(plain.success_percent)
            ))
        }))
    }

    fn headers(&self) -> Option<String> {
        self.of_both(|backend| {
            let with = |it: &Summary| it.strategy == Strategy::Fast && it.headers && it.streams == 1;
            self.compared(
                self.largest(backend, Mode::Async, |it| is_plain(it) && self.beside(it, with).is_some())?,
                with,
            )
        })
    }

    fn before_and_after(&self) -> Option<String> {
        self.of_both(|backend| {
            let before = |it: &Summary| it.strategy == Strategy::TaskPerMessage && it.streams == 1;
            let plain = |it: &Summary| is_plain(it) && self.beside(it, before).is_some();
            self.compared(self.largest(backend, Mode::Async, plain)?, before)
        })
    }

    /// The bus as it is against another way to publish.
    fn compared(&self, plain: &Summary, is: impl Fn(&Summary) -> bool) -> Option<String> {
        let other = self.beside(plain, is)?;
        let load = (plain.level, plain.mode);
        let speed = ratio(&self.0.results, load, Speed::Acked, (&plain.bus, &other.bus))?;
        let (cpu, other_cpu) = (plain.client_cpu_us?.median, other.client_cpu_us?.median);
        let [p50, ..] = plain.call_to_ack_ms?;
        let [other_p50, ..] = other.call_to_ack_ms?;
        Some(format!(
            "{} {}: {} × the acked/s of {} ({} to {}), tasks {} to {}, CPU {cpu:.2} to {other_cpu:.2} µs, p50 {p50:.2} to \
             {other_p50:.2} ms",
            plain.bus,
            plain.level,
            hundredths(speed.median),
            other.bus,
            hundredths(speed.smallest),
            hundredths(speed.largest),
            grouped(plain.peak_tasks as f64),
            grouped(other.peak_tasks as f64),
        ))
    }

    fn nats_against_kafka(&self, levels: &[Level]) -> Option<String> {
        joined(levels.iter().filter_map(|level| {
            let ratio = ratio(&self.0.results, (*level, Mode::Async), Speed::Acked, ("nats", "kafka"))?;
            let undecided = match ratio.decision() {
                Decision::Faster => "",
                Decision::WithinNoise => ", within the noise",
                Decision::Undecided => ", undecided with so few runs",
            };
            let (smallest, largest) = (hundredths(ratio.smallest), hundredths(ratio.largest));
            let median = hundredths(ratio.median);
            Some(format!("{level}: NATS {median} × Kafka's acked/s ({smallest} to {largest}{undecided})"))
        }))
    }

    fn kept(&self) -> Option<String> {
        let runs = self.runs_as_they_are();
        let sum = |of: fn(&RunResult) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
        let text = || {
            format!(
                "{} lost, {} doubled, {} out of order, {} delivered again in {} runs; speeds, latencies and memory below",
                sum(|run| run.lost),
                sum(|run| run.duplicates),
                sum(|run| run.order_violations + run.handler_order_violations),
                sum(|run| run.redelivered),
                runs.len()
            )
        };
        (!runs.is_empty()).then(text)
    }

    /// No score: the predecessor's mixed speeds, latencies and success by made-up weights.
    fn advice(&self) -> Option<String> {
        let compared = pairs(self.0).len();
        (compared > 0).then(|| format!("no score; {compared} comparisons under \"Compared\", each with its range"))
    }

    fn leaks(&self) -> Option<String> {
        self.of_both(|backend| {
            let (mut runs, mut left) = (0, [0; 3]);
            for run in self.runs(backend) {
                runs += 1;
                let of_run = [run.leaked.tasks, run.leaked.threads, run.leaked.descriptors];
                left.iter_mut().zip(of_run).for_each(|(most, is)| *most = is.max(*most));
            }
            let [tasks, threads, descriptors] = left;
            let text = || {
                format!(
                    "{backend}: at most {tasks} tasks, {threads} threads, {descriptors} descriptors left in {runs} runs"
                )
            };
            (runs > 0).then(text)
        })
    }

    fn streams(&self) -> Option<String> {
        let spread = self.0.summaries.iter().filter(|it| it.strategy == Strategy::Fast && it.streams > 1);
        joined(spread.filter_map(|it| {
            let one = it.bus.split('/').filter(|part| !part.ends_with("-streams")).collect::<Vec<_>>().join("/");
            let ratio = ratio(&self.0.results, (it.level, it.mode), Speed::Acked, (&it.bus, &one))?;
            let (smallest, largest) = (hundredths(ratio.smallest), hundredths(ratio.largest));
            let (load, median) = (format!("{} {} {}", one, it.level, it.mode), hundredths(ratio.median));
            Some(format!("{load}: {} streams {median} × one ({smallest} to {largest})", it.streams))
        }))
    }

    fn memory(&self) -> Option<String> {
        self.of_both(|backend| {
            let it = self.plain(backend, Mode::Async)?;
            let (peak, held) = (mebibytes(it.memory_peak_delta_bytes), mebibytes(it.memory_retained_bytes));
            Some(format!("{} {}: peak {peak} MiB, held after close {held} MiB", it.bus, it.level))
        })
    }

    fn baseline(&self) -> Option<String> {
        let baseline = self.0.baseline.as_ref()?;
        Some(format!("{} figures compared, {} worse", baseline.changes.len(), baseline.worse().count()))
    }
}

fn is_plain(summary: &Summary) -> bool {
    summary.strategy == Strategy::Fast && !summary.headers && summary.streams == 1
}

fn joined(parts: impl Iterator<Item = String>) -> Option<String> {
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn told(report: &BenchReport) -> Vec<String> {
        rows(report).expect("servers").rows.into_iter().map(|row| row[2].clone()).collect()
    }

    #[test]
    fn each_row_is_answered_by_what_was_measured_or_said_not_to_be() {
        let mut results = sample::strategies();
        let kafka = RunResult { bus: "kafka".into(), acked_per_s: Some(100_000.0), ..results[0].clone() };
        let headers = RunResult { bus: "nats/headers".into(), headers: true, ..results[0].clone() };
        let streams = RunResult { bus: "nats/4-streams".into(), streams: 4, ..results[0].clone() };
        results.extend([kafka, headers, streams]);
        let answers = told(&sample::report_of(results));
        assert_eq!(answers.len(), 19);
        for (row, part) in [
            (1, "3 of 3 runs stored and delivered all"),
            (4, "nats low: 56 tasks at most for 500 envelopes, 50 of them senders"),
            (5, "not measured"),
            (8, "nats low async: 30 % stored, 100 % without the cap"),
            (9, "nats low: 1.00 × the acked/s of nats/headers"),
            (10, "tasks 56 to 561"),
            (11, "low: NATS 2.00 × Kafka's acked/s (2.00 to 2.00, undecided with so few runs)"),
            (15, "nats low async: 4 streams 1.00 × one"),
            (18, "not measured"),
        ] {
            assert!(answers[row - 1].contains(part), "{row}: {part:?} in {:?}", answers[row - 1]);
        }
    }

    #[test]
    fn what_did_not_run_is_not_answered_and_other_buses_have_no_rows() {
        let only_nats = told(&sample::report_of(sample::strategies()[..1].to_vec()));
        for row in [2, 8, 9, 10, 11, 15, 19] {
            assert_eq!(only_nats[row - 1], "not measured by this run", "{row}");
        }
        assert!(rows(&sample::report()).is_none());
    }
}
