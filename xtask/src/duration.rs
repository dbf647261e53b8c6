//! Durations as people read them.

use std::fmt;
use std::time::Duration;

/// Shows `800 ms`, `12.3 s` or `7 min 05 s`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self.0 {
            took if took < Duration::from_secs(1) => format!("{} ms", took.as_millis()),
            took if took < Duration::from_secs(60) => format!("{:.1} s", took.as_secs_f64()),
            took => format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60),
        };
        f.pad(&shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_its_unit() {
        let shown = |millis| Shown(Duration::from_millis(millis)).to_string();
        assert_eq!([shown(800), shown(12_340), shown(425_000)], ["800 ms", "12.3 s", "7 min 05 s"]);
    }
}
