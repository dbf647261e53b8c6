//! A member of a group in a process of its own, which can be killed or frozen.
//!
//! The process is the test binary again, running one test that does its part by environment variables and is empty
//! otherwise. What its handlers do is written to a file, which outlasts a SIGKILL.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use busline_core::{Bus, Delivery, HandlerError, SubscriptionSettings};
use tempfile::TempDir;

use crate::members::Meeting;
use crate::stage::SOON;

/// Where to connect, to which topic to subscribe, and where to write.
const PLACE: &str = "BUSLINE_MEMBER_PLACE";
const TOPIC: &str = "BUSLINE_MEMBER_TOPIC";
const FOLDER: &str = "BUSLINE_MEMBER_FOLDER";

/// The group of the process.
pub(crate) const GROUP: &str = "billing";

/// A handler that is frozen is none that takes too long.
const HANDLER_MAX: Duration = Duration::from_secs(3_600);

/// The versions that were handled, by key, in the order in which that was written down.
pub(crate) type Handled = BTreeMap<String, Vec<u64>>;

/// What a handler of the process says of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Began,
    Ended,
    /// It was dropped before it ended, as its partition was lost.
    BrokenOff,
}

/// A process that is a member of the group `billing`. Killed when it is dropped.
#[derive(Debug)]
pub struct MemberProcess {
    process: Child,
    folder: TempDir,
}

impl MemberProcess {
    /// Starts one that handles this topic at this place; `test` is the path of the test that [`members!`](crate::members)
    /// makes for it, `OTHER_MEMBER`.
    pub fn start(test: &str, place: &str, topic: &str) -> Self {
        let (_, test) = test.split_once("::").expect("a test's path begins with its crate");
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(PLACE, place).env(TOPIC, topic).env(FOLDER, folder.path());
        // It ends with its standard input, so also with this process.
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        Self { process, folder }
    }

    /// Whether it is in the middle of a handler, which does not end by itself.
    pub fn is_at_work(&self) -> bool {
        !self.said(Word::Began).is_empty()
    }

    /// Sends a signal, such as `-KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
    }

    /// Lets the handlers of the process end, those under way and all later ones.
    pub(crate) fn let_handlers_end(&self) {
        std::fs::write(gate(self.folder.path()), "").expect("a file");
    }

    pub(crate) fn said(&self, wanted: Word) -> Handled {
        let text = std::fs::read_to_string(diary(self.folder.path())).unwrap_or_default();
        let mut handled = Handled::new();
        for line in text.lines() {
            let [word, key, version] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("a line: {line}") };
            if word == format!("{wanted:?}") {
                handled.entry(key.to_owned()).or_default().push(version.parse().expect("a version"));
            }
        }
        handled
    }
}

impl Drop for MemberProcess {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn diary(folder: &Path) -> PathBuf {
    folder.join("said")
}

/// While this file is not there, no handler of the process ends.
fn gate(folder: &Path) -> PathBuf {
    folder.join("gate")
}

/// How both members subscribe.
pub(crate) fn settings<M: Meeting>() -> SubscriptionSettings {
    SubscriptionSettings { lease: M::LEASE, handler_timeout: HANDLER_MAX, ..SubscriptionSettings::default() }
}

/// The part of the process: a member until the standard input ends. Nothing in a process that is not one.
#[doc(hidden)]
pub async fn be_a_member<M: Meeting>() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let (topic, folder) = (std::env::var(TOPIC), std::env::var_os(FOLDER).map(PathBuf::from));
    let (topic, folder) = (topic.expect("the parent sets it"), folder.expect("the parent sets it"));
    let bus = Bus::new(M::connect(&place).await.expect("the backend is there"));
    let handler = move |delivery: Delivery| {
        let folder = folder.clone();
        async move {
            let run = Run::begin(&folder, &delivery)?;
            while !gate(&folder).exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            run.end()
        }
    };
    let subscription = bus.subscribe(&topic, GROUP).settings(settings::<M>()).handle(handler).await.expect("joins");
    let wait = || std::io::stdin().read_line(&mut String::new());
    tokio::task::spawn_blocking(wait).await.expect("no panic").expect("a pipe");
    subscription.close(SOON).await.expect("closes");
    bus.close(SOON).await.expect("closes");
}

/// One run of the handler, which says how it ends.
struct Run<'a> {
    folder: &'a Path,
    delivery: &'a Delivery,
    has_ended: bool,
}

impl<'a> Run<'a> {
    fn begin(folder: &'a Path, delivery: &'a Delivery) -> Result<Self, HandlerError> {
        let run = Self { folder, delivery, has_ended: false };
        run.say(Word::Began)?;
        Ok(run)
    }

    fn end(mut self) -> Result<(), HandlerError> {
        self.has_ended = true;
        self.say(Word::Ended)
    }

    /// One line by one write, so that it is there whole or not at all.
    fn say(&self, word: Word) -> Result<(), HandlerError> {
        let (key, version) = (&self.delivery.envelope.aggregate_id, self.delivery.envelope.event_version);
        let mut file = OpenOptions::new().append(true).create(true).open(diary(self.folder))?;
        file.write_all(format!("{word:?} {key} {version}\n").as_bytes())?;
        Ok(())
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.say(Word::BrokenOff).expect("the folder is there");
        }
    }
}
