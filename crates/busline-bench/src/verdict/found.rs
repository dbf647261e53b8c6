//! At which levels something was so, and how far its ratios reach.

use crate::side_by_side::Ratio;
use crate::workload::Level;

/// Levels that something was so at, each with the ratio that says so.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) levels: Vec<Level>,
    pub(super) ratios: Vec<Ratio>,
}

impl Found {
    /// The medians from the lowest to the highest, and the same of single runs.
    pub(super) fn reach(&self, other: &str) -> String {
        let over = |of: fn(&Ratio) -> f64, choose: fn(f64, f64) -> f64| self.ratios.iter().map(of).reduce(choose);
        let of = |least, most| Some((over(least, f64::min)?, over(most, f64::max)?));
        let Some(medians) = of(|it| it.median, |it| it.median) else { return String::new() };
        let Some((least, most)) = of(|it| it.smallest, |it| it.largest) else { return String::new() };
        format!("{} × {other} (single runs {least:.2} to {most:.2})", span(medians))
    }
}

fn span((least, most): (f64, f64)) -> String {
    let (least, most) = (format!("{least:.2}"), format!("{most:.2}"));
    if least == most { least } else { format!("{least} to {most}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_several_levels_reach_from_the_lowest_to_the_highest() {
        let ratio = |smallest, median, largest| Ratio { smallest, median, largest, runs: 5 };
        let one = Found { levels: vec![Level::Low], ratios: vec![ratio(1.5, 2.0, 2.5)] };
        assert_eq!(one.reach("nats"), "2.00 × nats (single runs 1.50 to 2.50)");
        let two = Found { ratios: vec![ratio(1.5, 2.0, 2.5), ratio(1.1, 1.2, 4.0)], ..one };
        assert_eq!(two.reach("nats"), "1.20 to 2.00 × nats (single runs 1.10 to 4.00)");
    }
}
