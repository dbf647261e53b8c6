//! A headless browser of the machine.

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Names that it has; the first one on the path that answers is taken.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const MISSING: &str = "no browser is here: install the package chromium (Debian, Ubuntu: apt install chromium)";

/// Seconds that opening a page may take; a machine that does much else takes some of them.
const OPEN_MAX: &str = "120";

/// A browser that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Browser(&'static str);

/// What came of a page.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The document as it was after loading, as text.
    pub(crate) document: String,
    /// What was said on the console, errors among it.
    pub(crate) console: Vec<String>,
}

impl Browser {
    /// The machine's browser. Without one the reason is printed past the test's capture, so that it is seen.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let answers = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
        let found = NAMES.iter().find(|name| answers(name));
        if found.is_none() {
            writeln!(std::io::stderr(), "skipped: {test}: {MISSING}").expect("stderr");
        }
        found.map(|name| Self(name))
    }

    /// Opens a file to the end of its loading.
    pub(crate) fn open(self, file: &Path) -> Opened {
        let profile = tempfile::tempdir().expect("a folder");
        let url = format!("file://{}", file.display());
        // `timeout` ends the browser together with all processes that it started.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", OPEN_MAX, self.0, "--headless", "--disable-gpu", "--window-size=1400,900"]);
        // The sandbox does not work for root, and the page is our own.
        command.args(["--no-sandbox", "--no-first-run", "--enable-logging=stderr", "--dump-dom"]);
        let ran = command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url).output();
        let ran = ran.expect("timeout is part of every Linux");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{}: {}\n{said}", self.0, ran.status);
        let console = said.lines().filter(|line| line.contains(":CONSOLE")).map(String::from).collect();
        Opened { document: String::from_utf8(ran.stdout).expect("text"), console }
    }
}
