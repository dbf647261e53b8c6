//! P4: an ack says what was stored, where, and which crash it survives; nothing is silently downgraded.

use busline_core::{AckPositions, Durability, Medium, Positions, partition_of};

use crate::envelopes::{accept, acked, envelope, refused};
use crate::harness::Harness;
use crate::stage::{SOON, Stage, skip, within};
use crate::stored::Stored;

/// Each ack carries the key's partition, a rising offset that holds this very envelope, and the offered durability.
pub async fn an_ack_says_where_and_how_safely(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let offer = publisher.offer();
    let partitions = publisher.topic().spec.partitions;
    let sent: Vec<_> = (0..200).map(|n| envelope(&format!("k{}", n % 20), n / 20 + 1)).collect();
    let receipts: Vec<_> = sent.iter().map(|sent| accept(&publisher, sent.clone())).collect();
    let mut acks = Vec::new();
    for receipt in receipts {
        acks.push(acked(receipt).await);
    }
    let stored = stage.stored().await;
    let mut last = std::collections::HashMap::new();
    for (sent, ack) in sent.iter().zip(&acks) {
        let partition = partition_of(sent.aggregate_id.as_bytes(), partitions);
        assert_eq!(ack.partition, partition, "the partition of {} is that of its key's hash", sent.aggregate_id);
        assert!(ack.durability.satisfies(offer.durability), "acked {}, offered {}", ack.durability, offer.durability);
        assert!(!ack.duplicate, "nothing was published twice");
        assert!(offer.positions != AckPositions::Always || ack.offset.is_some(), "acks were offered with offsets");
        assert!(offer.positions != AckPositions::Never || ack.offset.is_none(), "acks were offered without offsets");
        if let Some(offset) = ack.offset {
            let found = stored.at(partition, offset).expect("a record at the offset of its ack");
            assert_eq!(found.id, sent.id, "the record at {partition}/{offset} is the acked one");
            let before = last.insert(sent.aggregate_id.clone(), offset);
            assert!(before.is_none_or(|before| before < offset), "offsets of a key rise with acceptance");
        }
    }
    stage.close().await;
}

/// A durability that the backend cannot give is refused at open, in medium and in copies; what it offers is given.
pub async fn an_impossible_durability_is_refused_at_open(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let offer = stage.publisher().await.offer();
    let more = Durability { medium: offer.durability.medium, copies: offer.durability.copies + 1 };
    refused(stage.builder().require(more).open().await, "Unsupported/Durability");
    if offer.durability.medium < Medium::Synced {
        let safer = Durability { medium: Medium::Synced, copies: 1 };
        refused(stage.builder().require(safer).open().await, "Unsupported/Durability");
    }
    for required in [offer.durability, Durability::one(Medium::Memory)] {
        let publisher = stage.builder().require(required).open().await.expect("what is offered may be required");
        let ack = acked(accept(&publisher, envelope("k", 1))).await;
        assert!(ack.durability.satisfies(required), "required {required}, acked {}", ack.durability);
    }
    stage.close().await;
}

/// Required positions are given with every ack, or refused at open.
pub async fn required_positions_are_given_or_refused(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let opened = stage.builder().positions(Positions::Required).open().await;
    match stage.driver().capabilities().ack_positions {
        AckPositions::Never => {
            refused(opened, "Unsupported/Positions");
        }
        AckPositions::Always | AckPositions::Sometimes => {
            let publisher = opened.expect("positions may be required");
            assert_eq!(publisher.offer().positions, AckPositions::Always, "required, so every ack has one");
            for version in 1..=50 {
                let ack = acked(accept(&publisher, envelope("k", version))).await;
                assert!(ack.offset.is_some(), "required, so every ack has an offset");
            }
        }
    }
    stage.close().await;
}

/// What was acked is there after the backend was closed and opened again, at the same positions.
pub async fn what_was_acked_is_there_after_reopening(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    if !stage.driver().capabilities().persistent {
        let medium = publisher.offer().durability.medium;
        assert_eq!(medium, Medium::Memory, "what does not survive its process may not claim to be {medium}");
        skip("this backend ends with its process");
        stage.close().await;
        return;
    }
    let name = stage.name();
    let mut acks = Vec::new();
    let receipts: Vec<_> = (0..500).map(|n| accept(&publisher, envelope(&format!("k{}", n % 7), n / 7 + 1))).collect();
    for receipt in receipts {
        acks.push(acked(receipt).await);
    }
    let before = stage.stored().await;
    stage.close().await;

    let driver = harness.connect().await.expect("connects again");
    let after = Stored::read(&*driver, &name).await;
    assert_eq!(after, before, "every record must be there as it was, and no other");
    assert_eq!(after.len(), acks.len(), "one record for each ack");
    let stage = Stage { topic: name.to_string(), ..Stage::on(driver) };
    let publisher = stage.publisher().await;
    acked(accept(&publisher, envelope("k0", 1_000))).await;
    assert_eq!(stage.stored().await.len(), acks.len() + 1, "and the topic goes on behind them");
    stage.close().await;
}

/// A backend that is away for a while costs time, not outcomes: what is published meanwhile is acked when it is back.
pub async fn an_interrupted_backend_goes_on(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    acked(accept(&publisher, envelope("k", 1))).await;
    let Some(interruption) = harness.interrupt().await else {
        skip("this harness cannot take the backend away");
        stage.close().await;
        return;
    };
    println!("interrupted: {}", interruption.what);
    let receipts: Vec<_> = (2..=200).map(|version| accept(&publisher, envelope("k", version))).collect();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    (interruption.heal)();
    for receipt in receipts {
        within("an ack after the backend is back", tokio::time::timeout(SOON, receipt))
            .await
            .expect("in time")
            .expect("a backend that comes back before the deadline fails nothing");
    }
    let versions: Vec<_> = stage.stored().await.envelopes().into_iter().map(|stored| stored.event_version).collect();
    assert_eq!(versions, (1..=200).collect::<Vec<_>>(), "each once, in order");
    stage.close().await;
}
