//! A page that needs nothing else: its frame, and how lists and tables stand in it.

use super::escaped::escaped;
use super::tables::{self, Table};
use crate::header::Header;

/// The whole page around this body.
///
/// The policy forbids the browser to load anything at all, so that a page stays one file, whatever is put into it.
pub(super) fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    let style = include_str!("page.css");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escaped(text))
}

/// What is missing and what is wrong, before any speed; of what is sound, that all is well.
pub(super) fn soundness(missing: Option<String>, wrong: &[String], all_is_well: Option<String>) -> String {
    let missing = missing.map_or_else(String::new, |text| format!("<p class=\"wrong\">{}</p>\n", escaped(&text)));
    let told = all_is_well.map_or_else(String::new, |told| paragraph(&told));
    missing + &if wrong.is_empty() { told } else { faults(wrong) }
}

fn faults(lines: &[String]) -> String {
    lines.iter().map(|line| format!("<p class=\"wrong\">WRONG: {}</p>\n", escaped(line))).collect()
}

/// On what it was measured, and how to do that again.
pub(super) fn header(header: &Header) -> String {
    let Header { version, command: line, machine, .. } = header;
    paragraph(&format!("Version {version} on {}", tables::machine(machine))) + &command(line)
}

/// The command that repeats what the page shows.
fn command(line: &str) -> String {
    format!("<pre><code>{}</code></pre>\n", escaped(line))
}

pub(super) fn list(title: &str, sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let items: String = sentences.iter().map(|sentence| format!("<li>{}</li>\n", escaped(sentence))).collect();
    format!("<h2>{}</h2>\n<ul>\n{items}</ul>\n", escaped(title))
}

/// A table. Each cell knows its head, which a narrow screen shows beside it.
pub(super) fn table(table: &Table) -> String {
    let heads: String = table.heads.iter().map(|head| format!("<th>{}</th>", escaped(head))).collect();
    let row = |cells: &Vec<String>| {
        let cell =
            |(head, cell): (&&str, &String)| format!(r#"<td data-head="{}">{}</td>"#, escaped(head), escaped(cell));
        let cells: String = table.heads.iter().zip(cells).map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!(
        "<h2>{}</h2>\n<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
        escaped(table.title)
    )
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::figure::{Figure, Key, Sign, section};

    /// The elements of a page by their names, checked to be closed in order.
    pub(in crate::report) fn parsed(page: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let mut open: Vec<&str> = Vec::new();
        let body = page.split_once("</style>").expect("a style").1;
        for tag in body.split('<').skip(1).map(|rest| rest.split_once('>').expect("a tag ends").0) {
            let name = tag.trim_start_matches('/').split(' ').next().expect("a name");
            match tag {
                "/head" | "/html" => continue,
                tag if tag.starts_with('/') => {
                    assert_eq!(open.pop(), Some(name), "{name} closes another one");
                    continue;
                }
                tag if !tag.ends_with('/') => open.push(name),
                _ => {}
            }
            *counts.entry(name.to_string()).or_default() += 1;
        }
        assert!(open.is_empty(), "never closed: {open:?}");
        counts
    }

    /// The titles of its plots, in their order.
    pub(in crate::report) fn titles(page: &str) -> Vec<&str> {
        let of = |part: &'_ str| part.split("</strong>").next().map(str::len);
        page.split("<figcaption><strong>").skip(1).filter_map(|part| Some(&part[..of(part)?])).collect()
    }

    /// Asserts that a page loads nothing.
    #[track_caller]
    pub(in crate::report) fn needs_nothing(page: &str) {
        for from in ["http:", "https:", "//", "url(", "<script", "<link", "<img", "@import", "@font-face"] {
            assert!(!page.contains(from), "{from} in the page");
        }
        assert!(page.contains("default-src 'none'") && page.contains("width=device-width"));
    }

    #[test]
    fn everything_is_escaped_and_closed() {
        let bad = "<b> & \"";
        let one = Figure {
            title: bad.into(),
            keys: vec![Key { label: bad.into(), sign: Sign::Bar(0) }, Key { label: bad.into(), sign: Sign::Dashes }],
            note: bad.into(),
            plot: "<svg></svg>".into(),
        };
        let all = Table { title: "T", heads: vec!["a & b", "c"], rows: vec![vec![bad.into(), "1".into()]] };
        let body = [
            paragraph(bad),
            soundness(Some(bad.into()), &[bad.into()], Some(bad.into())),
            command(bad),
            list("L", &[bad.into()]),
            table(&all),
            section("S", &[one], bad),
        ];
        let page = page(bad, &body.concat());
        let counts = parsed(&page);
        assert!(!page.contains("<b>") && counts["td"] == 2 && counts["figure"] == 1, "{counts:?}");
        assert!(page.contains(r#"<td data-head="a &amp; b">"#), "{page}");
        needs_nothing(&page);
    }

    #[test]
    fn what_is_empty_has_no_heading() {
        assert_eq!(list("L", &[]) + &section("S", &[], ""), "");
    }
}
