//! Which reading twin a backend has.

use anyhow::Result;

use super::came_to::TwinRead;
use crate::place::Stage;

/// Reads what a run of this backend stored; none where there is no twin.
///
/// # Errors
/// Those of the native client.
#[cfg_attr(
    not(any(feature = "nats", feature = "kafka")),
    expect(unused_variables, reason = "no twin in this build asks for the count")
)]
pub(crate) async fn read(backend: &str, stage: &Stage, records: u64) -> Result<Option<TwinRead>> {
    match backend {
        #[cfg(feature = "sqlite")]
        "sqlite" => stage.file().map(|file| super::sqlite_read::read(&file, &stage.topics)).transpose(),
        #[cfg(feature = "nats")]
        "nats" => super::nats_read::read(stage, records).await.map(Some),
        #[cfg(feature = "kafka")]
        "kafka" => super::kafka_read::read(&stage.url, &stage.topics, records).map(Some),
        _ => Ok(None),
    }
}
