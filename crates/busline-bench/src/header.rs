//! What stands in front of every report: how and on what it was measured.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::contender::{Contender, backend_of, labels};
use crate::measure::Machine;
use crate::runtime::runtime;

/// Version of the written form.
pub(crate) const SCHEMA: u32 = 1;

/// How and on what a report was measured. Its fields are written among those of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this form.
    pub schema: u32,
    /// Version of the program.
    #[serde(default)]
    pub version: String,
    /// The command that repeats it.
    #[serde(default)]
    pub command: String,
    /// What the servers said of themselves, where the driver asks.
    #[serde(default)]
    pub servers: Vec<String>,
    /// What it was measured on.
    pub machine: Machine,
}

impl Header {
    /// That of a benchmark of these URLs, which are run as these buses. Asks the servers.
    ///
    /// # Errors
    /// A server that cannot be reached.
    pub(crate) fn of(command: String, urls: &[String], buses: &[Contender]) -> Result<Self> {
        let folder = buses[0].place.folder().canonicalize().context("find the temporary folder")?;
        let version = env!("CARGO_PKG_VERSION").into();
        Ok(Self { schema: SCHEMA, version, command, servers: servers(urls)?, machine: Machine::of(&folder) })
    }
}

/// What the servers of these buses say of themselves, behind the label of each.
fn servers(urls: &[String]) -> Result<Vec<String>> {
    let mut servers = Vec::new();
    let asked = urls.iter().zip(labels(urls)).filter(|(url, _)| matches!(backend_of(url), "nats" | "kafka"));
    for (url, label) in asked {
        let facts = runtime()?.block_on(async {
            let found = busline::connect_with_facts(url).await?;
            found.bus.close(CLOSE_MAX).await?;
            anyhow::Ok(found.facts)
        })?;
        servers.extend(facts.into_iter().map(|(name, text)| format!("{label}: {name}: {text}")));
    }
    Ok(servers)
}

/// Longest wait for a bus to close.
const CLOSE_MAX: Duration = Duration::from_secs(10);
