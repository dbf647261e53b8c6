//! Further attributes: how their names avoid the members of a form, and what their values are.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::depth::check_depth;
use super::json_text::{write_number, write_text};
use super::members::{Members, duplicate, is_text, text_of};
use crate::envelope::Attribute;
use crate::error::{Error, Result, escaped};
use crate::payload::RawJson;

/// Stands before the name of an attribute that has the name of a member of the form.
const PREFIX: &str = "attribute_";

/// Appends `,"name":value`; `is_member` says which names the form itself uses.
pub(super) fn write_attribute(name: &str, value: &Attribute, is_member: fn(&str) -> bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    if hides_member(name, is_member) {
        out.extend_from_slice(PREFIX.as_bytes());
    }
    write_text(name, out);
    out.extend_from_slice(b"\":");
    write_value(value, out);
}

/// Appends the JSON of a value.
pub(super) fn write_value(value: &Attribute, out: &mut Vec<u8>) {
    match value {
        Attribute::Text(text) => {
            out.push(b'"');
            write_text(text, out);
            out.push(b'"');
        }
        Attribute::Integer(number) => {
            if *number < 0 {
                out.push(b'-');
            }
            write_number(number.unsigned_abs(), out);
        }
        Attribute::Boolean(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Attribute::Json(json) => out.extend_from_slice(json.bytes()),
    }
}

/// All members that are left, as attributes; null counts as not there.
///
/// # Errors
/// `Invalid/Number`, `Invalid/DuplicateKey`, `TooLarge/JsonDepth`, each with the attribute's name.
pub(super) fn read_rest(
    body: &Bytes,
    members: Members<'_>,
    is_member: fn(&str) -> bool,
) -> Result<BTreeMap<String, Attribute>> {
    let mut attributes = BTreeMap::new();
    for (name, raw) in members.rest() {
        let Some(value) = read_value(body, &name, raw)? else { continue };
        let own = name.strip_prefix(PREFIX).filter(|rest| hides_member(rest, is_member)).unwrap_or(&name);
        if attributes.insert(own.to_string(), value).is_some() {
            return Err(duplicate(own));
        }
    }
    Ok(attributes)
}

/// Whether the name, without any prefixes of ours, is that of a member: then one more prefix keeps them apart.
fn hides_member(name: &str, is_member: fn(&str) -> bool) -> bool {
    is_member(name.trim_start_matches(PREFIX))
}

/// A value as the narrowest type it fits; `None` for null.
pub(super) fn read_value(body: &Bytes, name: &str, raw: &str) -> Result<Option<Attribute>> {
    let value = match raw {
        "null" => return Ok(None),
        "true" => Attribute::Boolean(true),
        "false" => Attribute::Boolean(false),
        _ if is_text(raw) => Attribute::Text(text_of(raw)?.into_owned()),
        _ => match canonical_integer(raw) {
            Some(number) => Attribute::Integer(number),
            None => {
                check_raw(raw).map_err(|error| error.cause(format!("attribute '{}'", escaped(name))))?;
                Attribute::Json(RawJson::trusted(body.slice_ref(raw.as_bytes())))
            }
        },
    };
    Ok(Some(value))
}

/// A whole number that is written back as it came: `-0` and `1e2` are not.
fn canonical_integer(raw: &str) -> Option<i64> {
    raw.parse().ok().filter(|_| raw != "-0")
}

/// Checks that a JSON value can be read back as an attribute.
///
/// # Errors
/// `Invalid/Number` for a number beyond 64-bit floating point, `TooLarge/JsonDepth` for more than 64 levels.
pub(crate) fn check_json(json: &RawJson) -> Result<()> {
    std::str::from_utf8(json.bytes()).map_or(Ok(()), check_raw)
}

fn check_raw(raw: &str) -> Result<()> {
    match raw.as_bytes().first() {
        Some(b'{' | b'[') => check_depth(raw),
        Some(b'-' | b'0'..=b'9') => check_number(raw),
        _ => Ok(()),
    }
}

fn check_number(raw: &str) -> Result<()> {
    if raw.parse().is_ok_and(f64::is_finite) {
        return Ok(());
    }
    Err(Error::invalid("Number").cause("a number beyond 64-bit floating point").next("write such a number as a text"))
}
