//! An open load as one page: what it says, its plots, and the table behind them.

use std::io::{self, Write};

use super::figure::section;
use super::numbers::grouped;
use super::open_plots::{over_rates, over_time, percentiles};
use super::open_tables::{flatness, rates};
use super::open_words::{all_is_well, best, wrong};
use super::page::{self, list, table};
use super::settings::by_bus;
use super::{overhead, tables};
use crate::open_load::{OpenReport, RateResult};

/// The whole page. What is wrong comes before any speed.
pub(crate) fn render(report: &OpenReport) -> String {
    let setting = setting(report);
    let mut body = page::soundness(report.missing(), &wrong(report), all_is_well(report));
    body += &page::header(&report.header);
    body += &list("Verdict", &best(report));
    body += &flatness(report).map_or_else(String::new, |flatness| table(&flatness));
    body += &list("Warnings", &report.warnings);
    body += &section("Over the rate", &over_rates(report), &setting);
    body += &section("Latency", &percentiles(report), &setting);
    body += &section("Over time", &over_time(report), &setting);
    body += &list("Overhead of measuring", &overhead::sentences_of_rates(report));
    body += &list("Servers", &report.header.servers);
    body += &table(&rates(report));
    page::page("Busline open load", &body)
}

/// Writes the page of an open load, which needs nothing else when it is opened.
///
/// # Errors
/// Those of `out`.
pub fn write_open_page(report: &OpenReport, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(render(report).as_bytes())
}

/// The settings and the machine, as they stand beside each figure.
fn setting(report: &OpenReport) -> String {
    let of = |result: &RateResult| result.durability.clone();
    let buses = by_bus(report.results.iter().map(|result| (result.bus.as_str(), of(result))));
    let bytes = report.results.first().map_or(0, |result| result.payload_bytes);
    let OpenReport { duration_s, topics, window_envelopes, .. } = report;
    format!(
        "{buses}; payloads of {bytes} B, {topics} topics of 4 partitions, window {}, linger 0, each rate for {duration_s} s. \
         {}.",
        grouped(*window_envelopes as f64),
        tables::machine(&report.header.machine)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::tests::{needs_nothing, parsed, titles};
    use crate::report::sample;

    #[test]
    fn what_is_wrong_comes_first_and_what_held_has_its_plots() {
        let page = render(&sample::open_load());
        let wrong = page.find("WRONG: sqlite at 2000/s: 3 lost, 1 out of order").expect("named");
        assert!(wrong < page.find("<figure>").expect("a plot"));
        assert_eq!(
            titles(&page),
            [
                "delivered at each rate",
                "p99 at each rate",
                "cost at each rate",
                "sqlite: latency at each rate",
                "sqlite: memory over time",
                "sqlite: held memory over time",
                "sqlite: lag over time",
                "sqlite: throughput over time",
            ]
        );
        assert!(page.contains(r#"<td data-head="memory held">flat, 0.48 MiB ± 1.91 MiB in an hour"#), "{page}");
        assert!(page.contains("window 8,192") && page.contains("2 × A Processor"), "{page}");
        needs_nothing(&page);
        parsed(&page);
    }

    #[test]
    fn a_sound_load_says_so() {
        let mut report = sample::open_load();
        report.results.truncate(1);
        let page = render(&report);
        assert!(page.contains("All 10,000 envelopes (rates: 1) were stored and delivered once"), "{page}");
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
