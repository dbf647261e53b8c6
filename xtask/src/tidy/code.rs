//! Rust source without its comments and literals, and what can be found in it.

/// The source with comments and literals turned into spaces, but for the quote that opens a literal.
///
/// Every other byte keeps its place, and every line end stays, so that a place found here is a place in the source.
/// It knows the tokens that can hold any text, and nothing else of the grammar.
pub(crate) fn blanked(source: &str) -> String {
    let mut out = Vec::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let (kept, blank) = token(rest, out.last().copied());
        out.extend_from_slice(&rest.as_bytes()[..kept]);
        out.extend(rest[kept..kept + blank].bytes().map(|byte| if byte == b'\n' { byte } else { b' ' }));
        rest = &rest[kept + blank..];
    }
    String::from_utf8(out).expect("whole characters are kept or blanked")
}

/// How many bytes to keep, and how many behind them to blank, at the start of `rest`. At least one in all.
fn token(rest: &str, before: Option<u8>) -> (usize, usize) {
    if rest.starts_with("//") {
        return (0, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (0, block_comment(rest));
    }
    if let Some(quote) = raw_string(rest, before) {
        let close = format!("\"{}", "#".repeat(quote - 1));
        let inside = &rest[quote + 1..];
        return (quote + 1, inside.find(&close).map_or(inside.len(), |at| at + close.len()));
    }
    match rest.chars().next() {
        Some('"') => (1, string(&rest[1..])),
        Some('\'') => (1, character(&rest[1..])),
        Some(first) => (first.len_utf8(), 0),
        None => (0, 0),
    }
}

/// Length of a comment that may hold comments.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Where the quote of a raw string is, if one begins here: 1 plus its number of `#`.
fn raw_string(rest: &str, before: Option<u8>) -> Option<usize> {
    // `br"…"` and `cr"…"` are as raw; an `r` at the end of a longer word is not.
    if !rest.starts_with('r') || before.is_some_and(|before| is_word(before) && !matches!(before, b'b' | b'c')) {
        return None;
    }
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    (rest.as_bytes().get(1 + hashes) == Some(&b'"')).then_some(1 + hashes)
}

/// Length of the inside of a string up to its closing quote.
fn string(inside: &str) -> usize {
    let mut escaped = false;
    let close = inside.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    close.map_or(inside.len(), |close| close + 1)
}

/// Length of the inside of a character literal and its quote; 0 for a lifetime.
fn character(inside: &str) -> usize {
    let mut chars = inside.chars();
    match chars.next() {
        Some('\\') => inside[2.min(inside.len())..].find('\'').map_or(0, |close| close + 3),
        Some(first) if chars.next() == Some('\'') => first.len_utf8() + 1,
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Places of `words` in the code, where no longer word surrounds them.
pub(crate) fn places_of<'a>(code: &'a str, words: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(words).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        let begins = *at == 0 || !is_word(bytes[at - 1]);
        let last = words.bytes().last().is_some_and(is_word);
        let ends = !last || bytes.get(at + words.len()).is_none_or(|next| !is_word(*next));
        begins && ends
    })
}

/// What stands in front of the inline tests.
pub(crate) fn without_inline_tests(code: &str) -> &str {
    let begin = code.match_indices("#[cfg(test)]").map(|(at, found)| (at, at + found.len())).find(|(_, end)| {
        let item = code[*end..].trim_start();
        item.starts_with("mod ") && item.find('{').is_some_and(|open| !item[..open].contains(';'))
    });
    begin.map_or(code, |(at, _)| &code[..at])
}

/// The statement without the attributes in front of it.
pub(crate) fn without_attributes(mut statement: &str) -> &str {
    loop {
        statement = statement.trim_start();
        if !statement.starts_with("#[") && !statement.starts_with("#![") {
            return statement;
        }
        let mut depth = 0;
        let end = statement.find(|letter| {
            depth += i32::from(letter == '[') - i32::from(letter == ']');
            letter == ']' && depth == 0
        });
        statement = end.map_or("", |end| &statement[end + 1..]);
    }
}

/// The item behind its `pub` or `pub(…)`, if it has one.
pub(crate) fn behind_visibility(item: &str) -> Option<&str> {
    let rest = item.strip_prefix("pub")?;
    match rest.trim_start().strip_prefix('(') {
        Some(inside) => inside.split_once(')').map(|(_, rest)| rest.trim_start()),
        None => rest.starts_with(char::is_whitespace).then(|| rest.trim_start()),
    }
}

/// Names of the functions in the code.
pub(crate) fn function_names(code: &str) -> impl Iterator<Item = &str> {
    places_of(code, "fn").filter_map(|at| {
        let name = code[at + 2..].trim_start();
        let end = name.bytes().position(|byte| !is_word(byte)).unwrap_or(name.len());
        (end > 0).then(|| &name[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_blanked_in_place() {
        // In what is expected, `_` stands for a blank.
        let cases = [
            ("a // b\nc", "a ____\nc"),
            ("a /* b /* c */ d */ e", "a _________________ e"),
            (r#"f("b \" c", d)"#, r#"f("_______, d)"#),
            ("r#\"b \" c\"# d", "r#\"_______ d"),
            ("for\"b\"", "for\"__"),
            ("br\"\\\" + x", "br\"__ + x"),
            ("'\"' + '\\'' + \"x\"", "'__ + '___ + \"__"),
            ("fn f<'a>(b: &'a str)", "fn f<'a>(b: &'a str)"),
            ("'é'; 'a", "'___; 'a"),
            ("r#type", "r#type"),
            ("\"a\nb\" c", "\"_\n__ c"),
        ];
        for (source, expected) in cases {
            assert_eq!(blanked(source), expected.replace('_', " "), "{source}");
        }
    }

    #[test]
    fn a_word_is_found_only_whole() {
        let places: Vec<_> = places_of("todo! my_todo! todo!", "todo!").collect();
        assert_eq!(places, [0, 15]);
        assert_eq!(places_of("fnord fn", "fn").collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn inline_tests_are_cut_off_and_a_test_file_is_not() {
        assert_eq!(without_inline_tests("a #[cfg(test)]\nmod tests { b }"), "a ");
        let file = "#[cfg(test)]\nmod tests;\nfn a() {}";
        assert_eq!(without_inline_tests(file), file);
    }

    #[test]
    fn attributes_and_visibility_are_peeled_off() {
        assert_eq!(without_attributes(" #![a] #[b([c])]\nmod d"), "mod d");
        assert_eq!(behind_visibility("pub(crate) use a"), Some("use a"));
        assert_eq!(behind_visibility("pub use a"), Some("use a"));
        assert_eq!(behind_visibility("public"), None);
    }

    #[test]
    fn functions_are_named() {
        let names: Vec<_> = function_names("pub async fn one() {} fn two<T>() {} x: fn(u8)").collect();
        assert_eq!(names, ["one", "two"]);
    }
}
