//! Parts of a URL that are percent-encoded.

use crate::error::{Error, Result};

/// The text that a part of a URL stands for.
///
/// # Errors
/// `Invalid/Url`, without what to write instead: a `%` without two hexadecimal digits, bytes that are not UTF-8, or a NUL,
/// which no file and no variable has in its name. The text is not shown, since it may be a secret.
///
/// # Source
/// RFC 3986, section 2.1.
pub fn percent_decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { escaped_byte(&mut rest)? } else { byte });
    }
    let text = String::from_utf8(bytes).map_err(|_| refused("a value is not UTF-8"))?;
    if text.contains('\0') { Err(refused("a value holds NUL")) } else { Ok(text) }
}

fn escaped_byte(rest: &mut std::str::Bytes<'_>) -> Result<u8> {
    let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
    let [Some(high), Some(low)] = digits else { return Err(refused("a '%' without two hexadecimal digits")) };
    Ok((high * 16 + low) as u8)
}

fn refused(cause: &'static str) -> Error {
    Error::invalid("Url").cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_text_again() {
        for (text, expected) in
            [("", ""), ("plain+&", "plain+&"), ("a%20b%2Fc", "a b/c"), ("%c3%A4é", "äé"), ("%2500", "%00")]
        {
            assert_eq!(percent_decoded(text).expect(text), expected);
        }
    }

    #[test]
    fn what_is_no_escape_or_no_text_is_refused_unseen() {
        for text in ["hunter2%", "hunter2%4", "hunter2%4g", "hunter2%-1", "hunter2%ff", "hunter2%00"] {
            let error = percent_decoded(text).expect_err(text);
            assert_eq!(error.code(), "Invalid/Url", "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
