//! An open load as Markdown.

use super::markdown::{header, list, soundness, table};
use super::open_tables::{flatness, rates, settings};
use super::open_words::{all_is_well, best, wrong};
use super::overhead;
use crate::open_load::OpenReport;

/// The whole report. What is wrong comes before any speed.
pub(crate) fn render(report: &OpenReport) -> String {
    let mut text = String::from("# Busline open load\n\n")
        + &soundness(report.missing(), &wrong(report), all_is_well(report))
        + &header(&report.header);
    text += &list("Verdict", &best(report));
    text += &list("Warnings", &report.warnings);
    text += &table(&rates(report));
    text += &flatness(report).map_or_else(String::new, |flatness| table(&flatness));
    text += &format!("\n## Method\n\n{}", include_str!("open_method.md"));
    text += &list("Overhead of measuring", &overhead::sentences_of_rates(report));
    text += &table(&settings(report));
    text + &list("Servers", &report.header.servers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_soak_of_two_rates_of_which_one_lost_something() {
        insta::assert_snapshot!(render(&sample::open_load()));
    }

    #[test]
    fn a_sound_load_says_so() {
        let mut report = sample::open_load();
        report.results.truncate(1);
        let text = render(&report);
        assert!(text.contains("\n\nAll 10,000 envelopes (rates: 1) were stored and delivered once"), "{text}");
        assert!(!text.contains("WRONG"), "{text}");
    }
}
