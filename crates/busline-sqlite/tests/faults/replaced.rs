//! A file that is deleted, renamed or replaced while it is open: no ack for what nobody will find.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busline_core::Result;

use crate::bad_files::make_ours;
use crate::ledger::{Ledger, Told, dump, envelope};
use crate::stage::{Stage, TOPIC, close, publisher, read};

#[tokio::test]
async fn what_is_not_there_any_more_takes_nothing_until_it_is_back() -> Result<()> {
    for (name, suffix) in [("database", ""), ("log", "-wal")] {
        let stage = Stage::new();
        let bus = stage.open().await?;
        let orders = publisher(&bus, Duration::from_secs(10)).await?;
        let mut ledger = Ledger::default();
        ledger.publish(&orders, vec![envelope("p", "key", 0, 10)]).await;
        let (here, away) = (stage.beside(suffix), stage.folder.path().join("away"));

        std::fs::rename(&here, &away).expect("a rename");
        for (number, replaced) in [(1, false), (2, true)] {
            if replaced {
                std::fs::copy(&away, &here).expect("a copy");
            }
            let outcomes = ledger.publish(&orders, vec![envelope("p", "key", number, 10)]).await;
            let error = outcomes[0].as_ref().expect_err("gone");
            assert_eq!(error.code(), "Corrupt/FileReplaced", "{name}");
            assert!(error.is_definite() && error.to_string().contains("bus.db"), "{name}: {error}");
            assert_eq!(read(&bus, 0).await.expect_err("gone").code(), "Corrupt/FileReplaced", "{name}");
            let made = bus.publisher("other").open().await.expect_err("gone");
            assert_eq!(made.code(), "Corrupt/FileReplaced", "{name}");
        }
        std::fs::rename(&away, &here).expect("a rename back");
        ledger.publish(&orders, vec![envelope("p", "key", 3, 10)]).await;
        assert_eq!(ledger.count(|told| matches!(told, Told::Acked { .. })), 2, "{name}");
        close(&bus).await;
        ledger.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{name}: {broken}"));
    }
    Ok(())
}

#[tokio::test]
async fn closing_a_bus_whose_file_is_gone_touches_nothing_of_its_successor() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    orders.publish_sync(envelope("p", "key", 0, 10)).await?;
    for suffix in ["", "-wal", "-shm"] {
        std::fs::rename(stage.beside(suffix), stage.folder.path().join(format!("away{suffix}"))).expect("a rename");
    }
    let successor = stage.open().await?;
    let mut ledger = Ledger::default();
    let heirs = publisher(&successor, Duration::from_secs(10)).await?;
    ledger.publish(&heirs, vec![envelope("heir", "key", 0, 10)]).await;
    close(&bus).await;
    ledger.publish(&heirs, vec![envelope("heir", "key", 1, 10)]).await;
    close(&successor).await;
    assert_eq!(ledger.count(|told| matches!(told, Told::Acked { .. })), 2);
    ledger.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    Ok(())
}

/// A thread takes the file away and puts it back all the time, so that this happens at any moment of a transaction.
#[tokio::test]
async fn nothing_is_acked_while_the_path_names_another_file() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    let (here, away, other) = (stage.path(), stage.folder.path().join("away"), stage.folder.path().join("other.db"));
    make_ours(&other);
    let mut ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let moving = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                std::fs::rename(&here, &away).expect("a rename");
                std::fs::copy(&other, &here).expect("a copy");
                (0..swaps % 500).for_each(|_| std::hint::spin_loop());
                std::fs::rename(&away, &here).expect("a rename back");
                (0..swaps * 7 % 30_000).for_each(|_| std::hint::spin_loop());
                swaps += 1;
            }
            swaps
        }
    });
    let wanted: [fn(Told) -> bool; 3] =
        [|told| matches!(told, Told::Acked { .. }), |told| told == Told::Failed, |told| told == Told::Indeterminate];
    let mut number = 0;
    while number < 5_000 && wanted.iter().any(|wanted| ledger.count(wanted) < 20) {
        ledger.publish(&orders, vec![envelope("p", "key", number, 10)]).await;
        number += 1;
    }
    stop.store(true, Ordering::SeqCst);
    let swaps = moving.join().expect("no panic");
    let [acked, failed, unknown] = wanted.map(|wanted| ledger.count(wanted));
    println!("{swaps} swaps: {acked} acked, {failed} failed, {unknown} indeterminate");
    assert!(acked > 0 && failed > 0 && unknown > 0);
    close(&bus).await;
    ledger.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    Ok(())
}
