//! One error for the whole bus: a kind per action of the caller, on one line.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// `Result` with the bus's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller can do about an error: one kind for each action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing named does not exist: create it or correct the name.
    NotFound,
    /// The thing exists already: use it or choose another name.
    AlreadyExists,
    /// The request is wrong in itself: correct it.
    Invalid,
    /// This backend cannot do it: choose another backend or do without.
    Unsupported,
    /// Over a limit: make it smaller or raise the limit.
    TooLarge,
    /// The deadline passed: decide whether to publish again.
    Timeout,
    /// Not possible at the moment: try again later.
    Unavailable,
    /// Not permitted: change the permission.
    Denied,
    /// Another member owns it by now: stop working on it.
    Fenced,
    /// The handle was closed: open a new one.
    Closed,
    /// What was read is damaged: restore it; never retried.
    Corrupt,
    /// A defect of the bus or of code it called: report it.
    Internal,
}

impl ErrorKind {
    /// The kind's stable name, as it stands in `Kind/Reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Invalid => "Invalid",
            Self::Unsupported => "Unsupported",
            Self::TooLarge => "TooLarge",
            Self::Timeout => "Timeout",
            Self::Unavailable => "Unavailable",
            Self::Denied => "Denied",
            Self::Fenced => "Fenced",
            Self::Closed => "Closed",
            Self::Corrupt => "Corrupt",
            Self::Internal => "Internal",
        }
    }
}

/// Why an operation did not succeed, and what to do next.
///
/// `Display` is one line: operation, subject, `Kind/Reason`, cause, next step. Neither `Display` nor `Debug`
/// holds a secret or a byte of a payload. Cloning is cheap: the outcomes of one failed batch share one error.
///
/// # Source
/// Promise B2.
#[derive(Clone)]
pub struct Error(Arc<Body>);

#[derive(Clone)]
struct Body {
    kind: ErrorKind,
    reason: &'static str,
    operation: Cow<'static, str>,
    subject: String,
    cause: String,
    next: Cow<'static, str>,
    definite: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A definite error of this kind and stable reason, such as `Invalid/NameCharacter`.
    pub fn new(kind: ErrorKind, reason: &'static str) -> Self {
        Self(Arc::new(Body {
            kind,
            reason,
            operation: Cow::Borrowed(""),
            subject: String::new(),
            cause: String::new(),
            next: Cow::Borrowed(""),
            definite: true,
            source: None,
        }))
    }

    /// A definite error of kind [`ErrorKind::Invalid`].
    pub fn invalid(reason: &'static str) -> Self {
        Self::new(ErrorKind::Invalid, reason)
    }

    /// The same error with the operation and its subject, unless an inner layer has named them.
    #[must_use]
    pub fn at(mut self, operation: impl Into<Cow<'static, str>>, subject: impl fmt::Display) -> Self {
        if self.0.operation.is_empty() {
            let body = Arc::make_mut(&mut self.0);
            body.operation = operation.into();
            body.subject = escaped(&subject.to_string());
        }
        self
    }

    /// The same error with its cause, in words.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).cause = cause.into();
        self
    }

    /// The same error, said of a part of what was asked for.
    #[must_use]
    pub(crate) fn in_part(mut self, part: impl fmt::Display) -> Self {
        let body = Arc::make_mut(&mut self.0);
        body.cause = format!("{part}: {}", body.cause);
        self
    }

    /// The same error with the step that helps.
    #[must_use]
    pub fn next(mut self, next: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.0).next = next.into();
        self
    }

    /// The same error, said of an envelope that is perhaps stored.
    #[must_use]
    pub fn indeterminate(mut self) -> Self {
        Arc::make_mut(&mut self.0).definite = false;
        self
    }

    /// The same error with the error underneath.
    #[must_use]
    pub fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        let body = Arc::make_mut(&mut self.0);
        if body.cause.is_empty() {
            body.cause = source.to_string();
        }
        body.source = Some(Arc::new(source));
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable name that a program may match, the second half of `Kind/Reason`.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// `Kind/Reason`, stable.
    pub fn code(&self) -> String {
        format!("{}/{}", self.0.kind.name(), self.0.reason)
    }

    /// Whether it is certain that nothing was stored. `false` means indeterminate: perhaps stored.
    pub fn is_definite(&self) -> bool {
        self.0.definite
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Timeout | ErrorKind::Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = &*self.0;
        if !body.operation.is_empty() {
            write!(f, "{}", body.operation)?;
            if !body.subject.is_empty() {
                write!(f, " {}", body.subject)?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}/{}", body.kind.name(), body.reason)?;
        if !body.cause.is_empty() {
            write!(f, ": {}", one_line(&body.cause))?;
        }
        if !body.definite {
            write!(f, " (indeterminate: perhaps stored)")?;
        }
        if !body.next.is_empty() {
            write!(f, "; {}", body.next)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code())
            .field("operation", &self.0.operation)
            .field("subject", &self.0.subject)
            .field("cause", &self.0.cause)
            .field("next", &self.0.next)
            .field("definite", &self.0.definite)
            .field("source", &self.0.source.as_ref().map(ToString::to_string))
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Text from outside as it may stand in an error: escaped, and cut at 64 characters.
pub fn escaped(text: &str) -> String {
    const SHOWN_MAX: usize = 64;
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN_MAX {
            shown.push('…');
            break;
        }
        match character {
            ' '..='~' => shown.push(character),
            'à'..='ÿ' | 'À'..='Ö' => shown.push(character),
            _ => shown.extend(character.escape_default()),
        }
    }
    shown
}

fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r', '\t']) {
        Cow::Owned(text.split_whitespace().collect::<Vec<_>>().join(" "))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_with_operation_subject_cause_and_next_step() {
        let error = Error::invalid("NameCharacter")
            .cause("'*' at byte 7")
            .next("use letters, digits, '.', '_' or '-'")
            .at("publish", "orders.*");
        assert_eq!(
            error.to_string(),
            "publish orders.*: Invalid/NameCharacter: '*' at byte 7; use letters, digits, '.', '_' or '-'"
        );
    }

    #[test]
    fn the_inner_layer_names_the_operation() {
        let error = Error::invalid("EmptyKey").at("encode", "a").at("publish", "b");
        assert_eq!(error.to_string(), "encode a: Invalid/EmptyKey");
    }

    #[test]
    fn causes_of_many_lines_are_folded_and_subjects_escaped() {
        let error = Error::new(ErrorKind::Internal, "X").cause("a\n  b").at("open", "a\u{1b}[31m\u{202e}");
        assert_eq!(error.to_string(), "open a\\u{1b}[31m\\u{202e}: Internal/X: a b");
        assert_eq!(escaped(&"x".repeat(65)).chars().count(), 65);
    }

    #[test]
    fn an_indeterminate_error_says_so() {
        let error = Error::new(ErrorKind::Timeout, "Deadline").indeterminate();
        assert!(!error.is_definite() && error.is_retryable());
        assert!(error.to_string().contains("perhaps stored"));
    }
}
