//! A store of one topic for a scenario, filled.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use busline::Bus;
use tokio::runtime::{Builder, Runtime};

use crate::connect::CLOSE_MAX;
use crate::place::{Place, Stage, remove_file};
use crate::publishing::{Publishers, Start};
use crate::workload::{Level, Mode, Shape, Workload};

/// A bus on a fresh file with one topic, and the runtime it lives on.
pub(super) struct Filled {
    pub(super) runtime: Runtime,
    pub(super) bus: Bus,
    pub(super) stage: Stage,
    pub(super) workload: Arc<Workload>,
}

impl Filled {
    /// Publishes so many envelopes of so many keys.
    pub(super) fn new(place: &Place, envelopes: u64, keys: usize, payload_bytes: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread().enable_time().build().context("build a runtime")?;
        let stage = place.stage(1);
        let workload = Arc::new(workload(envelopes, keys, payload_bytes)?);
        let bus = runtime.block_on(async {
            let bus = busline::connect(&stage.url).await?;
            if envelopes > 0 {
                let publishers = Publishers::open(&bus, &stage.topics, workload.window_envelopes).await?;
                publishers.burst(&workload, &Start::new(workload.senders)).await?;
                ensure!(publishers.failures() == 0, "{} envelopes were not acked", publishers.failures());
            }
            anyhow::Ok(bus)
        })?;
        Ok(Self { runtime, bus, stage, workload })
    }

    pub(super) fn topic(&self) -> &str {
        &self.stage.topics[0]
    }

    /// Closes the bus and takes its file away; gives how many tasks are left.
    pub(super) fn end(self) -> Result<i64> {
        self.runtime.block_on(self.bus.close(CLOSE_MAX))?;
        if let Some(file) = self.stage.file() {
            remove_file(&file);
        }
        Ok(crate::runtime::tasks_settled(&self.runtime))
    }
}

/// One sender, so that the keys take turns: of two, one may run ahead by a window, and then half of the keys are not in sight.
fn workload(envelopes: u64, keys: usize, payload_bytes: usize) -> Result<Workload> {
    let shape = Shape { payload_bytes: Some(payload_bytes), window_envelopes: 8_192, senders: Some(1), topics: 1 };
    Ok(Workload::of_size(Level::Surge, Mode::Async, envelopes, &shape)?.with_aggregates(keys))
}
