//! Made-up results for tests.

use crate::baseline::{BaselineReport, Change, Trend};
use crate::buckets::Buckets;
use crate::compare::{Figure, summarize};
use crate::extent::Extent;
use crate::header::{Header, SCHEMA};
use crate::latency::Percentiles;
use crate::measure::{Leaked, Machine};
use crate::memory_watch::MemorySeries;
use crate::open_load::{BestRate, OpenReport, Point, RateResult, Rise, Rises};
use crate::overhead::Overhead;
use crate::result::{BenchReport, Histograms, PremadeResult, RunResult, TwinResult};
use crate::strategy::Strategy;
use crate::targets;
use crate::usage::{ThreadUsage, Usage};
use crate::workload::{Level, Mode};

pub(crate) fn machine() -> Machine {
    Machine {
        processors: 2,
        processor: "A Processor".into(),
        memory_bytes: 8 << 30,
        system: "Linux 6.1".into(),
        file_system: "ext4".into(),
        debug_build: false,
    }
}

fn header(command: &str, servers: &[&str]) -> Header {
    let servers = servers.iter().map(|server| (*server).to_string()).collect();
    Header { schema: SCHEMA, version: "1.2.3".into(), command: command.into(), servers, machine: machine() }
}

pub(crate) fn overhead() -> Overhead {
    let nanos = |median| Figure { median, spread_percent: 5.0 };
    Overhead {
        latency_record_ns: nanos(120.0),
        publish_ns: nanos(300.0),
        delivery_ns: nanos(60.0),
        envelope_ns: nanos(250.0),
        shares: Vec::new(),
    }
}

fn buckets() -> Buckets {
    Buckets(vec![(1_000_000, 400), (2_500_000, 99), (4_000_000, 1)])
}

/// What a burst of this length used whose committer hardly rested. Unit: seconds.
pub(crate) fn usage(elapsed_s: f64) -> Usage {
    let busiest = ThreadUsage { name: "committer".into(), cpu_s: 0.95 * elapsed_s };
    Usage {
        elapsed_s,
        client_cpu_s: 1.25 * elapsed_s,
        busiest_thread: Some(busiest),
        others_cpu_s: 0.125 * elapsed_s,
        disk_wait_s: 0.25 * elapsed_s,
    }
}

pub(crate) fn run(run: u32) -> RunResult {
    let percentiles = Percentiles { p50: 1.0, p99: 2.5, p999: 3.25, max: 4.0, samples: 500 };
    RunResult {
        bus: "sqlite".into(),
        level: Level::Low,
        mode: Mode::Async,
        strategy: Strategy::Fast,
        headers: false,
        streams: 1,
        run,
        envelopes: 500,
        payload_bytes: 41,
        topics: 5,
        aggregates: 50,
        senders: 50,
        window_envelopes: 8_192,
        durability: "synced × 1".into(),
        accepted_per_s: Some(400_000.0),
        acked_per_s: Some(200_000.0),
        publish_to_ack_ms: Some(percentiles),
        call_to_ack_ms: Some(percentiles),
        handler_concurrency: 12,
        consumed_per_s: Some(900_000.0),
        joined_in_ms: 12.5,
        consume_cpu_us: Some(1.5),
        followed_per_s: Some(150_000.0),
        publish_to_handler_ms: Some(percentiles),
        delivered: 500,
        redelivered: 0,
        handler_order_violations: 0,
        success_percent: 100.0,
        lost: 0,
        duplicates: 0,
        order_violations: 0,
        damaged: 0,
        not_acked: 0,
        rejected: 0,
        followed_rejected: 0,
        undelivered: 0,
        peak_tasks: 56,
        memory_peak_delta_bytes: 2 << 20,
        memory_retained_bytes: 64 << 10,
        leaked: Leaked::default(),
        client_cpu_us: Some(3.0),
        allocations_per_publish: None,
        publish_usage: Some(usage(0.02)),
        others_cpu_percent: 1.5,
        transactions: Some(4),
        memory_series: MemorySeries(vec![(0.0, 0), (0.25, 2 << 20), (0.5, 1 << 20)]),
        stalled_s: 0.01,
        histograms: Histograms {
            publish_to_ack_ns: buckets(),
            call_to_ack_ns: buckets(),
            publish_to_handler_ns: buckets(),
        },
        twin: Some(TwinResult {
            envelopes: 500,
            acked_per_s: 190_000.0,
            ratio_acked: Some(1.05),
            client_cpu_us: 2.5,
            ratio_cpu: Some(1.2),
            transaction_ms: Some(percentiles),
            ratio_p50: None,
            premade: Some(PremadeResult { acked_per_s: 210_000.0, ratio_acked: Some(0.95), client_cpu_us: 1.8 }),
            consumed_per_s: Some(1_000_000.0),
            ratio_consumed: Some(0.9),
            consume_cpu_us: Some(1.0),
            ratio_consume_cpu: Some(1.5),
        }),
    }
}

