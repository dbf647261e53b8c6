//! Hears everything that this process traces, at every level, the client library's words included.

use std::fmt::{Debug, Write};
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static HEARD: Mutex<String> = Mutex::new(String::new());

struct Listener;

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A text takes everything.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        hear(|words| attributes.record(words));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        hear(|words| values.record(words));
    }

    fn event(&self, event: &Event<'_>) {
        hear(|words| event.record(words));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn hear(say: impl FnOnce(&mut Words<'_>)) {
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    say(&mut Words(&mut heard));
    heard.push('\n');
}

/// Begins to listen; once is enough.
pub(crate) fn listen() {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| tracing::subscriber::set_global_default(Listener).expect("nobody else listens"));
}

/// That nobody has said any of these. Each test has secrets of its own, so what other tests say does not matter.
pub(crate) fn assert_never_said(secrets: &[&str]) {
    let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(heard.contains("connecting to server"), "the listener hears the client library");
    for secret in secrets {
        assert!(!secret.is_empty() && !heard.contains(secret), "a secret was traced");
    }
}
