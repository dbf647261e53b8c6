//! Which parked keys are meant.

use jiff::Timestamp;

use super::follower::ParkedRecord;

/// Chooses parked keys by the first of their parked records; an empty filter chooses all.
///
/// A key is chosen whole, since its records only run in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// This key.
    pub key: Option<String>,
    /// Events of this type.
    pub event_type: Option<String>,
    /// Errors that contain this text, of the parking or of the last replay.
    pub error: Option<String>,
    /// Parked at or after this time.
    pub since: Option<Timestamp>,
    /// Parked before this time.
    pub until: Option<Timestamp>,
}

impl ParkedFilter {
    /// This key alone.
    pub fn key(key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    pub(crate) fn matches(&self, parked: &ParkedRecord) -> bool {
        let errors = [Some(&parked.diagnosis.error), parked.replay_error.as_ref()];
        let has_error = |text: &String| errors.iter().flatten().any(|error| error.contains(text.as_str()));
        self.key.as_ref().is_none_or(|key| key.as_bytes() == &*parked.record.key)
            && self.event_type.as_ref().is_none_or(|wanted| parked.diagnosis.event_type.as_ref() == Some(wanted))
            && self.error.as_ref().is_none_or(has_error)
            && self.since.is_none_or(|since| parked.diagnosis.last >= since)
            && self.until.is_none_or(|until| parked.diagnosis.last < until)
    }
}
