//! What a server says to a user who may not publish or subscribe to something.
//!
//! It says so beside the answers, and the request itself is never answered: only the subject tells which one it was.

use busline_core::{Error, ErrorKind};

/// A subject that is not this user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) subject: String,
    /// To be heard, not to be spoken to.
    hears: bool,
}

impl Denial {
    /// Reads a complaint of the server; `None` of any other. It gives no code, so its text decides.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches('\'');
        let lower = text.to_ascii_lowercase();
        let rest = lower.strip_prefix("permissions violation for ")?;
        let subject = text.split('"').nth(1)?.to_owned();
        Some(Self { subject, hears: rest.starts_with("subscription") })
    }

    /// Whether it keeps a request to this subject from being answered.
    pub(crate) fn concerns(&self, asked: &str) -> bool {
        if self.hears { self.is_of_answers() } else { self.subject == asked }
    }

    /// Whether nothing that is asked on this connection will be answered.
    pub(crate) fn is_of_answers(&self) -> bool {
        self.hears && self.subject.starts_with("_INBOX.")
    }

    pub(crate) fn error(&self) -> Error {
        let (may_not, next) = match self.hears {
            true => ("subscribe", "allow it; the bus hears on _INBOX.> and $BUSLINE.bell.>"),
            false => ("publish", "allow it; the bus speaks to $JS.API.>, $KV.busline_groups.> and $BUSLINE.bell.>"),
        };
        Error::new(ErrorKind::Denied, "Permission")
            .cause(format!("this user may not {may_not} to {}", busline_core::escaped(&self.subject)))
            .next(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_concerns_its_subject_or_all_answers() {
        let asked = Denial::read("'Permissions Violation for Publish to \"$JS.API.INFO\"'").expect("it is one");
        assert!(asked.concerns("$JS.API.INFO") && !asked.concerns("$JS.API.INFO.x") && !asked.is_of_answers());
        let answers = Denial::read("Permissions Violation for Subscription to \"_INBOX.a.*\"").expect("it is one");
        assert!(answers.concerns("$JS.API.INFO") && answers.is_of_answers());
        let other = Denial::read("Permissions Violation for Subscription to \"a\" using queue \"_INBOX.q\"");
        assert!(other.is_some_and(|other| !other.concerns("a") && !other.is_of_answers()));
        for none in ["Authorization Violation", "", "Permissions Violation for Publish to "] {
            assert_eq!(Denial::read(none), None, "{none}");
        }
    }
}
