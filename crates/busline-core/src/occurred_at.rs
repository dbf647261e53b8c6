//! When an event happened, read and written as RFC 3339 has it.

use std::cell::Cell;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::Offset as UtcOffset;

use crate::error::{Error, Result, escaped};

/// When an event happened: an instant in nanoseconds, and the UTC offset it was written with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OccurredAt {
    /// The instant.
    pub instant: Timestamp,
    /// The author's own offset, written back as it came.
    pub offset: UtcOffset,
}

impl OccurredAt {
    /// This instant, written in UTC.
    pub fn utc(instant: Timestamp) -> Self {
        Self { instant, offset: UtcOffset::UTC }
    }

    /// Reads an RFC 3339 time with an offset.
    ///
    /// # Errors
    /// `Invalid/Time` for anything else, a time without an offset included.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(|error| error.at("time", if text.is_empty() { "''" } else { text }))
    }

    /// As [`OccurredAt::parse`], with an error for who reads more than a time to place.
    pub(crate) fn read(text: &str) -> Result<Self> {
        if let Some(time) = parse_in_last_second(text) {
            return Ok(time);
        }
        let instant: Timestamp =
            text.parse().map_err(|_| not_a_time(format!("'{}' is no such time", escaped(text))))?;
        let offset = offset_of(text).ok_or_else(|| not_a_time("its offset is malformed"))?;
        let time = Self { instant, offset };
        time.check()?;
        remember_second(text, time);
        Ok(time)
    }

    /// Whether the time can be written in RFC 3339 and read back: a year from 1 to 9999 and an offset below a day.
    ///
    /// # Errors
    /// `Invalid/Time`.
    pub(crate) fn check(self) -> Result<()> {
        let offset = whole_minutes(self.offset);
        if offset.seconds().unsigned_abs() >= 86_400 {
            return Err(not_a_time("its offset is a day or more"));
        }
        let year = offset.to_datetime(self.instant).year();
        if year < 1 { Err(not_a_time(format!("year {year} is before year 1"))) } else { Ok(()) }
    }

    /// Appends the RFC 3339 text: UTC as `Z`, and as many digits of the fraction as it has.
    ///
    /// An offset is written in whole minutes, as RFC 3339 has it; the instant stays exact.
    pub(crate) fn write_to(self, out: &mut Vec<u8>) {
        // Events come in runs of the same second, so the calendar is asked once a second and thread.
        thread_local!(static LAST: Cell<Option<(i64, UtcOffset, [u8; 19])>> = const { Cell::new(None) });
        let second = self.instant.as_nanosecond().div_euclid(1_000_000_000) as i64;
        let nanos = self.instant.as_nanosecond().rem_euclid(1_000_000_000) as u32;
        let offset = whole_minutes(self.offset);
        let text = match LAST.get() {
            Some((s, o, text)) if s == second && o == offset => text,
            _ => civil_seconds(second, offset),
        };
        LAST.set(Some((second, offset, text)));
        out.extend_from_slice(&text);
        write_fraction(nanos, out);
        write_offset(offset, out);
    }
}

impl fmt::Display for OccurredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(40);
        self.write_to(&mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for OccurredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// Events come in runs of the same second, so its calendar is read once. In UTC only, and only as we write it: then
// the text of a second names one instant.
thread_local!(static LAST_READ: Cell<Option<([u8; 19], i64)>> = const { Cell::new(None) });

fn parse_in_last_second(text: &str) -> Option<OccurredAt> {
    let (head, tail) = text.as_bytes().split_first_chunk::<19>()?;
    let (last, second) = LAST_READ.get()?;
    let nanos = fraction_of(tail.strip_suffix(b"Z")?)?;
    (*head == last).then(|| Timestamp::new(second, nanos).ok()).flatten().map(OccurredAt::utc)
}

fn remember_second(text: &str, time: OccurredAt) {
    let second = time.instant.as_nanosecond().div_euclid(1_000_000_000) as i64;
    let written = civil_seconds(second, UtcOffset::UTC);
    if time.offset == UtcOffset::UTC && text.as_bytes().starts_with(&written) {
        LAST_READ.set(Some((written, second)));
    }
}

/// The nanoseconds of nothing, or of a point and 1 to 9 digits.
fn fraction_of(text: &[u8]) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(b".").filter(|digits| (1..=9).contains(&digits.len()))?;
    let number = |sum: i32, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0'));
    let nanos = digits.iter().try_fold(0, number)?;
    Some(nanos * 10_i32.pow(9 - digits.len() as u32))
}

