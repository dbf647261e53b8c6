//! The bus that the command line names.

use std::path::Path;

use busline::{Bus, Error, Found, Result};

/// A URL, with what may be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    url: String,
    source: UrlSource,
}

impl Target {
    /// Takes a URL from where it was found.
    ///
    /// # Errors
    /// `Invalid/SecretInArguments` for a password on the command line, where every user of the machine sees it.
    pub(crate) fn new(url: String, source: UrlSource) -> Result<Self> {
        if source == UrlSource::Argument && has_password(&url) {
            return Err(Error::invalid("SecretInArguments")
                .cause("--bus holds a password, which every user of this machine can see")
                .next("set BUSLINE_URL instead")
                .at("usage", ""));
        }
        Ok(Self { url, source })
    }

    /// The URL, if the user has named one.
    pub(crate) fn named(self) -> Option<String> {
        (self.source != UrlSource::Default).then_some(self.url)
    }

    /// Connects, and makes a missing file.
    pub(crate) async fn connect(&self) -> Result<Bus> {
        busline::connect(&self.url).await
    }

    /// Connects to read; `None` if there is no file yet, which reading does not make.
    pub(crate) async fn connect_existing(&self) -> Result<Option<Bus>> {
        if self.is_missing() {
            return Ok(None);
        }
        self.connect().await.map(Some)
    }

    /// As [`connect_existing`](Self::connect_existing), with what the backend found out about its servers.
    pub(crate) async fn examine(&self) -> Result<Option<Found>> {
        if self.is_missing() {
            return Ok(None);
        }
        busline::connect_with_facts(&self.url).await.map(Some)
    }

    /// The file of an embedded bus.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.url.strip_prefix("sqlite:").map(Path::new)
    }

    /// Whether the file is not there, though it could be made.
    pub(crate) fn is_missing(&self) -> bool {
        self.file().is_some_and(|file| {
            let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // A URL that is wrong in itself is left to its own error.
            file.file_name().is_some_and(|name| name.len() < 255)
                && !self.url.contains(|letter: char| letter == '?' || letter.is_control())
                && !self.url.starts_with("sqlite://")
                && folder.is_dir()
                && file.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        })
    }

    /// The URL without what may be a secret.
    pub(crate) fn shown(&self) -> String {
        match self.url.split_once(':') {
            Some(("sqlite", _)) => self.url.clone(),
            Some((scheme, rest)) => match rest.strip_prefix("//").map(hosts) {
                Some(hosts) => format!("{scheme}://{hosts}"),
                None => format!("{scheme}:"),
            },
            None => String::new(),
        }
    }
}

/// Where a URL was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlSource {
    /// In the arguments, which other users can see.
    Argument,
    /// In the environment.
    Environment,
    /// Nowhere: it is the default.
    Default,
}

/// The servers of a URL, without user, password, token and parameters.
///
/// Nothing is shown where a password may hold what ends a list, and only what stands behind the last user where several
/// servers have one: a comma does not tell a server from a piece of a password.
fn hosts(rest: &str) -> &str {
    let list = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_cut_within_a_secret = rest[list.len()..].contains('@');
    let servers = list.rsplit_once('@').map_or(list, |(_, servers)| servers);
    let is_of_servers = |letter: char| letter.is_ascii_alphanumeric() || ".-_:[],".contains(letter);
    if is_cut_within_a_secret || !servers.chars().all(is_of_servers) { "" } else { servers }
}

/// Whether there is `user:password@` in front of a host.
fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_refused_in_arguments_and_shown_nowhere() {
        let url = "nats://shop:hunter2@localhost:4222";
        let error = Target::new(url.into(), UrlSource::Argument).expect_err("refused");
        assert_eq!(error.code(), "Invalid/SecretInArguments");
        assert!(!format!("{error}{error:?}").contains("hunter2"));
        let target = Target::new(url.into(), UrlSource::Environment).expect("taken");
        assert_eq!(target.shown(), "nats://localhost:4222");
        for (url, shown) in [
            ("tls://a:1,b:2?creds.file=/secret", "tls://a:1,b:2"),
            ("nats://token@[::1]:4222/", "nats://[::1]:4222"),
            ("nats://u:p@a:1,u:p@b:2", "nats://b:2"),
            ("nats://u:hunter,2@a", "nats://a"),
            ("nats://u:hunter/2@a", "nats://"),
            ("nats://u:hunter?2@a", "nats://"),
            ("nats://u:hunter@2@a", "nats://a"),
            ("memory:", "memory:"),
            ("hunter2", ""),
        ] {
            assert_eq!(Target::new(url.into(), UrlSource::Environment).expect("taken").shown(), shown, "{url}");
        }
        for url in ["nats://localhost:4222", "nats://user@localhost", "sqlite:a@b:c.db"] {
            Target::new(url.into(), UrlSource::Argument).expect("no password");
        }
    }

    #[test]
    fn only_a_file_that_could_be_made_counts_as_missing() {
        let folder = tempfile::tempdir().expect("folder");
        let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let missing = |url: String| Target::new(url, UrlSource::Argument).expect("taken").is_missing();
        assert!(missing(url("none.db")));
        std::fs::write(folder.path().join("is.db"), "").expect("file");
        assert!(!missing(url("is.db")));
        assert!(!missing(url("no-folder/x.db")));
        assert!(!missing("memory:".into()));
        assert!(!missing("sqlite:".into()));
        assert!(!missing("sqlite:x.db?mode=ro".into()));
        assert!(!missing(url("a\nb.db")));
    }
}
