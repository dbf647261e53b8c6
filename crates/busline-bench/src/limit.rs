//! What held publishing back, as far as processors, threads, the disk and the window tell.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crate::compare::Summary;
use crate::result::{BenchReport, RunResult};
use crate::usage::Usage;
use crate::workload::Mode;

/// Bursts shorter than this, those of all runs together, tell nothing: the machine counts in hundredths of a second.
const SECONDS_MIN: f64 = 0.2;

/// Share of its time from which a thread, a server or a machine counts as busy without a rest.
const BUSY: f64 = 0.85;

/// Share of the time from which waiting for the disk counts.
const WAITING: f64 = 0.25;

/// Share of the windows from which they count as full.
const FULL: f64 = 0.8;

/// What the bursts of one load used, in processors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Used {
    /// By this process.
    pub(crate) client: f64,
    /// By the busiest of its threads, and its name.
    pub(crate) thread: Option<(String, f64)>,
    /// By all other processes.
    pub(crate) others: f64,
    /// Idle but for a disk.
    pub(crate) disk_wait: f64,
    /// Share of the windows that was taken, by the time from call to ack (Little's law).
    pub(crate) window: f64,
}

impl Used {
    /// Of these runs together; none if they were too short.
    pub(crate) fn by(runs: &[&RunResult]) -> Option<Self> {
        let usages: Vec<&Usage> = runs.iter().filter_map(|run| run.publish_usage.as_ref()).collect();
        let sum = |of: fn(&Usage) -> f64| usages.iter().map(|usage| of(usage)).sum::<f64>();
        let elapsed = sum(|usage| usage.elapsed_s);
        let window = runs.iter().filter_map(|run| window_taken(run)).sum::<f64>() / runs.len() as f64;
        (elapsed >= SECONDS_MIN).then(|| Self {
            client: sum(|usage| usage.client_cpu_s) / elapsed,
            thread: busiest_thread(&usages).map(|(name, cpu_s)| (name, cpu_s / elapsed)),
            others: sum(|usage| usage.others_cpu_s) / elapsed,
            disk_wait: sum(|usage| usage.disk_wait_s) / elapsed,
            window,
        })
    }

    /// The first of these that holds: nothing further back can be the limit while one in front of it is.
    pub(crate) fn limit(&self, processors: usize, mode: Mode) -> Limit {
        match &self.thread {
            Some((name, share)) if *share >= BUSY => Limit::Thread(name.clone()),
            _ if self.client + self.others >= BUSY * processors as f64 => Limit::Processors,
            _ if self.others >= BUSY => Limit::Server,
            _ if self.disk_wait >= WAITING => Limit::Disk,
            _ if mode.waits_for_each() => Limit::Callers,
            _ if self.window >= FULL => Limit::Window,
            _ => Limit::Unseen,
        }
    }
}

/// The thread that used most where it was the busiest, and its processor time there. Where another one was, its own is not
/// known and counts as none: so its share is never too large. Unit: seconds.
fn busiest_thread(usages: &[&Usage]) -> Option<(String, f64)> {
    let mut by_name: BTreeMap<&str, f64> = BTreeMap::new();
    for thread in usages.iter().filter_map(|usage| usage.busiest_thread.as_ref()) {
        *by_name.entry(&thread.name).or_default() += thread.cpu_s;
    }
    let busiest = by_name.into_iter().max_by(|one, other| one.1.total_cmp(&other.1));
    busiest.map(|(name, cpu_s)| (name.to_string(), cpu_s))
}

/// The loads whose bursts were sound and long enough to tell, with what they used.
pub(crate) fn long_enough(report: &BenchReport) -> Vec<(&Summary, Used)> {
    let of = |summary: &'_ Summary| {
        let load = (&summary.bus, summary.level, summary.mode);
        let runs: Vec<&RunResult> =
            report.results.iter().filter(|run| (&run.bus, run.level, run.mode) == load && run.is_sound()).collect();
        Used::by(&runs)
    };
    report.summaries.iter().filter_map(|summary| Some((summary, of(summary)?))).collect()
}

/// Envelopes under way on average, of those that the windows hold.
fn window_taken(run: &RunResult) -> Option<f64> {
    let under_way = run.acked_per_s? * run.histograms.call_to_ack_ns.mean_ms()? / 1e3;
    Some((under_way / (run.window_envelopes * run.topics) as f64).min(1.0))
}

