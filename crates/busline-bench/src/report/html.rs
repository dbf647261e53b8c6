//! Results as one page that needs nothing else: plots, tables and settings, for a phone, a screen and paper.

use std::fmt::Write;

use super::against;
use super::plot::{Bar, Group, Line, bars, escaped, lines};
use super::tables::{self, Table};
use super::wrong::{all_is_well, what_is_wrong};
use crate::compare::{Summary, buses};
use crate::result::{BenchReport, RunResult};
use crate::side_by_side::Speed;
use crate::verdict;
use crate::workload::{Level, Mode};

/// The whole page. What is wrong comes before any speed.
pub(crate) fn render(report: &BenchReport) -> String {
    let mut page = String::from(concat!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Busline benchmark</title>\n<style>\n",
        include_str!("page.css"),
        "</style>\n</head>\n<body>\n<h1>Busline benchmark</h1>\n"
    ));
    page += &soundness(report);
    let _ = writeln!(page, "<p>{}</p>", escaped(&tables::machine(&report.machine)));
    page += &table(&tables::settings(report));
    page += &list("Against the baseline", &report.baseline.as_ref().map_or_else(Vec::new, against::sentences));
    page += &list("Verdict", &verdict::sentences(report));
    page += &list("Warnings", &report.warnings);
    page += &list("Twins", &tables::twins(&report.summaries));
    page += &plots(report);
    tables::figures(&report.summaries).iter().for_each(|figures| page += &table(figures));
    page + "</body>\n</html>\n"
}

fn soundness(report: &BenchReport) -> String {
    let wrong = report.results.iter().filter(|run| !run.is_sound());
    let lines = wrong.map(|run| {
        let RunResult { bus, level, mode, run: number, .. } = run;
        let text = escaped(&format!("WRONG: {bus} {level} {mode} run {number}: {}", what_is_wrong(run)));
        format!("<p class=\"wrong\">{text}</p>\n")
    });
    let lines: String = lines.collect();
    if !lines.is_empty() {
        return lines;
    }
    format!("<p>A{}.</p>\n", escaped(&all_is_well(report)[1..]))
}

fn list(title: &str, sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let items: String = sentences.iter().map(|sentence| format!("<li>{}</li>\n", escaped(sentence))).collect();
    format!("<h2>{title}</h2>\n<ul>\n{items}</ul>\n")
}

fn table(table: &Table) -> String {
    let row = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells: String = cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let heads = row("th", &mut table.heads.iter().copied());
    let rows: String = table.rows.iter().map(|cells| row("td", &mut cells.iter().map(String::as_str))).collect();
    format!("<h2>{}</h2>\n<div class=\"wide\"><table>\n{heads}{rows}</table></div>\n", table.title)
}

/// What one envelope costs.
type Cost = fn(&RunResult) -> Option<f64>;

const COSTS: [(&str, Cost); 2] = [
    ("cost of publishing an envelope, µs", |run| run.client_cpu_us),
    ("cost of consuming an envelope, µs", |run| run.consume_cpu_us),
];

/// Each mode's speeds, memory and costs over the levels, and the latencies of each load.
fn plots(report: &BenchReport) -> String {
    let buses = buses(&report.summaries);
    let mut figures = String::new();
    for mode in Mode::ALL {
        for speed in Speed::ALL {
            let title = format!("{mode}: {}", speed.name());
            figures += &figure(&title, SPEED, &buses, bars(&title, &speeds(report, &buses, mode, speed)));
        }
        let title = format!("{mode}: peak memory, MiB");
        figures += &figure(&title, MEMORY, &buses, bars(&title, &memory(report, &buses, mode)));
        for (what, cost) in COSTS {
            let title = format!("{mode}: {what}");
            figures += &figure(&title, COST, &buses, bars(&title, &costs(report, &buses, mode, cost)));
        }
        for level in Level::ALL {
            let title = format!("{level} {mode}: burst start to ack, ms");
            let points = latencies(&report.summaries, &buses, (level, mode));
            figures += &figure(&title, LATENCY, &buses, lines(&title, &["p50", "p99", "p99.9", "max"], &points));
        }
    }
    format!("<h2>Plots</h2>\n<div class=\"plots\">\n{figures}</div>\n")
}

const SPEED: &str = "Median; the line spans slowest and fastest run.";
const COST: &str =
    "Processor time of this process, brokers not included: median; the line spans lowest and highest run.";
const MEMORY: &str = "Rise of resident memory during a run: median; the line spans lowest and highest run.";
const LATENCY: &str = "Percentiles, each the median of the runs; logarithmic.";

