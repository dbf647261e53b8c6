//! How deep the envelope's own JSON may be; a payload may be as deep as it likes.

use crate::error::{Error, ErrorKind, Result};

/// Most levels of arrays and objects in the value of an attribute.
pub const JSON_DEPTH_MAX: u32 = 64;

/// Checks that arrays and objects lie in each other at most 64 deep.
///
/// # Errors
/// `TooLarge/JsonDepth`.
pub(super) fn check_depth(raw: &str) -> Result<()> {
    let (mut depth, mut in_text, mut escape) = (0_u32, false, false);
    for byte in raw.bytes() {
        match byte {
            _ if escape => escape = false,
            b'\\' => escape = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            return Err(Error::new(ErrorKind::TooLarge, "JsonDepth")
                .cause(format!("more than {JSON_DEPTH_MAX} levels in the envelope"))
                .next("carry deep JSON in the payload"));
        }
    }
    Ok(())
}
