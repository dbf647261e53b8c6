//! Tables on a terminal: columns of fixed widths.

use std::io::{self, Write};

/// A column: its head and its width.
pub(super) enum Column {
    /// Cells begin at its left end.
    Left(&'static str, usize),
    /// Cells end at its right end.
    Right(&'static str, usize),
}

use Column::{Left, Right};

/// Writes the heads.
pub(super) fn heads(columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
    let head = |column: &Column| match column {
        Left(head, _) | Right(head, _) => (*head).to_string(),
    };
    row(columns, columns.iter().map(head), out)
}

/// Writes a row, which has a cell for each column.
pub(super) fn row(columns: &[Column], cells: impl IntoIterator<Item = String>, out: &mut dyn Write) -> io::Result<()> {
    for (column, cell) in columns.iter().zip(cells) {
        match column {
            Left(_, width) => write!(out, "{cell:width$}")?,
            Right(_, width) => write!(out, "{cell:>width$}")?,
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_their_heads() {
        let (columns, mut out) = ([Left("bus", 6), Right("a/s", 8), Right("×", 4)], Vec::new());
        heads(&columns, &mut out).expect("memory takes all");
        row(&columns, ["nats", "1,000", "1.5"].map(String::from), &mut out).expect("memory takes all");
        assert_eq!(String::from_utf8(out).expect("text"), "bus        a/s   ×\nnats     1,000 1.5\n");
    }
}
