//! Where runs take place: a fresh temporary file for each, or the bus that was asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use busline::Bus;

use crate::connect::Connect;
use crate::left_behind::{self, Folder, LeftBehind};
use crate::topic_plan::TopicPlan;

/// Where runs take place.
pub(crate) struct Place {
    url: Option<String>,
    connect: Arc<dyn Connect>,
    plan: TopicPlan,
    /// Holds the files of runs and twins; on the file system of the bus, if that is a file.
    folder: Folder,
}

/// Where one run takes place.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) url: String,
    connect: Arc<dyn Connect>,
    /// What its topics are made of.
    pub(crate) plan: TopicPlan,
    pub(crate) topics: Vec<String>,
    /// Those of the burst that is read while it is published.
    pub(crate) followed_topics: Vec<String>,
    /// The bus lives on, so the topics must be deleted.
    pub(crate) lives_on: bool,
}

impl Place {
    pub(crate) fn new(url: Option<&str>, connect: Arc<dyn Connect>) -> Result<Self> {
        let beside = url.and_then(file_of).map(|file| Path::new(".").join(file.parent().unwrap_or(Path::new(""))));
        let folder = beside.unwrap_or_else(std::env::temp_dir);
        let folder = Folder::new_in(&folder, PREFIX).context("make a temporary folder")?;
        Ok(Self { url: url.map(str::to_string), connect, plan: TopicPlan::default(), folder })
    }

    /// The same with topics that are made in this way.
    pub(crate) fn with_plan(self, plan: TopicPlan) -> Self {
        Self { plan, ..self }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A stage with topics that nobody else has.
    pub(crate) fn stage(&self, topics: usize) -> Stage {
        let run: u32 = rand::random();
        let url =
            self.url.clone().unwrap_or_else(|| format!("sqlite:{}", self.file(&format!("{run:08x}.db")).display()));
        let named = |kind: &str| (0..topics).map(|topic| format!("bench-{run:08x}-{kind}{topic}")).collect();
        let lives_on = self.url.as_ref().is_some_and(|url| !url.starts_with("memory:"));
        Stage {
            url,
            connect: Arc::clone(&self.connect),
            plan: self.plan.clone(),
            topics: named(""),
            followed_topics: named("followed-"),
            lives_on,
        }
    }
}

const PREFIX: &str = "busline-bench-";

impl Stage {
    /// Opens its bus.
    ///
    /// # Errors
    /// Those of connecting.
    pub(crate) async fn bus(&self) -> busline::Result<Bus> {
        self.connect.connect(&self.url).await
    }

    /// Notes its topics as left behind, until [`cleared`](Self::cleared): before any of them is made.
    pub(crate) fn note(&self) {
        if self.lives_on {
            left_behind::note(self.left());
        }
    }

    /// None of its topics is left.
    pub(crate) fn cleared(&self) {
        left_behind::strike_off(&self.left());
    }

    fn left(&self) -> LeftBehind {
        left_behind::topics(&self.url, self.topics.iter().chain(&self.followed_topics).cloned())
    }

    /// Whether this topic is one of the run's, or holds what a group has parked of one.
    pub(crate) fn owns(&self, name: &str) -> bool {
        let mut own = self.topics.iter().chain(&self.followed_topics);
        let parking = name.strip_prefix("__parked.").and_then(|rest| rest.split_once("..")).map(|(topic, _)| topic);
        own.any(|topic| topic == name || Some(topic.as_str()) == parking)
    }

    /// The SQLite file of the bus, if it is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        file_of(&self.url)
    }
}

fn file_of(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").map(PathBuf::from)
}

/// Removes a database with everything SQLite and the driver put beside it.
pub(crate) fn remove_file(path: &Path) {
    for side in ["", "-wal", "-shm", ".lock"] {
        let mut name = path.as_os_str().to_owned();
        name.push(side);
        drop(std::fs::remove_file(name));
    }
}
