//! A benchmark as one page: the answer in one table, the plots, what is said of them, and the tables behind them.

use std::io::{self, Write};

use super::before_after::before_and_after;
use super::burst_plots::{costs, latencies, memory, throughput};
use super::fastest::fastest;
use super::figure::section;
use super::numbers::grouped;
use super::page::{self, list, table};
use super::series::Series;
use super::settings::by_bus;
use super::soundness::{all_is_well, wrong};
use super::{against, overhead, tables};
use crate::contender::is_way;
use crate::result::{BenchReport, RunResult};
use crate::verdict;

/// The whole page. What is wrong comes before any speed.
pub(crate) fn render(report: &BenchReport) -> String {
    let runs = as_they_are(&report.results);
    let (series, setting) = (Series::by_bus(runs.iter().copied()), setting(report, &runs));
    let mut body = page::soundness(report.missing(), &wrong(report), all_is_well(report));
    body += &page::header(&report.header);
    body += &list("Against the baseline", &report.baseline.as_ref().map_or_else(Vec::new, against::sentences));
    body += &fastest(report).map_or_else(String::new, |fastest| table(&fastest));
    body += &list("Warnings", &report.warnings);
    body += &section("Throughput", &throughput(&series), &setting);
    body += &section("Latency", &latencies(&series), &setting);
    body += &section("Memory", &memory(&series), &setting);
    body += &section("Cost", &costs(&series), &setting);
    body += &before_and_after(report, |runs| self::setting(report, runs));
    body += &list("Verdict", &verdict::sentences(report));
    body += &list("Twins", &tables::twins(&report.summaries));
    body += &list("Overhead of measuring", &overhead::sentences(report));
    body += &list("Servers", &report.header.servers);
    body += &table(&tables::settings(report));
    tables::figures(report).iter().for_each(|figures| body += &table(figures));
    page::page("Busline benchmark", &body)
}

/// The runs whose buses are published to the fast way, or all where there are none: others stand with their bus.
fn as_they_are(results: &[RunResult]) -> Vec<&RunResult> {
    let plain: Vec<&RunResult> = results.iter().filter(|run| !is_way(&run.bus)).collect();
    if plain.is_empty() { results.iter().collect() } else { plain }
}

/// Writes the page of a benchmark, which needs nothing else when it is opened.
///
/// # Errors
/// Those of `out`.
pub fn write_page(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(render(report).as_bytes())
}

/// The settings of these runs and the machine, as they stand beside each figure.
fn setting(report: &BenchReport, runs: &[&RunResult]) -> String {
    let of = |run: &RunResult| format!("{}, window {}", run.durability, grouped(run.window_envelopes as f64));
    let buses = by_bus(runs.iter().map(|run| (run.bus.as_str(), of(run))));
    let topics = runs.first().map_or(0, |run| run.topics);
    let count = report.summaries.iter().map(|summary| summary.runs).max().unwrap_or(0);
    let machine = tables::machine(&report.header.machine);
    format!("{buses}; linger 0, {topics} topics of 4 partitions, runs: {count}. {machine}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::tests::{needs_nothing, parsed, titles};
    use crate::report::sample;

    fn duel() -> BenchReport {
        sample::report_of(sample::duel(&[2.0, 2.2, 1.8, 2.1, 1.9]))
    }

    #[test]
    fn every_plot_is_there_with_both_buses_and_the_machine() {
        let page = render(&duel());
        assert_eq!(
            titles(&page),
            [
                "async: acked",
                "async: consumed",
                "async: both at once",
                "low async: latency of 500 envelopes",
                "async: peak memory",
                "async: memory held after close",
                "low async: memory over the time of a run",
                "async: publishing an envelope",
                "async: consuming an envelope",
            ]
        );
        assert_eq!(parsed(&page)["figure"], 9);
        let places = ["Which bus for which load", "<figure>", "Verdict", "Settings"].map(|part| page.find(part));
        assert!(places.is_sorted() && places[0].is_some(), "the answer, pictures, sentences, the rest: {places:?}");
        for figure in page.split("<figure>").skip(1).map(|part| part.split("</figure>").next().expect("one")) {
            let plot = figure.split_once("</figcaption>").expect("a caption").1;
            for part in ["mark s0", "mark s1", "mark line s0", "mark line s1"] {
                assert!(
                    plot.contains(part)
                        || plot.contains(&part.replace("mark s", "mark line s"))
                        || plot.contains(&part.replace("line ", "")),
                    "{part} in {plot}"
                );
            }
            assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
            assert!(plot.contains("nats: written × 1, window 8,192") && plot.contains("2 × A Processor"), "{plot}");
        }
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        needs_nothing(&render(&duel()));
    }

    #[test]
    fn text_is_escaped_and_what_is_wrong_comes_first() {
        let mut report = duel();
        report.header.machine.processor = "<b>A & B</b>".into();
        report.results[1].lost = 1;
        let page = render(&report);
        assert!(page.contains("&lt;b&gt;A &amp; B&lt;/b&gt;") && !page.contains("<b>"));
        let wrong = page.find("WRONG: nats low async run 1").expect("named");
        assert!(wrong < page.find("<table>").expect("a table") && !page.contains("stored and delivered once"));
        parsed(&page);
    }

    #[test]
    fn a_load_that_lost_something_has_no_plot_of_speed() {
        let mut results = sample::duel(&[2.0]);
        results.iter_mut().for_each(|run| run.lost = 1);
        let page = render(&sample::report_of(results));
        let memory =
            ["async: peak memory", "async: memory held after close", "low async: memory over the time of a run"];
        assert_eq!(titles(&page), memory);
    }
}
