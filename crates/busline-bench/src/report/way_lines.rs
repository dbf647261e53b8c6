//! What each way to publish costs and stores, as text for people.

use std::io::{self, Write};

use super::columns::Column::{self, Left, Right};
use super::columns::{heads, row};
use super::folded::folded;
use super::numbers::{grouped, mebibytes, median, percent};
use super::tables::{STRATEGIES_NOTE, in_several_ways};
use crate::compare::Summary;

/// Room for a bus and its way; a name that is longer has a line of its own.
const NAME_MAX: usize = 28;

const COLUMNS: [Column; 10] = [
    Left("before, ", 8),
    Left("after", 7),
    Left("", NAME_MAX),
    Right("success", 9),
    Right("acked/s", 10),
    Right("p50 ms", 8),
    Right("p99 ms", 8),
    Right("tasks", 7),
    Right("MiB", 7),
    Right("CPU µs", 8),
];

/// Writes them one below the other; nothing where all were published to in one way.
pub(super) fn strategies(summaries: &[Summary], out: &mut dyn Write) -> io::Result<()> {
    let several = in_several_ways(summaries);
    if several.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    heads(&COLUMNS, out)?;
    several.iter().try_for_each(|summary| row(&COLUMNS, cells(summary), out))?;
    folded(out, "", STRATEGIES_NOTE)
}

fn cells(it: &Summary) -> [String; 10] {
    let bus = if it.bus.len() > NAME_MAX { format!("{}\n{:43}", it.bus, "") } else { it.bus.clone() };
    let [p50, p99] = it.call_to_ack_ms.map_or(["-".into(), "-".into()], |[p50, p99, ..]| [p50, p99].map(short));
    [
        it.level.to_string(),
        it.mode.to_string(),
        bus,
        percent(it.success_percent),
        median(it.acked_per_s, grouped),
        p50,
        p99,
        grouped(it.peak_tasks as f64),
        mebibytes(it.memory_peak_delta_bytes),
        median(it.client_cpu_us, |value| format!("{value:.1}")),
    ]
}

fn short(millis: f64) -> String {
    if millis < 100.0 { format!("{millis:.2}") } else { format!("{millis:.0}") }
}