pub(crate) fn report() -> BenchReport {
    BenchReport { warnings: vec!["A warning.".into()], ..report_of(vec![run(1)]) }
}

pub(crate) fn report_with_baseline() -> BenchReport {
    let change = Change {
        what: "sqlite low async: acked/s ÷ the twin's".into(),
        before: 1.0,
        now: 0.5,
        runs: (5, 5),
        worse_percent: 100.0,
        worse_percent_range: Some((80.0, 125.0)),
        trend: Trend::Worse,
    };
    let baseline = BaselineReport {
        tolerance_percent: 15,
        false_alarm_percent: 1.0,
        changes: vec![change],
        doubts: vec!["A doubt.".into()],
    };
    BenchReport { baseline: Some(baseline), ..report() }
}

/// An open load of two rates on one bus; the second one lost something.
pub(crate) fn open_load() -> OpenReport {
    let percentiles = Percentiles { p50: 0.9, p99: 4.5, p999: 6.25, max: 7.0, samples: 10_000 };
    let rise = |per_hour| Some(Rise { per_hour, margin: 2e6, flat: per_hour < 2e6 });
    let held = RateResult {
        bus: "sqlite".into(),
        durability: "synced × 1".into(),
        offered_per_s: 1_000.0,
        envelopes: 10_000,
        payload_bytes: 256,
        delivered_per_s: Some(999.5),
        held: true,
        due_to_call_ms: Some(percentiles),
        due_to_ack_ms: Some(percentiles),
        due_to_handler_ms: Some(percentiles),
        due_to_handler_ns: buckets(),
        cpu_us: Some(21.0),
        stored_wrong: [0; 4],
        delivered_wrong: [0; 3],
        not_acked: 0,
        series: vec![Point { at_s: 1.0, memory_bytes: 3 << 20, held_bytes: 1 << 20, lag: 4, delivered_per_s: 998.0 }],
        rises: Rises { memory_bytes: rise(1e6), held_bytes: rise(5e5), lag: rise(3e6), delivered_per_s: None },
        stalled_s: 0.2,
        leaked: Leaked::default(),
    };
    let lost = RateResult {
        offered_per_s: 2_000.0,
        delivered_per_s: None,
        held: false,
        stored_wrong: [3, 0, 1, 0],
        ..held.clone()
    };
    OpenReport {
        header: header("busline bench --rate 1000,2000", &[]),
        extent: Extent::of(2),
        topics: 5,
        window_envelopes: 8_192,
        overhead: Some(overhead()),
        duration_s: 10.0,
        slo_ms: 50.0,
        soak: true,
        results: vec![held, lost],
        best: vec![BestRate { bus: "sqlite".into(), per_s: Some(1_000.0) }],
        warnings: Vec::new(),
    }
}

pub(crate) fn report_of(results: Vec<RunResult>) -> BenchReport {
    let summaries = summarize(&results);
    let targets = targets::judge(&summaries);
    let overhead = overhead().of(&summaries);
    BenchReport {
        header: header("busline bench --runs 5", &["nats: server: 2.15.1"]),
        extent: Extent::of(results.len() as u64),
        overhead: Some(overhead),
        results,
        summaries,
        targets,
        warnings: Vec::new(),
        baseline: None,
    }
}

/// One run of nats in three ways: as it is, with a task for each message, and with what refuses most.
pub(crate) fn strategies() -> Vec<RunResult> {
    let of = |bus: &str, strategy| RunResult {
        bus: bus.into(),
        strategy,
        headers: strategy == Strategy::TaskPerMessage,
        durability: "written × 1".into(),
        transactions: None,
        twin: None,
        ..run(1)
    };
    let (rejected, success_percent) = (350, 30.0);
    let capped = of("nats/capped-256", Strategy::Capped256);
    vec![
        of("nats", Strategy::Fast),
        RunResult { peak_tasks: 561, ..of("nats/task-per-message", Strategy::TaskPerMessage) },
        RunResult { rejected, followed_rejected: 340, success_percent, delivered: 150, ..capped },
    ]
}

/// Runs of sqlite and of nats in turn; nats acks so many times faster.
pub(crate) fn duel(ratios: &[f64]) -> Vec<RunResult> {
    let pair = |(number, ratio): (u32, &f64)| {
        let nats = RunResult {
            bus: "nats".into(),
            durability: "written × 1".into(),
            acked_per_s: Some(200_000.0 * ratio),
            transactions: None,
            twin: None,
            ..run(number)
        };
        [run(number), nats]
    };
    (1..).zip(ratios).flat_map(pair).collect()
}