/// A plot with its title, what it shows and the colours of the buses; nothing if it has no values.
fn figure(title: &str, note: &str, buses: &[&str], plot: String) -> String {
    if !plot.contains("class=\"s") && !plot.contains("class=\"line") {
        return String::new();
    }
    let keys = buses.iter().enumerate().map(|(series, bus)| {
        let bus = escaped(bus);
        format!(r#"<span class="key"><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="s{series}" width="10" height="10"/></svg>{bus}</span>"#)
    });
    let (title, keys) = (escaped(title), keys.collect::<String>());
    format!("<figure>\n<figcaption><strong>{title}</strong><br>{keys}<br>{note}</figcaption>\n{plot}\n</figure>\n")
}

fn speeds(report: &BenchReport, buses: &[&str], mode: Mode, speed: Speed) -> Vec<Group> {
    groups(report, buses, mode, |run| speed.of(run))
}

fn costs(report: &BenchReport, buses: &[&str], mode: Mode, cost: Cost) -> Vec<Group> {
    groups(report, buses, mode, |run| cost(run).filter(|_| run.is_sound()))
}

fn memory(report: &BenchReport, buses: &[&str], mode: Mode) -> Vec<Group> {
    groups(report, buses, mode, |run| Some(run.memory_peak_delta_bytes.max(0) as f64 / f64::from(1 << 20)))
}

/// A group of bars for each level that has a value, a bar for each bus.
fn groups(report: &BenchReport, buses: &[&str], mode: Mode, of: impl Fn(&RunResult) -> Option<f64>) -> Vec<Group> {
    let bar = |series: usize, bus: &str, level: Level| {
        let runs = report.results.iter().filter(|it| it.bus == bus && (it.level, it.mode) == (level, mode));
        let values: Vec<f64> = runs.filter_map(&of).collect();
        let value = crate::compare::Figure::of(values.iter().copied())?.median;
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        Some(Bar { series, value, low, high: values.iter().copied().fold(0.0, f64::max) })
    };
    let group = |level: Level| {
        let bars: Vec<Bar> = buses.iter().enumerate().filter_map(|(series, bus)| bar(series, bus, level)).collect();
        (!bars.is_empty()).then(|| Group { label: level.to_string(), bars })
    };
    Level::ALL.into_iter().filter_map(group).collect()
}

fn latencies(summaries: &[Summary], buses: &[&str], load: (Level, Mode)) -> Vec<Line> {
    let line = |(series, bus): (usize, &&str)| {
        let summary = summaries.iter().find(|it| it.bus == **bus && (it.level, it.mode) == load)?;
        Some(Line { series, values: summary.publish_to_ack_ms?.to_vec() })
    };
    buses.iter().enumerate().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// The elements that are open at each place, checked to be closed in order; gives the number of each kind.
    fn parsed(page: &str) -> std::collections::BTreeMap<String, usize> {
        let mut counts = std::collections::BTreeMap::new();
        let mut open: Vec<&str> = Vec::new();
        let body = page.split_once("</style>").expect("a style").1;
        for tag in body.split('<').skip(1).map(|rest| rest.split_once('>').expect("a tag ends").0) {
            let name = tag.trim_start_matches('/').split(' ').next().expect("a name");
            match tag {
                "/head" | "/html" => {}
                tag if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "{name} closes another one"),
                tag if tag.ends_with('/') || name == "br" => *counts.entry(name.to_string()).or_default() += 1,
                _ => {
                    open.push(name);
                    *counts.entry(name.to_string()).or_default() += 1;
                }
            }
        }
        assert!(open.is_empty(), "never closed: {open:?}");
        counts
    }

    fn duel() -> BenchReport {
        sample::report_of(sample::duel(&[2.0, 2.2, 1.8, 2.1, 1.9]))
    }

    #[test]
    fn every_plot_is_there_and_has_a_mark_for_each_bus() {
        let page = render(&duel());
        assert_eq!(parsed(&page)["figure"], 7, "three speeds, memory, two costs, one latency");
        let figures: Vec<&str> =
            page.split("<figure>").skip(1).map(|it| it.split("</figure>").next().expect("one")).collect();
        for figure in figures {
            let plot = figure.split_once("</figcaption>").expect("a caption").1;
            let marks = |mark: &str| plot.matches(mark).count();
            let (bars, lines) = (marks("<rect class=\"s"), marks("<polyline"));
            assert!(bars == 2 && marks("class=\"error\"") == 2 || lines == 2 && marks("<circle") == 8, "{plot}");
            assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
            for series in ["s0\"", "s1\""] {
                assert!(plot.contains(series), "{series} in {plot}");
            }
        }
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let page = render(&duel());
        for from in ["http:", "https:", "//", "url(", "<script", "<link", "<img", "@import", "@font-face"] {
            assert!(!page.contains(from), "{from} in the page");
        }
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
    }

    #[test]
    fn text_is_escaped_and_what_is_wrong_comes_first() {
        let mut report = duel();
        report.machine.processor = "<b>A & B</b>".into();
        report.results[1].lost = 1;
        let page = render(&report);
        assert!(page.contains("&lt;b&gt;A &amp; B&lt;/b&gt;") && !page.contains("<b>"));
        let wrong = page.find("WRONG: nats low async run 1").expect("named");
        assert!(wrong < page.find("<table>").expect("a table") && !page.contains("stored and delivered once"));
        parsed(&page);
    }

    #[test]
    fn a_load_without_a_speed_has_no_plot() {
        let mut results = sample::duel(&[2.0]);
        for run in &mut results {
            (run.lost, run.publish_to_ack_ms) = (1, None);
        }
        let counts = parsed(&render(&sample::report_of(results)));
        assert_eq!(counts["figure"], 1, "memory alone");
    }
}
