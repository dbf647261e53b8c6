//! What the task is asked to do.

/// The mutations that are meant, and what to do with them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Empty: all.
    pub(crate) names: Vec<String>,
    pub(crate) mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only show them.
    List,
    /// Only see that they apply and that their headers are complete.
    Check,
    /// Apply each and run its test.
    Run,
}

impl Request {
    /// Reads the words behind `cargo xtask mutate`.
    ///
    /// # Errors
    /// A flag that does not exist, or two that exclude each other, in words.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut request = Self { names: Vec::new(), mode: Mode::Run };
        for word in words {
            let mode = match *word {
                "--list" => Mode::List,
                "--check" => Mode::Check,
                flag if flag.starts_with('-') => return Err(format!("mutate has no flag `{flag}`")),
                name => {
                    request.names.push(name.trim_end_matches(".patch").to_owned());
                    continue;
                }
            };
            if request.mode != Mode::Run {
                return Err("mutate takes one of --list and --check".into());
            }
            request.mode = mode;
        }
        Ok(request)
    }

    /// See that all apply.
    pub(crate) fn check() -> Self {
        Self { names: Vec::new(), mode: Mode::Check }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_one_mode_are_read() {
        let request = Request::parse(&["a", "--check", "b.patch"]).expect("it is right");
        assert_eq!(request, Request { names: vec!["a".into(), "b".into()], mode: Mode::Check });
        assert_eq!(Request::parse(&[]).expect("it is right").mode, Mode::Run);
        assert_eq!(Request::parse(&["--check"]).expect("it is right"), Request::check());
    }

    #[test]
    fn wrong_flags_are_told() {
        assert!(Request::parse(&["--fast"]).is_err());
        assert!(Request::parse(&["--check", "--list"]).is_err());
    }
}
