//! The envelopes that cases publish, and the outcomes they expect.

use std::fmt::Debug;

use busline_core::{Ack, Envelope, Error, Publisher, Receipt, Result, TryPublishError};

use crate::stage::within;

/// An envelope of this key and version with a small payload.
pub(crate) fn envelope(key: &str, version: u64) -> Envelope {
    Envelope::new(key, "Tested", version).json(&format!("{key}:{version}")).expect("a text is JSON")
}

/// Publishes to a window that has room: acceptance must not wait.
pub(crate) fn accept(publisher: &Publisher, envelope: Envelope) -> Receipt {
    match publisher.try_publish(envelope) {
        Ok(receipt) => receipt,
        Err(TryPublishError::Full(_)) => panic!("the window has room, so try_publish must accept"),
        Err(TryPublishError::Refused(error)) => panic!("a legal envelope must be accepted: {error}"),
    }
}

/// The outcome, which must come soon.
pub(crate) async fn outcome(receipt: Receipt) -> Result<Ack> {
    within("the outcome of an accepted envelope", receipt).await
}

/// The ack, which must come soon.
pub(crate) async fn acked(receipt: Receipt) -> Ack {
    outcome(receipt).await.expect("the backend works, so the envelope must be acked")
}

/// The error, which must come soon: definitely failed.
pub(crate) async fn failed(receipt: Receipt, reason: &str) -> Error {
    definite(outcome(receipt).await, reason)
}

/// The error, which must come soon: perhaps stored.
pub(crate) async fn indeterminate(receipt: Receipt) -> Error {
    let error = outcome(receipt).await.expect_err("no answer came, so it cannot be acked");
    assert!(!error.is_definite(), "handed over and not answered must be indeterminate, got {error}");
    error
}

/// A definite error of this reason.
#[track_caller]
pub(crate) fn definite<T: Debug>(result: Result<T>, reason: &str) -> Error {
    let error = result.expect_err(reason);
    assert_eq!(error.reason(), reason, "expected {reason}, got {error}");
    assert!(error.is_definite(), "nothing was stored, so the error must be definite: {error}");
    error
}

/// A definite error of this `Kind/Reason`.
#[track_caller]
pub(crate) fn refused<T: Debug>(result: Result<T>, code: &str) -> Error {
    let error = result.expect_err(code);
    assert_eq!(error.code(), code, "expected {code}, got {error}");
    assert!(error.is_definite(), "a refused call has stored nothing, so it must be definite: {error}");
    let text = error.to_string();
    assert!(!text.contains(['\n', '\r']), "an error is one line: {text:?}");
    assert!(text.contains(": ") && text.contains("; "), "an error names operation, subject and next step: {text:?}");
    error
}

/// Fails unless the text names the envelope.
#[track_caller]
pub(crate) fn names(error: &Error, envelope: &Envelope) {
    let text = error.to_string();
    assert!(text.contains(&envelope.id), "the error must name the first failed envelope {}: {text}", envelope.id);
}
