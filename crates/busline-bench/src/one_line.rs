//! Long lists of numbers in files, on one line each: a line for each number would be most of a file.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Writes a value without line breaks.
pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let text = serde_json::to_string(value).map_err(serde::ser::Error::custom)?;
    RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
}
