//! Header blocks of outgoing messages, written into a buffer that is used again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::protocol::push_number;
use crate::records::KEY;

const FIRST_LINE: &[u8] = b"NATS/1.0\r\n";

/// A header block in the making.
#[derive(Debug, Default)]
pub(crate) struct Heads(Vec<u8>);

impl Heads {
    /// Begins a new block.
    pub(crate) fn begin(&mut self) -> &mut Self {
        self.0.clear();
        self
    }

    fn line(&mut self, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        if self.0.is_empty() {
            self.0.extend_from_slice(FIRST_LINE);
        }
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        value(&mut self.0);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header with a text.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.line(name.as_bytes(), |out| out.extend_from_slice(value.as_bytes()))
    }

    /// Adds a header with a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.line(name.as_bytes(), |out| push_number(out, value))
    }

    /// Adds the message id of record `number` of a sink.
    pub(crate) fn message_id(&mut self, incarnation: &str, number: u64) -> &mut Self {
        self.line(b"Nats-Msg-Id", |out| {
            out.extend_from_slice(incarnation.as_bytes());
            out.push(b'-');
            push_number(out, number);
        })
    }

    /// Adds the key of a record whose body does not give it.
    pub(crate) fn key(&mut self, key: &[u8]) -> &mut Self {
        self.line(KEY.as_bytes(), |out| out.extend_from_slice(URL_SAFE_NO_PAD.encode(key).as_bytes()))
    }

    /// Adds the headers of a record from the form in which the core stores them: for each the lengths of name (2 bytes)
    /// and value (4 bytes), big endian, and both.
    pub(crate) fn stored(&mut self, mut block: &[u8]) -> &mut Self {
        while let [a, b, c, d, e, f, rest @ ..] = block {
            let name = usize::from(u16::from_be_bytes([*a, *b]));
            let value = u32::from_be_bytes([*c, *d, *e, *f]) as usize;
            let (Some(name), Some(value_bytes)) = (rest.get(..name), rest.get(name..name + value)) else { break };
            self.line(name, |out| out.extend_from_slice(value_bytes));
            block = &rest[name.len() + value..];
        }
        self
    }

    /// The block; empty if there is no header.
    pub(crate) fn end(&mut self) -> &[u8] {
        if !self.0.is_empty() {
            self.0.extend_from_slice(b"\r\n");
        }
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{header, user_headers};

    #[test]
    fn a_block_holds_our_headers_and_the_users_in_order() {
        let mut stored = Vec::new();
        for (name, value) in [("a", " 1"), ("b", ""), ("a", "2")] {
            stored.extend_from_slice(&(name.len() as u16).to_be_bytes());
            stored.extend_from_slice(&(value.len() as u32).to_be_bytes());
            stored.extend_from_slice(name.as_bytes());
            stored.extend_from_slice(value.as_bytes());
        }
        let mut heads = Heads::default();
        let block = heads.begin().message_id("f00", 12).stored(&stored).end();
        assert_eq!(block, b"NATS/1.0\r\nNats-Msg-Id: f00-12\r\na:  1\r\nb: \r\na: 2\r\n\r\n");
        let names: Vec<_> = user_headers(block).iter().map(|header| header.name.clone()).collect();
        assert_eq!(names, ["a", "b", "a"]);
        assert!(heads.begin().stored(b"").end().is_empty());
    }

    #[test]
    fn a_key_of_any_bytes_is_read_back() {
        for key in [&b""[..], b"order-1", b"\r\n\xff: "] {
            let mut heads = Heads::default();
            let block = heads.begin().key(key).end();
            let carried = header(block, KEY).expect("there");
            assert_eq!(URL_SAFE_NO_PAD.decode(carried).expect("base 64"), key);
            assert!(user_headers(block).is_empty());
        }
    }
}
