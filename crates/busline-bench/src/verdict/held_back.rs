//! What held publishing back, a sentence for each bus.

use super::grouped::Grouped;
use super::listed::listed;
use crate::contender::is_way;
use crate::limit::{Limit, long_enough};
use crate::result::BenchReport;
use crate::workload::{Level, Mode};

/// The loads that each limit held back.
type Limits = Grouped<Limit, Vec<(Level, Mode)>>;

/// The sentences, of the loads whose bursts were long enough to tell. Other ways to publish are left to the table.
pub(super) fn held_back(report: &BenchReport) -> Vec<String> {
    let mut buses: Grouped<&str, Limits> = Grouped::default();
    for (summary, used) in long_enough(report).into_iter().filter(|(summary, _)| !is_way(&summary.bus)) {
        let limit = used.limit(report.header.machine.processors, summary.mode);
        buses.entry(&summary.bus).entry(limit).push((summary.level, summary.mode));
    }
    let clause = |(limit, loads): &(Limit, Vec<_>)| format!("by {limit} at {}", of_loads(loads));
    let sentence = |(bus, limits): &(&str, Limits)| {
        let clauses: Vec<String> = limits.iter().map(clause).collect();
        format!("Publishing to {bus} was held back {}.", clauses.join("; "))
    };
    buses.iter().map(sentence).collect()
}

/// `extreme and surge async, surge sync`.
fn of_loads(loads: &[(Level, Mode)]) -> String {
    let of_mode = |mode: Mode| {
        let levels: Vec<Level> = loads.iter().filter(|load| load.1 == mode).map(|load| load.0).collect();
        (!levels.is_empty()).then(|| format!("{} {mode}", listed(&levels)))
    };
    Mode::ALL.into_iter().filter_map(of_mode).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::result::RunResult;
    use crate::usage::Usage;

    #[test]
    fn each_bus_is_told_with_its_loads_if_the_bursts_were_long_enough() {
        let busy =
            |level, elapsed_s| RunResult { level, publish_usage: Some(sample::usage(elapsed_s)), ..sample::run(1) };
        let waiting = RunResult {
            mode: Mode::Batch,
            publish_usage: Some(Usage {
                busiest_thread: None,
                client_cpu_s: 0.1,
                others_cpu_s: 0.1,
                ..sample::usage(1.0)
            }),
            ..sample::run(1)
        };
        let short = RunResult { bus: "nats".into(), ..busy(Level::Low, 0.01) };
        let way = RunResult { bus: "sqlite/headers".into(), ..busy(Level::Low, 1.0) };
        let results = vec![busy(Level::Low, 1.0), busy(Level::Medium, 1.0), waiting, short, way];
        assert_eq!(
            held_back(&sample::report_of(results)),
            [
                "Publishing to sqlite was held back by the client's thread committer at low and medium async; by the disk's sync \
              at low batch."
            ]
        );
    }
}
