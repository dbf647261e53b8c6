//! A body split into its members: their names read, their values still raw.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::depth::check_depth;
use crate::error::{Error, ErrorKind, Result, escaped};

/// The members of one JSON object that nobody has taken yet, each value as the JSON it is in the body.
pub(super) struct Members<'a>(BTreeMap<Cow<'a, str>, &'a str>);

impl<'a> Members<'a> {
    /// Splits a body; values are passed over without recursion, however deep they are.
    ///
    /// # Errors
    /// `Corrupt/NoEnvelope`, `Truncated`, `NotJson` or `TrailingBytes`; `Invalid/DuplicateKey`;
    /// `TooLarge/JsonDepth` for nested arrays.
    pub(super) fn split(text: &'a str) -> Result<Self> {
        check_begin(text)?;
        let mut parser = serde_json::Deserializer::from_str(text);
        let Object { members, repeated } = Object::deserialize(&mut parser).map_err(|error| malformed(text, &error))?;
        parser.end().map_err(|error| trailing(&error))?;
        match repeated {
            Some(name) => Err(duplicate(&name)),
            None => Ok(Self(members)),
        }
    }

    /// Whether there is such a member.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value, if it is there; it stays.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// Takes the value, whatever it is.
    pub(super) fn take_raw(&mut self, name: &str) -> Option<&'a str> {
        self.0.remove(name)
    }

    /// Takes a text; `None` if there is none or it is null.
    ///
    /// # Errors
    /// `Invalid/Type` for another value.
    pub(super) fn take_text(&mut self, name: &str) -> Result<Option<String>> {
        match self.0.remove(name) {
            None | Some("null") => Ok(None),
            Some(raw) if is_text(raw) => Ok(Some(text_of(raw)?.into_owned())),
            Some(_) => Err(Error::invalid("Type")
                .cause(format!("member '{name}' is not a text"))
                .next(format!("write {name} as a JSON string"))),
        }
    }

    /// Takes a text; a value of another type stays where it is, to be kept as an attribute.
    pub(super) fn take_if_text(&mut self, name: &str) -> Result<Option<String>> {
        match self.raw(name) {
            Some(raw) if is_text(raw) => self.take_text(name),
            _ => Ok(None),
        }
    }

    /// Takes a text that an envelope cannot be without.
    ///
    /// # Errors
    /// `Invalid/EmptyField` if it is not there, `Invalid/Type` if it is no text.
    pub(super) fn take_required(&mut self, name: &str) -> Result<String> {
        self.take_text(name)?.ok_or_else(|| {
            Error::invalid("EmptyField")
                .cause(format!("member '{name}' is missing"))
                .next(format!("write the member {name}"))
        })
    }

    /// What nobody took, in the order of the names.
    pub(super) fn rest(self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
        self.0.into_iter()
    }
}

/// Whether a value is a JSON string.
pub(super) fn is_text(raw: &str) -> bool {
    raw.starts_with('"')
}

/// What a JSON string says; borrowed if it has no escapes.
///
/// # Errors
/// `Corrupt/NotJson` for half a surrogate pair.
pub(super) fn text_of(raw: &str) -> Result<Cow<'_, str>> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(plain) = inner.filter(|inner| !inner.contains('\\')) {
        return Ok(Cow::Borrowed(plain));
    }
    serde_json::from_str(raw).map(Cow::Owned).map_err(|_| {
        Error::new(ErrorKind::Corrupt, "NotJson")
            .cause("a text holds half a surrogate pair")
            .next("write text outside the basic plane as two \\u escapes or as UTF-8")
    })
}

/// The body as text.
///
/// # Errors
/// `Corrupt/NoEnvelope` if it does not begin like one, `Truncated` if it ends within a character, `NotUtf8`.
pub(super) fn utf8(body: &[u8]) -> Result<&str> {
    std::str::from_utf8(body).map_err(|error| {
        if body.trim_ascii_start().first() != Some(&b'{') {
            no_envelope("the body does not begin with '{'")
        } else if error.error_len().is_none() {
            truncated("the body ends within a character")
        } else {
            Error::new(ErrorKind::Corrupt, "NotUtf8")
                .cause(format!("not UTF-8 from byte {}", error.valid_up_to()))
                .next("write the record as UTF-8")
        }
    })
}

/// Two members that stand for one field.
pub(super) fn both(one: &str, other: &str) -> Error {
    Error::invalid("DuplicateKey")
        .cause(format!("'{one}' and '{other}' are both given"))
        .next("give the payload once, under one of the two")
}

/// No form of ours is recognised, for this cause.
pub(super) fn no_envelope(cause: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "NoEnvelope")
        .cause(cause)
        .next("write a CloudEvents object with 'specversion', or a flat one with 'aggregate_id'")
}

/// The same member twice, or two members for one field.
pub(super) fn duplicate(name: &str) -> Error {
    Error::invalid("DuplicateKey")
        .cause(format!("member '{}' is given twice", escaped(name)))
        .next("give each member once")
}

fn truncated(cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, "Truncated").cause(cause).next("restore the record from a copy")
}

fn check_begin(text: &str) -> Result<()> {
    let begin = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if begin.starts_with('{') {
        Ok(())
    } else if begin.starts_with('[') {
        check_depth(begin).and(Err(no_envelope("the body is an array")))
    } else if begin.is_empty() {
        Err(no_envelope("the body is empty"))
    } else {
        Err(no_envelope("the body does not begin with '{'"))
    }
}

// The parser's own words are left out: they may quote the body.
fn malformed(text: &str, error: &serde_json::Error) -> Error {
    if error.is_eof() || ends_in_number(text) {
        return truncated(format!("the JSON ends early, at column {}", error.column()));
    }
    Error::new(ErrorKind::Corrupt, "NotJson")
        .cause(format!("no JSON at line {} column {}", error.line(), error.column()))
        .next("write the record as one JSON object")
}

/// Whether the text breaks off within a number, which the parser calls malformed: after `-`, `1.` or `1e`.
fn ends_in_number(text: &str) -> bool {
    let numeric = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let length = text.bytes().rev().take_while(numeric).count();
    let number = &text[text.len() - length..];
    number.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn trailing(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "TrailingBytes")
        .cause(format!("bytes after the end, at line {} column {}", error.line(), error.column()))
        .next("write one JSON object for each record")
}

struct Object<'a> {
    members: BTreeMap<Cow<'a, str>, &'a str>,
    repeated: Option<String>,
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(parser: D) -> std::result::Result<Self, D::Error> {
        parser.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Object<'de>, A::Error> {
        let mut object = Object { members: BTreeMap::new(), repeated: None };
        while let Some(Name(name)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            if object.repeated.is_none() && object.members.contains_key(&name) {
                object.repeated = Some(name.clone().into_owned());
            }
            object.members.insert(name, value.get());
        }
        Ok(object)
    }
}
