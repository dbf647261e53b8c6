//! One new file that many open at once: each finds nothing, a file that is being made, or one that is made.

use std::sync::Barrier;

use busline_core::Bus;
use busline_sqlite::SqliteDriver;

use crate::stage::{Stage, close};

const ROUNDS: usize = 60;

const AT_ONCE: usize = 6;

#[test]
fn whoever_opens_a_file_that_is_being_made_waits_for_it() {
    for round in 0..ROUNDS {
        let (stage, all) = (Stage::new(), Barrier::new(AT_ONCE));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                    all.wait();
                    let opened = runtime.block_on(SqliteDriver::open(stage.config.clone()));
                    let driver = opened.unwrap_or_else(|error| panic!("round {round}: {error}"));
                    runtime.block_on(close(&Bus::new(std::sync::Arc::new(driver))));
                });
            }
        });
    }
}
