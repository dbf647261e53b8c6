//! What takes no part in what its speed would decide.

use super::listed::listed;
use crate::compare::{Summary, buses};

/// A sentence for each bus that was not sound somewhere, and one for each that refused something.
pub(super) fn left_out(summaries: &[Summary]) -> Vec<String> {
    let all = buses(summaries).into_iter().flat_map(|bus| {
        let own: Vec<&Summary> = summaries.iter().filter(|it| it.bus == bus).collect();
        [unsound(bus, &own), refused(bus, &own)]
    });
    all.flatten().collect()
}

fn unsound(bus: &str, own: &[&Summary]) -> Option<String> {
    let told = |it: &&Summary| format!("{} {} (runs: {} of {})", it.level, it.mode, it.unsound_runs, it.runs);
    let loads: Vec<String> = own.iter().filter(|it| it.unsound_runs > 0).map(told).collect();
    (!loads.is_empty()).then(|| {
        let loads = listed(&loads);
        format!(
            "{bus} lost, doubled, reordered or did not ack something at {loads}: it is compared with nothing there."
        )
    })
}

fn refused(bus: &str, own: &[&Summary]) -> Option<String> {
    let told = |it: &&Summary| format!("{:.1} % of {} {}", it.success_percent, it.level, it.mode);
    let loads: Vec<String> = own.iter().filter(|it| it.unsound_runs == 0 && !it.is_comparable()).map(told).collect();
    (!loads.is_empty()).then(|| {
        let loads = listed(&loads);
        format!(
            "{bus} stored {loads} at worst and refused the rest, as its strategy does: it is compared with nothing there."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::summarize;
    use crate::report::sample;
    use crate::result::RunResult;
    use crate::workload::Level;

    #[test]
    fn a_bus_is_told_once_with_all_of_its_levels() {
        let mut results = sample::duel(&[2.0; 5]);
        let of = |level, change: fn(&mut RunResult)| {
            let mut run = RunResult { level, ..results[1].clone() };
            change(&mut run);
            run
        };
        let refuse = |run: &mut RunResult| (run.rejected, run.success_percent) = (450, 10.0);
        let more = [of(Level::Medium, refuse), of(Level::High, refuse), of(Level::Extreme, |run| run.lost = 2)];
        results.extend(more);
        let told = left_out(&summarize(&results));
        let [lost, refused] = &told[..] else { panic!("two sentences: {told:?}") };
        assert!(lost.contains("something at extreme async (runs: 1 of 1): it is"), "{lost}");
        assert!(refused.contains("stored 10.0 % of medium async and 10.0 % of high async at worst"), "{refused}");
    }
}