/// What a load was held back by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Limit {
    /// One thread of the client never rested.
    Thread(String),
    /// Client and servers together left no processor idle.
    Processors,
    /// What runs beside the client, the server among it, used a processor and more.
    Server,
    /// Processors waited for the disk.
    Disk,
    /// Senders that wait for each ack by itself.
    Callers,
    /// The windows were full, and nothing was busy: the way to the server and back.
    Window,
    /// None of these.
    Unseen,
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(name) => write!(f, "the client's thread {name}"),
            Self::Processors => f.write_str("all processors"),
            Self::Server => f.write_str("the server's CPU"),
            Self::Disk => f.write_str("the disk's sync"),
            Self::Callers => f.write_str("callers that wait for each ack"),
            Self::Window => f.write_str("the window"),
            Self::Unseen => f.write_str("nothing that is seen here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buckets::Buckets;
    use crate::report::sample;
    use crate::usage::ThreadUsage;

    fn used(client: f64, thread: f64, others: f64, disk_wait: f64, window: f64) -> Used {
        Used { client, thread: Some(("t".into(), thread)), others, disk_wait, window }
    }

    #[test]
    fn what_never_rested_is_the_limit() {
        let limit = |used: Used| used.limit(2, Mode::Async);
        assert_eq!(limit(used(1.2, 0.95, 0.8, 0.0, 1.0)), Limit::Thread("t".into()));
        assert_eq!(limit(used(0.7, 0.4, 1.1, 0.0, 1.0)), Limit::Processors);
        assert_eq!(limit(used(0.3, 0.2, 1.0, 0.0, 1.0)), Limit::Server);
        assert_eq!(limit(used(0.3, 0.2, 0.1, 0.6, 1.0)), Limit::Disk);
        assert_eq!(limit(used(0.3, 0.2, 0.1, 0.1, 0.9)), Limit::Window);
        assert_eq!(limit(used(0.3, 0.2, 0.1, 0.1, 0.3)), Limit::Unseen);
        assert_eq!(used(0.3, 0.2, 0.1, 0.1, 0.9).limit(2, Mode::Sync), Limit::Callers);
    }

    #[test]
    fn runs_count_by_their_length_and_short_ones_tell_nothing() {
        let run = |elapsed_s, client_cpu_s| RunResult {
            publish_usage: Some(Usage { client_cpu_s, ..sample::usage(elapsed_s) }),
            ..sample::run(1)
        };
        let (long, short) = (run(3.0, 1.0), run(1.0, 1.0));
        let used = Used::by(&[&long, &short]).expect("four seconds");
        assert_eq!((used.client, used.thread), (0.5, Some(("committer".into(), 0.95))));
        assert_eq!(Used::by(&[&run(0.05, 0.05)]), None);
        let unmeasured = RunResult { publish_usage: None, ..run(3.0, 1.0) };
        assert_eq!(Used::by(&[&unmeasured]), None);
    }

    #[test]
    fn threads_of_other_names_do_not_count_as_the_busiest_one() {
        let run = |name: &str, elapsed_s| {
            let usage = sample::usage(elapsed_s);
            let busiest_thread = Some(ThreadUsage { name: name.into(), cpu_s: 0.9 * elapsed_s });
            RunResult { publish_usage: Some(Usage { busiest_thread, ..usage }), ..sample::run(1) }
        };
        let used = Used::by(&[&run("reader", 1.0), &run("writer", 2.0), &run("reader", 1.5)]).expect("long enough");
        assert_eq!(used.thread, Some(("reader".into(), 0.5)), "2.25 s of 4.5 s");
    }

    #[test]
    fn the_window_is_filled_by_what_is_under_way() {
        let run = RunResult {
            acked_per_s: Some(100_000.0),
            topics: 2,
            window_envelopes: 1_000,
            histograms: crate::result::Histograms {
                call_to_ack_ns: Buckets(vec![(5_000_000, 10), (15_000_000, 10)]),
                ..sample::run(1).histograms
            },
            ..sample::run(1)
        };
        assert_eq!(window_taken(&run), Some(0.5), "10 ms at 100,000 a second are 1,000 of 2,000");
    }
}
