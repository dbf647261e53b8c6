//! Headers of the transport: an ordered list in which names may repeat.

use bytes::{Buf, BufMut, Bytes};

use crate::error::{Error, ErrorKind, Result};

/// Most headers of one record.
pub const HEADERS_MAX: usize = 1_024;

/// Largest header block, in bytes of names and values.
pub const HEADER_BYTES_MAX: usize = 65_536;

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Printable ASCII without `:`.
    pub name: String,
    /// Any bytes but CR, LF and NUL.
    pub value: Bytes,
}

/// An ordered list of headers; the same name may stand in it several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

/// Beginnings of names that brokers or the bus give a meaning to.
const RESERVED: [&str; 3] = ["nats-", "ce-", "busline-"];

impl Headers {
    /// Adds a header behind those that are there.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Bytes>) {
        self.0.push(Header { name: name.into(), value: value.into() });
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Header> {
        self.0.iter()
    }

    pub(crate) fn as_slice(&self) -> &[Header] {
        &self.0
    }

    /// Checks what a user may set.
    ///
    /// # Errors
    /// `TooLarge/HeaderCount`, `TooLarge/HeaderBytes`, `Invalid/HeaderName`, `HeaderValue` or `ReservedHeader`.
    pub fn validate(&self) -> Result<()> {
        if self.0.len() > HEADERS_MAX {
            return Err(too_large("HeaderCount", self.0.len(), HEADERS_MAX, "headers"));
        }
        let bytes = self.0.iter().map(|header| header.name.len() + header.value.len()).sum();
        if bytes > HEADER_BYTES_MAX {
            return Err(too_large("HeaderBytes", bytes, HEADER_BYTES_MAX, "bytes of headers"));
        }
        self.0.iter().try_for_each(check_header)
    }

    /// Appends the stored form: for each header the lengths of name (2 bytes) and value (4 bytes), big endian, and both.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        for header in &self.0 {
            out.put_u16(header.name.len() as u16);
            out.put_u32(header.value.len() as u32);
            out.put_slice(header.name.as_bytes());
            out.put_slice(&header.value);
        }
    }

    /// Reads the stored form; the values share the block.
    ///
    /// # Errors
    /// `Corrupt/Length` if a length goes past the end, `Corrupt/HeaderName` if a name is not UTF-8.
    pub fn decode(mut block: Bytes) -> Result<Self> {
        let mut headers = Vec::new();
        while !block.is_empty() {
            if block.len() < 6 {
                return Err(corrupt("Length", "a header's lengths are cut off"));
            }
            let (name_bytes, value_bytes) = (usize::from(block.get_u16()), block.get_u32() as usize);
            if name_bytes.saturating_add(value_bytes) > block.len() {
                return Err(corrupt("Length", "a header is longer than its block"));
            }
            let name = String::from_utf8(block.split_to(name_bytes).to_vec())
                .map_err(|_| corrupt("HeaderName", "a header's name is not UTF-8"))?;
            headers.push(Header { name, value: block.split_to(value_bytes) });
        }
        Ok(Self(headers))
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

fn too_large(reason: &'static str, is: usize, max: usize, what: &str) -> Error {
    Error::new(ErrorKind::TooLarge, reason)
        .cause(format!("{is} {what} where {max} are allowed"))
        .next("carry the data in the payload or in attributes")
}

fn corrupt(reason: &'static str, cause: &str) -> Error {
    Error::new(ErrorKind::Corrupt, reason).cause(cause).next("restore the record from a copy")
}

fn check_header(header: &Header) -> Result<()> {
    let shown = crate::error::escaped(&header.name);
    let name_legal = !header.name.is_empty()
        && header.name.len() <= usize::from(u16::MAX)
        && header.name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    if !name_legal {
        return Err(Error::invalid("HeaderName")
            .cause(format!("header '{shown}'"))
            .next("use printable ASCII without space and ':'"));
    }
    let lower = header.name.to_ascii_lowercase();
    if RESERVED.iter().any(|reserved| lower.starts_with(reserved)) {
        return Err(Error::invalid("ReservedHeader")
            .cause(format!("header '{shown}'"))
            .next("choose a name that does not begin with 'Nats-', 'ce-' or 'busline-'"));
    }
    if header.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(Error::invalid("HeaderValue")
            .cause(format!("header '{shown}' holds CR, LF or NUL"))
            .next("encode the value"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in list {
            headers.push(*name, value.as_bytes().to_vec());
        }
        headers
    }

    #[test]
    fn repeated_names_keep_their_order_through_the_stored_form() {
        let list = headers(&[("a", "1"), ("b", ""), ("a", "2")]);
        let mut block = Vec::new();
        list.write_to(&mut block);
        assert_eq!(Headers::decode(block.into()).expect("own form"), list);
    }

    #[test]
    fn every_cut_of_a_block_is_corrupt_or_shorter() {
        let mut block = Vec::new();
        headers(&[("name", "value"), ("x", "y")]).write_to(&mut block);
        for end in 1..block.len() {
            let cut = Headers::decode(Bytes::copy_from_slice(&block[..end]));
            assert!(cut.is_err() || cut.is_ok_and(|headers| headers.iter().len() == 1), "cut at {end}");
        }
    }

    #[test]
    fn lengths_over_what_is_there_are_named_and_take_no_memory() {
        for (name_bytes, value_bytes) in
            [(u16::MAX, 0), (0, u32::MAX), (0, i32::MAX as u32), (2, 1), (0, 2), (u16::MAX, u32::MAX)]
        {
            let mut block = [&name_bytes.to_be_bytes()[..], &value_bytes.to_be_bytes()].concat();
            block.push(b'x');
            assert_eq!(Headers::decode(block.into()).expect_err("too short").code(), "Corrupt/Length");
        }
        assert_eq!(Headers::decode(Bytes::from_static(&[0, 0, 0])).expect_err("cut").code(), "Corrupt/Length");
    }

    #[test]
    fn what_a_user_may_not_set_is_named() {
        for (name, value, reason) in [
            ("", "v", "HeaderName"),
            ("a:b", "v", "HeaderName"),
            ("a b", "v", "HeaderName"),
            ("é", "v", "HeaderName"),
            ("a", "v\r", "HeaderValue"),
            ("a", "\0", "HeaderValue"),
            ("Nats-Msg-Id", "v", "ReservedHeader"),
            ("ce-id", "v", "ReservedHeader"),
            ("busline-x", "v", "ReservedHeader"),
        ] {
            assert_eq!(headers(&[(name, value)]).validate().expect_err(name).reason(), reason);
        }
        assert_eq!(headers(&[("a", "v"); 10_000]).validate().expect_err("many").reason(), "HeaderCount");
        assert_eq!(headers(&[("a", &"v".repeat(65_536))]).validate().expect_err("large").reason(), "HeaderBytes");
    }
}
