//! Keys whose line broke at an envelope that was not acked: nothing behind it may be acked.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{BatchBody, Item};
use crate::error::{Error, ErrorKind, escaped};
use crate::wire;

/// The broken keys of one report, each with the first envelope that was not acked.
#[derive(Default)]
pub(crate) struct BrokenKeys(HashMap<Vec<u8>, Break>);

/// Where a key broke, or already what is said of those behind.
enum Break {
    At { body: Arc<BatchBody>, item: Item, error: Error },
    Behind(Error),
}

impl BrokenKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.0.contains_key(key)
    }

    /// The line of this item's key breaks here, unless it broke before.
    pub(crate) fn break_at(&mut self, body: &Arc<BatchBody>, item: &Item, error: &Error) {
        let place = || Break::At { body: Arc::clone(body), item: *item, error: error.clone() };
        self.0.entry(body.key(item).to_vec()).or_insert_with(place);
    }

    /// The line of this key breaks because its envelope is behind another one itself.
    pub(crate) fn break_behind(&mut self, key: &[u8], behind: &Error) {
        self.0.entry(key.to_vec()).or_insert_with(|| Break::Behind(behind.clone()));
    }

    /// The error of an envelope behind the broken one of its key, if there is one. It names the first, which is read
    /// only when somebody stands behind it.
    pub(crate) fn behind(&mut self, key: &[u8]) -> Option<Error> {
        let found = self.0.get_mut(key)?;
        if let Break::At { body, item, error } = found {
            *found = Break::Behind(behind_failed(&id_of(body, item), error));
        }
        match found {
            Break::Behind(error) => Some(error.clone()),
            Break::At { .. } => None,
        }
    }
}

/// The error of an envelope behind one of its key that was not acked.
pub(crate) fn behind_failed(first_id: &str, first: &Error) -> Error {
    if first.reason() == "BehindFailed" {
        return first.clone();
    }
    Error::new(ErrorKind::Unavailable, "BehindFailed")
        .cause(format!("envelope {} before it was not acked: {first}", escaped(first_id)))
        .next("settle the earlier one first, then publish again in order")
        .at("publish behind", first_id)
}

/// The id of a record's envelope.
pub(crate) fn id_of(body: &BatchBody, item: &Item) -> String {
    let body = Bytes::copy_from_slice(body.record(item).body);
    wire::decode(&body, String::new).map(|envelope| envelope.id).unwrap_or_default()
}