fn not_a_time(cause: impl Into<String>) -> Error {
    Error::invalid("Time").cause(cause).next("write an RFC 3339 time with an offset, such as 2026-11-25T08:00:00Z")
}

/// The offset at the end of an RFC 3339 time.
fn offset_of(text: &str) -> Option<UtcOffset> {
    if text.ends_with(['Z', 'z']) {
        return Some(UtcOffset::UTC);
    }
    let tail = text.get(text.len().checked_sub(6)?..)?;
    let (sign, rest) = match tail.as_bytes()[0] {
        b'+' => (1, &tail[1..]),
        b'-' => (-1, &tail[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()? * 3_600 + minutes.parse::<i32>().ok()? * 60;
    UtcOffset::from_seconds(sign * seconds).ok()
}

fn whole_minutes(offset: UtcOffset) -> UtcOffset {
    UtcOffset::from_seconds(offset.seconds() / 60 * 60).unwrap_or(offset)
}

/// `2026-11-25T08:00:00`, of a year from 0 to 9999.
fn civil_seconds(second: i64, offset: UtcOffset) -> [u8; 19] {
    let civil = offset.to_datetime(Timestamp::from_second(second).unwrap_or(Timestamp::MIN));
    let mut text = *b"0000-00-00T00:00:00";
    write_digits(civil.year().unsigned_abs().into(), &mut text[..4]);
    let pairs = [civil.month(), civil.day(), civil.hour(), civil.minute(), civil.second()];
    for (pair, place) in pairs.into_iter().zip(text[5..].chunks_mut(3)) {
        write_digits(pair.unsigned_abs().into(), &mut place[..2]);
    }
    text
}

fn write_digits(mut number: u32, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn write_fraction(nanos: u32, out: &mut Vec<u8>) {
    if nanos == 0 {
        return;
    }
    let mut digits = [b'0'; 9];
    write_digits(nanos, &mut digits);
    let length = 9 - digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    out.push(b'.');
    out.extend_from_slice(&digits[..length]);
}

fn write_offset(offset: UtcOffset, out: &mut Vec<u8>) {
    let seconds = offset.seconds();
    if seconds == 0 {
        out.push(b'Z');
        return;
    }
    let minutes = seconds.unsigned_abs() / 60;
    let mut text = *b"+00:00";
    text[0] = if seconds < 0 { b'-' } else { b'+' };
    write_digits(minutes / 60, &mut text[1..3]);
    write_digits(minutes % 60, &mut text[4..]);
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn time_round_trips(text: &str) {
        assert_eq!(OccurredAt::parse(text).expect("legal").to_string(), text);
    }

    #[test]
    fn times_round_trip_with_their_offset() {
        for text in [
            "2011-08-01T23:41:24+02:00",
            "2011-08-01T23:41:24-09:30",
            "1969-12-31T23:59:59.5Z",
            "2026-11-25T08:00:00.123456789Z",
            "9999-12-30T22:00:00Z",
        ] {
            time_round_trips(text);
        }
        assert_eq!(OccurredAt::parse("2026-11-25T08:00:00+00:00").expect("legal").to_string(), "2026-11-25T08:00:00Z");
    }

    #[test]
    fn a_time_is_read_the_same_whatever_was_read_before() {
        let seconds = ["1969-12-31T23:59:59", "2026-11-25T08:00:00", "2026-11-25t08:00:00", "2016-12-31T23:59:60"];
        let tails =
            ["", "Z", "z", ".Z", ".5Z", ".000000001Z", ".1234567891Z", ".5", ".-5Z", "+00:00", ".5-01:00", ",5Z"];
        let texts: Vec<String> =
            seconds.iter().flat_map(|second| tails.iter().map(move |tail| format!("{second}{tail}"))).collect();
        for before in &texts {
            for text in &texts {
                LAST_READ.set(None);
                let alone = OccurredAt::parse(text).map_err(|error| error.to_string());
                let _ = OccurredAt::parse(before);
                assert_eq!(OccurredAt::parse(text).map_err(|error| error.to_string()), alone, "{before} {text}");
            }
        }
    }

    #[test]
    fn times_out_of_range_or_without_offset_are_refused() {
        for text in [
            "",
            "0000-06-01T00:00:00Z",
            "-000001-06-01T00:00:00Z",
            "2026-11-25T08:00:00",
            "10000-01-01T00:00:00Z",
            "NaN",
            "9999-12-31T23:59:59Z",
            "2026-11-25",
        ] {
            assert_eq!(OccurredAt::parse(text).expect_err(text).reason(), "Time");
        }
    }
}
