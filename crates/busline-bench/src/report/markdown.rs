//! Results as Markdown: the tables of a report that people quote.

use super::fastest::fastest;
use super::soundness::{all_is_well, wrong};
use super::tables::{self, Table};
use super::{against, overhead, predecessor};
use crate::header::Header;
use crate::result::BenchReport;
use crate::verdict;

/// The whole report. What is wrong comes before any speed, and the answer before how it was come by.
pub(crate) fn render(report: &BenchReport) -> String {
    let mut text = String::from("# Busline benchmark\n\n");
    text += &soundness(report.missing(), &wrong(report), all_is_well(report));
    text += &header(&report.header);
    text += &list("Against the baseline", &report.baseline.as_ref().map_or_else(Vec::new, against::sentences));
    text += &fastest(report).map_or_else(String::new, |fastest| table(&fastest));
    text += &list("Verdict", &verdict::sentences(report));
    text += &list("Warnings", &report.warnings);
    text += &predecessor::rows(report).map_or_else(String::new, |rows| table(&rows) + predecessor::NOTE);
    text = tables::figures(report).iter().fold(text, |text, figures| text + &table(figures));
    text += &format!("\n## Method\n\n{}", include_str!("method.md"));
    text += &list("Twins", &tables::twins(&report.summaries));
    text += &list("Overhead of measuring", &overhead::sentences(report));
    text += &table(&tables::settings(report));
    text + &list("Servers", &report.header.servers)
}

/// How and on what it was measured.
pub(super) fn header(header: &Header) -> String {
    let Header { version, command, machine, .. } = header;
    let machine = tables::machine(machine);
    format!("\nMeasured by version {version} on {machine}:\n\n```sh\n{command}\n```\n")
}

/// What is missing and what is wrong, before any speed; of what is sound, that all is well.
pub(super) fn soundness(missing: Option<String>, wrong: &[String], all_is_well: Option<String>) -> String {
    let missing = missing.map_or_else(String::new, |missing| format!("**{missing}**\n\n"));
    missing
        + &match wrong {
            [] => all_is_well.map_or_else(String::new, |told| format!("{told}\n")),
            wrong => wrong.iter().map(|line| format!("- **WRONG**: {line}\n")).collect(),
        }
}

pub(super) fn list(title: &str, sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let lines: String = sentences.iter().map(|sentence| format!("- {sentence}\n")).collect();
    format!("\n## {title}\n\n{lines}")
}

pub(super) fn table(table: &Table) -> String {
    let Table { title, heads, rows } = table;
    let rule = "---|".repeat(heads.len());
    let rows: String = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    format!("\n## {title}\n\n| {} |\n|{rule}\n{rows}", heads.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_report_of_two_buses() {
        let mut results = sample::duel(&[2.0, 2.2, 1.8, 2.1, 1.9]);
        results.iter_mut().for_each(|run| run.publish_usage = Some(sample::usage(0.1)));
        insta::assert_snapshot!(render(&sample::report_of(results)));
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let mut results = sample::duel(&[2.0]);
        results[1].lost = 3;
        let text = render(&sample::report_of(results));
        let first = text.lines().nth(2).expect("a line");
        assert!(first.starts_with("- **WRONG**: nats low async run 1: 3 lost of 500"), "{text}");
        assert!(!text.contains("were stored and delivered"), "{text}");
    }
}
