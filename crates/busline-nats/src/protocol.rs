//! The operations of the NATS protocol as bytes.
//!
//! # Source
//! The protocol as NATS documents it: a line for each operation, and behind the line of a message so many bytes.

use std::ops::Range;

use busline_core::Result;

use crate::error::protocol as broken;

/// Longest line and largest message taken from a server.
const LINE_BYTES_MAX: usize = 1 << 20;
const MESSAGE_BYTES_MAX: usize = 80 << 20;

/// A message, as it lies in somebody's buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) subject: &'a [u8],
    /// Where an answer would go; of a record that a consumer delivers: which one it is.
    pub(crate) reply: &'a [u8],
    /// The whole header block with its first line, or nothing.
    pub(crate) headers: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Message<'_> {
    /// The status in the first line of the headers.
    pub(crate) fn status(&self) -> Option<u16> {
        let line = self.headers.strip_prefix(b"NATS/1.0 ")?;
        std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
    }
}

/// Adds a message to what is sent.
pub(crate) fn push_message(out: &mut Vec<u8>, message: &Message<'_>) {
    let Message { subject, reply, headers, body } = message;
    out.reserve(subject.len() + reply.len() + headers.len() + body.len() + 40);
    out.extend_from_slice(if headers.is_empty() { b"PUB " } else { b"HPUB " });
    out.extend_from_slice(subject);
    if !reply.is_empty() {
        out.push(b' ');
        out.extend_from_slice(reply);
    }
    if !headers.is_empty() {
        out.push(b' ');
        push_number(out, headers.len() as u64);
    }
    out.push(b' ');
    push_number(out, (headers.len() + body.len()) as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(headers);
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// An operation at the start of some bytes, of which it takes so many.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) op: Op,
    pub(crate) length: usize,
}

/// What a server says; the ranges are those of its parts in the bytes.
#[derive(Debug)]
pub(crate) enum Op {
    Ping,
    Pong,
    Ok,
    Info(Range<usize>),
    Complaint(Range<usize>),
    Message { subject: Range<usize>, reply: Range<usize>, headers: Range<usize>, body: Range<usize> },
}

/// The operation at the start of the bytes, if they hold all of it.
///
/// # Errors
/// `Corrupt/Protocol`: no server says that.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Found>> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        if bytes.len() > LINE_BYTES_MAX {
            return Err(broken("a line without an end"));
        }
        return Ok(None);
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let after = end + 1;
    let op = match line {
        [b'M', b'S', b'G', b' ', ..] => return message(bytes, line, 4, after, false),
        [b'H', b'M', b'S', b'G', b' ', ..] => return message(bytes, line, 5, after, true),
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        b"+OK" => Op::Ok,
        [b'I', b'N', b'F', b'O', b' ', ..] => Op::Info(5..line.len()),
        [b'-', b'E', b'R', b'R', ..] => Op::Complaint(4..line.len()),
        _ => return Err(broken("an operation that is none")),
    };
    Ok(Some(Found { op, length: after }))
}

/// `MSG subject sid [reply] bytes`, or `HMSG subject sid [reply] header-bytes bytes`, and what follows the line.
fn message(bytes: &[u8], line: &[u8], from: usize, after: usize, with_headers: bool) -> Result<Option<Found>> {
    let numbers = if with_headers { 2 } else { 1 };
    let (words, count) = words(line, from)?;
    if !(2 + numbers..=3 + numbers).contains(&count) {
        return Err(broken("a message line of a wrong form"));
    }
    let word = |at: usize| words[at].0..words[at].1;
    let number = |at: usize| parse_number(&line[word(at)]).ok_or_else(|| broken("a length that is none"));
    let total = number(count - 1)?;
    let header_bytes = if with_headers { number(count - 2)? } else { 0 };
    if total > MESSAGE_BYTES_MAX as u64 || header_bytes > total {
        return Err(broken("a message length out of range"));
    }
    let (end, body) = (after + total as usize, after + header_bytes as usize);
    if bytes.len() < end + 2 {
        return Ok(None);
    }
    if &bytes[end..end + 2] != b"\r\n" {
        return Err(broken("a message without its end"));
    }
    let reply = if count > 2 + numbers { word(2) } else { 0..0 };
    let op = Op::Message { subject: word(0), reply, headers: after..body, body: body..end };
    Ok(Some(Found { op, length: end + 2 }))
}

/// Where the words of a message line begin and end, and how many they are.
fn words(line: &[u8], from: usize) -> Result<([(usize, usize); 5], usize)> {
    let mut words = [(0, 0); 5];
    let mut count = 0;
    let mut at = from;
    while at < line.len() {
        let end = memchr::memchr(b' ', &line[at..]).map_or(line.len(), |space| at + space);
        if end > at {
            *words.get_mut(count).ok_or_else(|| broken("a message line with too many words"))? = (at, end);
            count += 1;
        }
        at = end + 1;
    }
    Ok((words, count))
}

/// A number in decimal, without an allocation.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A decimal number of at most 19 digits.
pub(crate) fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_says_is_refused() {
        for input in [
            &b"NONSENSE\r\n"[..],
            b"MSG a 1\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a 1 99999999999\r\n",
            b"MSG a 1 b c 3\r\n",
            b"HMSG a 1 9 3\r\nabc\r\n",
            b"MSG a 1 1\r\nabc\r\n",
        ] {
            assert_eq!(parse(input).expect_err("refused").code(), "Corrupt/Protocol");
        }
    }

    #[test]
    fn a_message_is_written_as_the_protocol_has_it() {
        let mut out = Vec::new();
        push_message(&mut out, &Message { subject: b"t.0", reply: b"_INBOX.a.1", headers: b"", body: b"body" });
        push_message(&mut out, &Message { subject: b"t.1", reply: b"", headers: b"NATS/1.0\r\n\r\n", body: b"" });
        let wanted = "PUB t.0 _INBOX.a.1 4\r\nbody\r\nHPUB t.1 12 12\r\nNATS/1.0\r\n\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }

    #[test]
    fn a_status_stands_in_the_first_header_line() {
        let message = Message { subject: b"a", reply: b"", headers: b"NATS/1.0 503\r\n\r\n", body: b"" };
        assert_eq!(message.status(), Some(503));
        assert_eq!(Message { headers: b"NATS/1.0\r\n\r\n", ..message }.status(), None);
    }
}
