//! How the values of flags are read. Each error says what to write instead.

use std::time::Duration;

use busline::{OccurredAt, Offset, Partition, Start};
use jiff::Timestamp;

/// A limit that is to hold from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    Off,
    At(T),
}

impl<T> Limit<T> {
    pub(crate) fn at(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::At(limit) => Some(limit),
        }
    }
}

pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    OccurredAt::parse(text).map(|time| time.instant).map_err(|_| "use a time such as 2026-11-25T08:00:00Z".into())
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let above_zero = seconds.filter(|seconds| !seconds.is_zero());
    above_zero.ok_or_else(|| "use a number of seconds above 0, such as 2.5".into())
}

/// A time with its unit.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let each = match &text[at..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(SPANS.into()),
    };
    let seconds = text[..at].parse::<f64>().ok().filter(|count| *count > 0.0).map(|count| count * each);
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| SPANS.into())
}

const SPANS: &str = "use a number above 0 and its unit: ms, s, m or h, such as 2.5s";

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let above_zero = text.parse().ok().filter(|bytes| *bytes > 0);
    above_zero.ok_or_else(|| format!("use a whole number of bytes from 1 to {}", u64::MAX))
}

pub(super) fn records(text: &str) -> Result<u64, String> {
    let above_zero = text.parse().ok().filter(|records| *records > 0);
    above_zero.ok_or_else(|| "use a whole number of records above 0".into())
}

/// Copies of a record; none at all is left to the topic, which names its range.
pub(super) fn copies(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| "use a whole number from 1 to 255".into())
}

/// The same, or none.
pub(super) fn limit<T>(parse: fn(&str) -> Result<T, String>) -> impl Fn(&str) -> Result<Limit<T>, String> + Clone {
    move |text| match text {
        "none" => Ok(Limit::Off),
        _ => parse(text).map(Limit::At).map_err(|use_it| format!("{use_it}, or none")),
    }
}

pub(super) fn name_and_text(text: &str) -> Result<(String, String), String> {
    let (name, text) = text.split_once('=').ok_or("write NAME=TEXT")?;
    Ok((name.into(), text.into()))
}

pub(super) fn position(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b',')) => offsets(text),
        _ => match OccurredAt::parse(text) {
            Ok(time) => Ok(Start::Time(time.instant)),
            Err(_) => Err(POSITIONS.into()),
        },
    }
}

const POSITIONS: &str = "use earliest, latest, P:OFFSET[,P:OFFSET…] or a time such as 2026-11-25T08:00:00Z";

fn offsets(text: &str) -> Result<Start, String> {
    let mut offsets: Vec<(Partition, Offset)> = Vec::new();
    for part in text.split(',') {
        let (partition, offset) = part.split_once(':').ok_or(POSITIONS)?;
        let partition = Partition(partition.parse().map_err(|_| POSITIONS)?);
        if offsets.iter().any(|(known, _)| *known == partition) {
            return Err(format!("partition {partition} is given twice"));
        }
        offsets.push((partition, Offset(offset.parse().map_err(|_| POSITIONS)?)));
    }
    Ok(Start::Offsets(offsets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        for (text, millis) in [("50ms", 50), ("2.5s", 2_500), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "0s", "1d", "1 s", "1e300h"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[track_caller]
    fn begins(text: &str, expected: Start) {
        assert_eq!(position(text), Ok(expected), "{text}");
    }

    #[test]
    fn positions_of_every_form_are_read() {
        begins("earliest", Start::Earliest);
        begins("latest", Start::Latest);
        begins("0:12", Start::Offsets(vec![(Partition(0), Offset(12))]));
        begins("0:12,3:0", Start::Offsets(vec![(Partition(0), Offset(12)), (Partition(3), Offset(0))]));
        let time = OccurredAt::parse("2026-11-25T08:00:00+01:00").expect("legal").instant;
        begins("2026-11-25T08:00:00+01:00", Start::Time(time));
    }

    #[test]
    fn other_positions_are_refused_with_the_forms() {
        for text in ["", "first", "0", "0:", ":0", "0:1,", "0:1,0:2", "0:-1", "4294967296:0", "2026-11-25", "2026"] {
            position(text).expect_err(text);
        }
    }
}
