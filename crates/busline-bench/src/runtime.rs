//! The runtime of one run, and what is left in it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// A runtime for one run.
pub(crate) fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("build a runtime")
}

/// Tasks left, once there is none or a short time has passed: one that was joined is counted until its worker has let go.
pub(crate) fn tasks_settled(runtime: &Runtime) -> i64 {
    let end = Instant::now() + TASK_EXIT_MAX;
    loop {
        let tasks = runtime.metrics().num_alive_tasks();
        if tasks == 0 || Instant::now() >= end {
            return tasks as i64;
        }
        std::thread::yield_now();
    }
}

const TASK_EXIT_MAX: Duration = Duration::from_millis(200);
