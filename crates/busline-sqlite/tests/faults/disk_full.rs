//! The file's own size limit: a full disk that anybody can make.

use std::time::Duration;

use busline_core::{Offset, Partition, Result};

use crate::ledger::{Ledger, Told, dump, envelope};
use crate::stage::{Stage, TOPIC, close, publisher, topic};

#[tokio::test]
async fn a_file_at_its_limit_fails_definitely_and_goes_on_after_a_trim() -> Result<()> {
    let mut stage = Stage::new();
    stage.config.file_bytes_max = Some(1 << 20);
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    let mut ledger = Ledger::default();
    let burst = |from: u64| (from..from + 40).map(|n| envelope("p", &format!("key-{}", n % 8), n, 4_000)).collect();
    let mut number = 0;
    while ledger.count(|told| told == Told::Failed) < 100 && number < 4_000 {
        for error in ledger.publish(&orders, burst(number)).await.into_iter().filter_map(Result::err) {
            assert!(error.is_definite(), "{error}");
            // Behind one of its key, whose error it names, an envelope was not even tried.
            assert!(matches!(error.reason(), "DiskFull" | "BehindFailed"), "{error}");
            assert!(error.to_string().contains("Unavailable/DiskFull"), "{error}");
        }
        number += 40;
    }
    let acked = ledger.count(|told| matches!(told, Told::Acked { .. }));
    assert!(acked > 50, "{acked} acked");
    ledger.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    assert!(std::fs::metadata(stage.path()).is_ok_and(|file| file.len() <= 1 << 20));

    for partition in 0..4 {
        bus.driver().trim(&topic(), Partition(partition), Offset(u64::MAX)).await?;
    }
    let mut after = Ledger::default();
    after.publish(&orders, burst(number)).await;
    assert_eq!(after.count(|told| matches!(told, Told::Acked { .. })), 40, "publishing goes on by itself");
    after.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    close(&bus).await;
    Ok(())
}
