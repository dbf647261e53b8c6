//! A full disk under the driver: definite failures, nothing lost, and publishing that goes on by itself.

use std::time::Duration;

use busline_core::Result;

use super::bus::{TOPIC, close, open, plain, publisher, read_all};
use super::vfs::{Loss, PowerDisk};
use crate::ledger::{Ledger, Told, dump, envelope};

#[tokio::test]
async fn a_full_disk_fails_definitely_and_publishing_resumes_by_itself() -> Result<()> {
    for seed in 0..12 {
        println!("seed {seed}");
        let disk = PowerDisk::new(seed);
        let mut ledger = Ledger::default();
        let bus = open(&disk).await?;
        let orders = publisher(&bus).await?;
        let mut number = 0;
        for _ in 0..2 {
            disk.full_after(20_000 + 9_000 * seed as usize);
            let mut refused = 0;
            let last = number + 200;
            while refused < 3 && number < last {
                number += 1;
                let burst = (0..7).map(|key| envelope("p", &format!("key-{key}"), number, 1_500)).collect();
                let outcomes = ledger.publish(&orders, burst).await;
                for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
                    assert!(error.is_definite(), "{error}");
                    assert!(matches!(error.code().as_str(), "Unavailable/DiskFull"), "{error}");
                }
                refused += usize::from(outcomes.iter().any(Result::is_err));
            }
            assert!(ledger.count(|told| matches!(told, Told::Acked { .. })) > 0);
            ledger.judge(&read_all(&bus).await?).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
            disk.make_room();
            number += 1;
            let outcomes = ledger.publish(&orders, vec![envelope("p", "key-1", number, 1_500)]).await;
            assert!(outcomes[0].is_ok(), "{outcomes:?}");
        }
        if seed % 2 == 0 {
            disk.restart(Loss::Any);
        }
        bus.close(Duration::from_secs(1))
            .await
            .map(drop)
            .or_else(|error| if seed % 2 == 0 { Ok(()) } else { Err(error) })?;
        let bus = open(&disk).await?;
        let rows = read_all(&bus).await?;
        assert_eq!(rows, dump(&plain(&disk), TOPIC));
        ledger.judge(&rows).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        close(&bus).await;
    }
    Ok(())
}
