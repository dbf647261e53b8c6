//! B2: what the text of every error has.

/// Fails unless the text is one line of operation, subject, `Kind/Reason`, cause and next step, with nothing in it that
/// changes a terminal.
pub fn assert_told(text: &str, code: &str) {
    let wrong = |what: &str| panic!("an error has {what}: {text:?}, expected {code}");
    let Some((before, after)) = text.split_once(code) else { return wrong("its Kind/Reason") };
    // What is said of a whole command line or a benchmark names its subject in the cause.
    let named =
        before.strip_suffix(": ").is_some_and(|named| named.contains(' ') || ["usage", "bench"].contains(&named));
    let told = after.strip_prefix(": ").and_then(|told| told.rsplit_once("; "));
    match (named, told) {
        (false, _) => wrong("an operation and a subject"),
        (_, None) => wrong("a cause and a next step"),
        (_, Some((cause, next))) if cause.is_empty() || next.is_empty() => wrong("a cause and a next step"),
        _ if text.chars().any(char::is_control) => wrong("one printable line"),
        _ if text.chars().count() > TEXT_MAX => wrong("offending text that is cut"),
        _ => {}
    }
}

/// Longest text of an error about something too long.
const TEXT_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(text: &'static str) {
        std::panic::catch_unwind(|| assert_told(text, "Invalid/X")).expect_err(text);
    }

    #[test]
    fn each_missing_part_is_found() {
        assert_told("publish orders: Invalid/X: it is wrong; mend it", "Invalid/X");
        assert_told("usage: Invalid/X: it is wrong; mend it", "Invalid/X");
        for text in [
            "publish orders: Invalid/Y: it is wrong; mend it",
            "Invalid/X: it is wrong; mend it",
            "publish: Invalid/X: it is wrong; mend it",
            "publish orders: Invalid/X; mend it",
            "publish orders: Invalid/X: it is wrong",
            "publish orders: Invalid/X: it is wrong; ",
            "publish orders: Invalid/X: it is\nwrong; mend it",
            "publish orders: Invalid/X: \u{1b}[31m is wrong; mend it",
        ] {
            fails(text);
        }
    }
}
