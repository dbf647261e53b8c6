//! Sentences on a terminal.

use std::io::{self, Write};

/// Columns of a line at most.
pub(super) const COLUMNS: usize = 100;

/// Writes a sentence in as many lines as it takes.
pub(super) fn folded(out: &mut dyn Write, before: &str, text: &str) -> io::Result<()> {
    let mut line = before.to_string();
    for word in text.split(' ') {
        let empty = line.trim().is_empty() || line == before;
        if !empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(out, "{line}")?;
            line.clear();
        }
        if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{line}")
}
