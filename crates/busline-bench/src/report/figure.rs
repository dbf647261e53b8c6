//! Plots as they stand on a page: each with its legend, a note, and the settings and machine it is of.

use super::escaped::escaped;
use super::look::Look;

/// A plot with what is needed to read it.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) title: String,
    pub(super) keys: Vec<Key>,
    /// What each mark stands for.
    pub(super) note: String,
    pub(super) plot: String,
}

/// What a look, or a kind of line, stands for.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) label: String,
    pub(super) sign: Sign,
}

/// The mark in front of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// A bar of this series.
    Bar(usize),
    /// A line of it.
    Curve(usize),
    /// A line in no colour.
    Line,
    /// A dashed one.
    Dashes,
}

/// Figures under a heading, each with the settings and the machine it is of; nothing without a figure.
pub(super) fn section(title: &str, figures: &[Figure], setting: &str) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let figures: String = figures.iter().map(|one| figure(one, setting)).collect();
    format!("<h2>{}</h2>\n<div class=\"plots\">\n{figures}</div>\n", escaped(title))
}

fn figure(figure: &Figure, setting: &str) -> String {
    let Figure { title, keys, note, plot } = figure;
    let keys: String = keys.iter().map(key).collect();
    let (title, note, setting) = (escaped(title), escaped(note), escaped(setting));
    format!(
        "<figure>\n<figcaption><strong>{title}</strong><p class=\"keys\">{keys}</p></figcaption>\n{plot}\n\
         <p class=\"note\">{note}</p>\n<p class=\"setting\">{setting}</p>\n</figure>\n"
    )
}

pub(super) fn key(key: &Key) -> String {
    let sign = match key.sign {
        Sign::Bar(series) => bar_sign(Look::of(series)),
        Sign::Curve(series) => curve_sign(Look::of(series)),
        Sign::Line => r#"<path class="line" d="M0 5H20"/>"#.into(),
        Sign::Dashes => r#"<path class="line dashed" d="M0 5H20"/>"#.into(),
    };
    let label = escaped(&key.label);
    format!(r#"<span class="key"><svg viewBox="0 0 20 10" aria-hidden="true">{sign}</svg>{label}</span> "#)
}

fn bar_sign(look: Look) -> String {
    let class = look.class();
    format!(r#"<rect class="{class}" width="20" height="10"/>"#) + &look.stripes(10.0, 10.0, 0.0, 20.0)
}

fn curve_sign(look: Look) -> String {
    let class = look.class();
    let shape = if look.has_shapes() { look.shape(10.0, 5.0) } else { String::new() };
    format!(r#"<path class="line {class}" d="M0 5H20"/>"#) + &shape
}
