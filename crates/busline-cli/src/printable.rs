//! Text from outside as it may be shown on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with control characters, and what changes the direction or hides, written as `\u{…}`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |character, out| out.extend(character.escape_unicode()))
}

/// JSON on one line, with the same characters as JSON writes them: the document stays the same.
pub(crate) fn printable_json(json: &str) -> Cow<'_, str> {
    escape(json, |character, out| {
        // All characters that change a terminal lie in the basic plane, so one escape is enough.
        let _ = write!(out, "\\u{:04x}", u32::from(character));
    })
}

fn escape(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.chars().any(changes_a_terminal) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if changes_a_terminal(character) { write(character, &mut out) } else { out.push(character) }
    }
    Cow::Owned(out)
}

/// Control characters, invisible ones and those that change the direction of the text.
fn changes_a_terminal(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_shown_and_ordinary_text_is_not_touched() {
        assert_eq!(printable("Grüße, 東京 🙂"), "Grüße, 東京 🙂");
        assert_eq!(printable("a\u{1b}[31m\u{9b}2J\u{202e}\n"), "a\\u{1b}[31m\\u{9b}2J\\u{202e}\\u{a}");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let json = printable_json("{\"a\":\"\u{7f}\u{9b}2J\u{202e}\"}");
        assert_eq!(json, r#"{"a":"\u007f\u009b2J\u202e"}"#);
        let value: serde_json::Value = serde_json::from_str(&json).expect("json");
        assert_eq!(value["a"], "\u{7f}\u{9b}2J\u{202e}");
    }
}
