//! What a run came to, from what was measured of it and of its twins.

use std::time::Duration;

use crate::beside::Twins;
use crate::burst_run::{Measured, Reading};
use crate::consuming::concurrency_of;
use crate::contender::Contender;
use crate::result::{Histograms, PremadeResult, RunResult, TwinResult, percent_of};
use crate::speed::{micros_each, per_second};
use crate::twin::TwinRead;
use crate::workload::Workload;

fn histograms_of(measured: &Measured) -> Histograms {
    Histograms {
        publish_to_ack_ns: measured.burst.from_start.buckets(),
        call_to_ack_ns: measured.burst.from_call.buckets(),
        publish_to_handler_ns: measured.reading.followed.to_handler.buckets(),
    }
}

/// The result of a run; without speeds and latencies unless it was sound.
pub(crate) fn result_of(
    bus: &Contender,
    workload: &Workload,
    run: u32,
    measured: &Measured,
    twins: Option<Twins>,
) -> RunResult {
    let (burst, verdict) = (&measured.burst, &measured.verdict);
    let sound = measured.is_sound(workload);
    let Reading { drained, followed, .. } = &measured.reading;
    let passes = [drained.arrived, followed.consumed.arrived];
    let accepted = workload.envelopes - measured.rejected;
    let speed = |time: Option<Duration>| time.filter(|_| sound).map(|time| per_second(accepted, time));
    let followed_accepted = workload.envelopes - followed.rejected;
    let result = RunResult {
        bus: bus.label.clone(),
        level: workload.level,
        mode: workload.mode,
        strategy: bus.variant.strategy,
        headers: bus.variant.headers,
        streams: bus.variant.streams,
        run,
        envelopes: workload.envelopes,
        payload_bytes: workload.payload().bytes().len(),
        topics: workload.topics,
        aggregates: workload.aggregates,
        senders: workload.senders,
        window_envelopes: workload.window_envelopes,
        durability: burst.durability.to_string(),
        accepted_per_s: speed(burst.accepted_in),
        acked_per_s: speed(Some(burst.acked_in)),
        publish_to_ack_ms: burst.from_start.percentiles().filter(|_| sound),
        call_to_ack_ms: burst.from_call.percentiles().filter(|_| sound),
        handler_concurrency: concurrency_of(workload.topics),
        consumed_per_s: speed(Some(drained.consumed_in)),
        joined_in_ms: drained.joined_in.as_secs_f64() * 1e3,
        consume_cpu_us: sound.then(|| micros_each(drained.cpu, accepted)),
        followed_per_s: sound.then(|| per_second(followed_accepted, followed.delivered_in)),
        publish_to_handler_ms: followed.to_handler.percentiles().filter(|_| sound),
        delivered: passes.iter().map(|pass| pass.delivered).min().unwrap_or(0),
        redelivered: passes.iter().map(|pass| pass.duplicates + pass.foreign).sum(),
        handler_order_violations: passes.iter().map(|pass| pass.order_violations).sum(),
        success_percent: percent_of(verdict.stored, workload.envelopes),
        lost: verdict.missing.saturating_sub(measured.not_acked + measured.rejected),
        duplicates: verdict.duplicates,
        order_violations: verdict.order_violations,
        damaged: verdict.damaged,
        not_acked: measured.not_acked,
        rejected: measured.rejected,
        followed_rejected: followed.rejected,
        undelivered: drained
            .arrived
            .missing
            .saturating_sub(measured.rejected)
            .max(followed.consumed.arrived.missing.saturating_sub(followed.rejected)),
        peak_tasks: measured.peak_tasks,
        memory_peak_delta_bytes: measured.memory_peak_delta,
        memory_retained_bytes: measured.memory_retained,
        leaked: measured.leaked,
        client_cpu_us: sound.then(|| micros_each(measured.usage.client_cpu(), accepted)),
        allocations_per_publish: measured.allocations_per_publish.filter(|_| sound),
        publish_usage: Some(measured.usage.clone()),
        others_cpu_percent: 0.0,
        transactions: measured.transactions.as_ref().map(|sizes| sizes.len() as u64),
        memory_series: measured.watched.memory.clone(),
        stalled_s: measured.watched.stalled.as_secs_f64(),
        histograms: if sound { histograms_of(measured) } else { Histograms::default() },
        twin: None,
    };
    let twin = twins.map(|twins| twin_of(&result, &twins, measured.reading.twin));
    RunResult { twin, ..result }
}

/// The twins with the run's ratios to them.
fn twin_of(own: &RunResult, Twins { encoding, premade }: &Twins, reading: Option<TwinRead>) -> TwinResult {
    let over = |own: Option<f64>, twin: Option<f64>| Some(own? / twin?);
    let consumed_per_s = reading.map(|twin| per_second(twin.records, twin.read_in));
    let consume_cpu_us = reading.map(|twin| micros_each(twin.cpu, twin.records));
    let p50s = own.call_to_ack_ms.zip(encoding.transaction_ms).filter(|_| own.mode.waits_for_each());
    TwinResult {
        envelopes: encoding.envelopes,
        acked_per_s: encoding.per_second,
        ratio_acked: over(own.acked_per_s, Some(encoding.per_second)),
        client_cpu_us: encoding.cpu_us,
        ratio_cpu: over(own.client_cpu_us, Some(encoding.cpu_us)),
        transaction_ms: encoding.transaction_ms,
        ratio_p50: p50s.map(|(own, raw)| own.p50 / raw.p50),
        premade: premade.as_ref().map(|premade| PremadeResult {
            acked_per_s: premade.per_second,
            ratio_acked: over(own.acked_per_s, Some(premade.per_second)),
            client_cpu_us: premade.cpu_us,
        }),
        consumed_per_s,
        ratio_consumed: over(own.consumed_per_s, consumed_per_s),
        consume_cpu_us,
        ratio_consume_cpu: over(own.consume_cpu_us, consume_cpu_us),
    }
}
