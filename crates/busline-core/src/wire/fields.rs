//! Fields that both forms read alike.

use jiff::Timestamp;

use super::members::Members;
use crate::error::Result;
use crate::occurred_at::OccurredAt;

/// The time of this member; the Unix epoch if there is none.
///
/// # Errors
/// `Invalid/Time` for a malformed time, `Invalid/Type` for another value than text.
pub(super) fn take_time(name: &str, members: &mut Members<'_>) -> Result<OccurredAt> {
    match members.take_text(name)? {
        Some(text) => OccurredAt::read(&text),
        None => Ok(OccurredAt::utc(Timestamp::UNIX_EPOCH)),
    }
}

/// A whole number from 1, written in digits alone.
///
/// Leading zeros are fine; `None` for 0, a sign, a fraction, an exponent or more than 64 bits.
pub(super) fn version_of(digits: &str) -> Option<u64> {
    let zeros = digits.bytes().take_while(|&byte| byte == b'0').count();
    let significant = &digits[zeros..];
    // `parse` alone would allow a sign.
    significant.parse().ok().filter(|_| significant.starts_with(|first: char| first.is_ascii_digit()))
}
