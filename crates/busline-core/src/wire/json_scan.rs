//! Finds the end of a JSON value, without recursion and without building anything.

use super::json_text::plain_prefix;

/// The length of the JSON value that the text begins with, space before it included.
///
/// `None` if there is none, and also beyond 64 levels: such values are left to the slow path.
pub(super) fn value_length(text: &str) -> Option<usize> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    let mut open = Open::default();
    loop {
        if scan.value_begins(&mut open)? {
            continue;
        }
        while let Some(kind) = open.innermost() {
            match (scan.token()?, kind) {
                (b',', Kind::Array) => break,
                (b',', Kind::Object) => {
                    scan.key()?;
                    break;
                }
                (b']', Kind::Array) | (b'}', Kind::Object) => open.pop(),
                _ => return None,
            }
        }
        if open.depth == 0 {
            return Some(scan.at);
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Array,
    Object,
}

/// The arrays and objects around the place: one bit each, the innermost lowest.
#[derive(Default)]
struct Open {
    kinds: u64,
    depth: u32,
}

impl Open {
    fn push(&mut self, kind: Kind) -> Option<()> {
        if self.depth == u64::BITS {
            return None;
        }
        self.kinds = self.kinds << 1 | u64::from(matches!(kind, Kind::Object));
        self.depth += 1;
        Some(())
    }

    fn pop(&mut self) {
        self.kinds >>= 1;
        self.depth -= 1;
    }

    fn innermost(&self) -> Option<Kind> {
        let kind = if self.kinds & 1 == 1 { Kind::Object } else { Kind::Array };
        (self.depth > 0).then_some(kind)
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes space and the byte behind it.
    fn token(&mut self) -> Option<u8> {
        loop {
            let byte = self.peek()?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
        }
    }

    /// Takes a scalar or an empty container, or the beginning of a full one up to its first value: then `true`.
    fn value_begins(&mut self, open: &mut Open) -> Option<bool> {
        match self.token()? {
            b'"' => self.string()?,
            b'{' => return self.container(Kind::Object, open),
            b'[' => return self.container(Kind::Array, open),
            b't' => self.literal(b"rue")?,
            b'f' => self.literal(b"alse")?,
            b'n' => self.literal(b"ull")?,
            b'-' => self.negative()?,
            first @ b'0'..=b'9' => self.number(first)?,
            _ => return None,
        }
        Some(false)
    }

    fn container(&mut self, kind: Kind, open: &mut Open) -> Option<bool> {
        let first = self.token()?;
        match (first, kind) {
            (b'}', Kind::Object) | (b']', Kind::Array) => return Some(false),
            (b'"', Kind::Object) => self.key_behind_quote()?,
            (_, Kind::Object) => return None,
            (_, Kind::Array) => self.at -= 1,
        }
        open.push(kind)?;
        Some(true)
    }

    fn key(&mut self) -> Option<()> {
        if self.token()? == b'"' { self.key_behind_quote() } else { None }
    }

    fn key_behind_quote(&mut self) -> Option<()> {
        self.string()?;
        (self.token()? == b':').then_some(())
    }

    /// Takes a string behind its opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.at += plain_prefix(&self.bytes[self.at..]);
            let special = self.peek()?;
            self.at += 1;
            match special {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let kind = self.peek()?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        let legal = self.bytes[self.at..].starts_with(rest);
        self.at += rest.len();
        legal.then_some(())
    }

    fn negative(&mut self) -> Option<()> {
        let first = self.peek().filter(u8::is_ascii_digit)?;
        self.at += 1;
        self.number(first)
    }

    /// Takes a number behind its first digit: none may follow a leading zero.
    fn number(&mut self, first: u8) -> Option<()> {
        if self.digits() > 0 && first == b'0' {
            return None;
        }
        if self.take(b".") && self.digits() == 0 {
            return None;
        }
        if self.take(b"eE") {
            self.take(b"+-");
            return (self.digits() > 0).then_some(());
        }
        Some(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// Takes the next byte if it is one of these.
    fn take(&mut self, choice: &[u8]) -> bool {
        let taken = self.peek().is_some_and(|byte| choice.contains(&byte));
        self.at += usize::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// The scan and serde agree on whether this is one JSON value, up to its last byte.
    #[track_caller]
    fn agree(text: &str) {
        let scanned = value_length(text).is_some_and(|length| text[length..].trim_ascii_start().is_empty());
        assert_eq!(scanned, serde_json::from_str::<&RawValue>(text).is_ok(), "{text:?}");
    }

    #[test]
    fn every_corner_of_the_grammar_is_as_serde_has_it() {
        for text in [
            "",
            " ",
            "0",
            "-0",
            "01",
            "-",
            "-a",
            "1.",
            "1.5",
            ".5",
            "1e",
            "1e5",
            "1E+5",
            "1e-",
            "1e400",
            "+1",
            "1 2",
            "true",
            "tru",
            "truex",
            "false",
            "null",
            "nul",
            "\"",
            "\"a\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\t\"",
            "\"\u{7f}é🙂\"",
            "[",
            "]",
            "[]",
            "[ ]",
            "[1]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            "{",
            "{}",
            "{ }",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\":1]",
            "{,}",
            " { \"a\" : [ 1 , { \"b\" : null } ] } ",
            "{\"a\":1,\"a\":2}",
            "[[[]]]]",
            "\u{b}1",
            "\u{a0}1",
            "nul\u{e9}",
        ] {
            agree(text);
        }
    }

    #[test]
    fn sixty_four_levels_are_scanned_and_one_more_is_declined() {
        for (levels, scanned) in [(64, true), (65, false)] {
            let text = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
            assert_eq!(value_length(&text), scanned.then_some(text.len()));
        }
    }

    proptest! {
        #[test]
        fn text_made_of_json_pieces_is_judged_as_serde_does(
            text in proptest::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\", "\\u00e9", "0", "12", "-", ".", "e", "true",
                    "null", " ", "\n", "é",
                ]),
                0..12,
            ).prop_map(|pieces| pieces.concat())
        ) {
            agree(&text);
        }
    }
}
