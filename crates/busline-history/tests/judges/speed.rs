use std::time::Instant;

use busline_history::GroupPlan;

use crate::story::{Story, story};

/// Publishes and handles `records` records: nine entries each, a commit after every hundred.
fn long_run(records: u64) -> Story {
    let mut long = story().billing_from(0).assign(1);
    long.plan.groups.push(GroupPlan::from_beginning("audit", "payments"));
    for offset in 0..records {
        let id = format!("e{offset}");
        long = long.publish(&id, &format!("k{}", offset % 1_000), offset).handle(&id);
        if offset % 100 == 99 {
            long = long.commit(offset + 1);
        }
    }
    long.drained()
}

#[test]
fn judging_takes_time_in_proportion_to_the_history() {
    let (short, long) = (long_run(2_000), long_run(20_000));
    // The best of three: a neighbour on the machine must not decide.
    let time = |story: &Story| {
        let once = || {
            let began = Instant::now();
            story.is_clean();
            began.elapsed()
        };
        once().min(once()).min(once())
    };
    let (short, long) = (time(&short), time(&long));
    assert!(long < short * 40, "ten times the history took {long:?} instead of {short:?}");
}
