//! A mutation as its file tells it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// One deliberate mistake, and the test that must notice it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutation {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The promise it breaks, and how.
    pub(crate) breaks: String,
    /// Arguments of `cargo test`.
    pub(crate) test: Vec<String>,
}

impl Mutation {
    /// All of a folder, by name.
    ///
    /// # Errors
    /// A file that cannot be read, or whose header is not complete.
    pub(crate) fn read_all(folder: &Path) -> Result<Vec<Self>> {
        let mut paths = Vec::new();
        if folder.is_dir() {
            for entry in std::fs::read_dir(folder)? {
                paths.push(entry?.path());
            }
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Result<Self> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (breaks, test) = header(&text).with_context(|| shown)?;
        Ok(Self { name, path, breaks, test })
    }

    /// The arguments as one types them.
    pub(crate) fn test_line(&self) -> String {
        self.test.join(" ")
    }

    /// The name of the test, or the part of it, that the arguments choose.
    pub(crate) fn filter(&self) -> &str {
        filter(&self.test).unwrap_or_default()
    }
}

/// What the lines in front of the first diff say.
fn header(text: &str) -> Result<(String, Vec<String>)> {
    let begins_diff = |line: &str| line.starts_with("diff ") || line.starts_with("--- ");
    ensure!(text.lines().any(begins_diff), "it holds no diff");
    let mut lines = text.lines().take_while(|line| !begins_diff(line));
    let value = |name: &str| {
        let values: Vec<_> = lines.clone().filter_map(|line| line.strip_prefix(name)).map(str::trim).collect();
        match values[..] {
            [value] if !value.is_empty() => Ok(value.to_owned()),
            _ => bail!("the lines in front of the diff need one `{name} …`"),
        }
    };
    let (breaks, test) = (value("Breaks:")?, value("Test:")?);
    let unknown =
        lines.find(|line| !(line.trim().is_empty() || line.starts_with("Breaks:") || line.starts_with("Test:")));
    if let Some(line) = unknown {
        bail!("`{line}` in front of the diff is neither `Breaks:` nor `Test:`");
    }
    let test: Vec<String> = test.split_whitespace().map(str::to_owned).collect();
    ensure!(test.iter().any(|word| word == "-p" || word == "--package"), "`Test:` names no package (-p)");
    ensure!(filter(&test).is_some(), "`Test:` names no test function");
    Ok((breaks, test))
}

/// Flags of `cargo test` whose value is the next word.
const VALUED: [&str; 12] = [
    "-p",
    "--package",
    "--test",
    "--bin",
    "--example",
    "--bench",
    "--features",
    "-F",
    "--profile",
    "-j",
    "--jobs",
    "--exclude",
];

fn filter(test: &[String]) -> Option<&str> {
    let mut words = test.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if VALUED.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/a.rs b/a.rs\n--- a/a.rs\n+++ b/a.rs\n";

    #[test]
    fn a_header_is_read() {
        let text = format!("Breaks: P1 prefix on failure\nTest: -p core --test suite --release order_of\n\n{DIFF}");
        let (breaks, test) = header(&text).expect("it is complete");
        assert_eq!(breaks, "P1 prefix on failure");
        assert_eq!(test, ["-p", "core", "--test", "suite", "--release", "order_of"]);
        assert_eq!(filter(&test), Some("order_of"));
    }

    #[test]
    fn a_filter_may_stand_behind_the_dashes() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(filter(&words("-p core -- a::b --exact")), Some("a::b"));
        assert_eq!(filter(&words("-p core --lib")), None);
    }

    #[test]
    fn what_is_missing_is_told() {
        let said = |lines: &str| header(&format!("{lines}{DIFF}")).expect_err(lines).to_string();
        assert!(said("Test: -p a b\n").contains("`Breaks: …`"));
        assert!(said("Breaks: a\n").contains("`Test: …`"));
        assert!(said("Breaks: a\nTest: -p a b\nTest: -p a c\n").contains("one `Test: …`"));
        assert!(said("Breaks: a\nTest: b\n").contains("package"));
        assert!(said("Breaks: a\nTest: -p a --lib\n").contains("test function"));
        assert!(said("Breaks: a\nTest: -p a b\nTset: -p c d\n").contains("Tset"));
        assert!(header("Breaks: a\nTest: -p a b\n").expect_err("no diff").to_string().contains("no diff"));
    }
}
