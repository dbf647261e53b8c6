//! What stands in a file is frozen, and which SQLite writes it.

use busline_core::{Bus, GroupName, Offset, Partition, Result, TopicName};
use busline_sqlite::{APPLICATION_ID, SCHEMA_VERSION};

use crate::ledger::{Row, dump};
use crate::processes::role;
use crate::stage::{Stage, TOPIC, close, publisher, read};

/// Made by `write_the_fixture` at schema version 1, and never again.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/version-1.db");

#[tokio::test]
async fn a_file_of_schema_version_1_opens_reads_and_takes_more() -> Result<()> {
    let stage = Stage::new();
    std::fs::copy(VERSION_1, stage.path()).expect("the fixture");
    let bus = stage.open().await?;
    let name = TopicName::new(TOPIC)?;
    let info = bus.driver().topic(&name).await?;
    assert_eq!(info.spec.partitions, 2);
    let bounds = bus.driver().bounds(&name, Partition(0)).await?;
    assert_eq!((bounds.start, bounds.end), (Offset(2), Offset(4)));
    let records = read(&bus, 0).await?;
    let first = records[0].envelope(&name)?;
    assert_eq!((first.id.as_str(), first.aggregate_id.as_str(), first.event_version), ("v1:2", "order-1", 3));
    assert_eq!(first.headers.iter().count(), 1);
    assert_eq!(read(&bus, 1).await?.len(), 1);

    let billing = GroupName::new("billing")?;
    assert_eq!(bus.driver().committed(&billing, &name).await?, [None, Some(Offset(1))]);

    let orders = publisher(&bus, std::time::Duration::from_secs(10)).await?;
    let ack = orders.publish_sync(busline_core::Envelope::new("order-1", "Placed", 5).with_id("v2:4")).await?;
    assert_eq!((ack.partition, ack.offset), (Partition(0), Some(Offset(4))));
    close(&bus).await;
    let place = |row: &Row| (row.partition, row.offset, row.id.clone());
    let places: Vec<_> = dump(&stage.plain(), TOPIC).iter().map(place).collect();
    let expected = [(0, 2, "v1:2"), (0, 3, "v1:3"), (0, 4, "v2:4"), (1, 0, "v1:other")];
    assert_eq!(places, expected.map(|(partition, offset, id)| (partition, offset, id.to_owned())));
    Ok(())
}

/// The statements that make a new file, as SQLite keeps them. A change needs a new schema version and its own fixture.
#[tokio::test]
async fn a_new_file_has_the_schema_of_the_fixture() -> Result<()> {
    let stage = Stage::new();
    close(&stage.open().await?).await;
    let fixture = Stage::new();
    std::fs::copy(VERSION_1, fixture.path()).expect("the fixture");
    assert_eq!(schema(&stage.plain()), schema(&fixture.plain()));
    for (pragma, expected) in
        [("application_id", APPLICATION_ID), ("user_version", SCHEMA_VERSION), ("page_size", 8_192), ("auto_vacuum", 2)]
    {
        for connection in [stage.plain(), fixture.plain()] {
            let found: i32 = connection.pragma_query_value(None, pragma, |row| row.get(0)).expect("a pragma");
            assert_eq!(found, expected, "{pragma}");
        }
    }
    Ok(())
}

fn schema(connection: &rusqlite::Connection) -> Vec<(String, Option<String>)> {
    let mut select = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").expect("a schema");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("a schema");
    rows.collect::<rusqlite::Result<_>>().expect("a schema")
}

/// Writes the fixture of a schema version once, for whoever makes that version: `BUSLINE_ROLE=fixture`.
#[tokio::test]
async fn write_the_fixture() -> Result<()> {
    if role().as_deref() != Some("fixture") {
        return Ok(());
    }
    let stage = Stage::new();
    let bus: Bus = stage.open().await?;
    let spec = busline_core::TopicSpec { partitions: 2, ..busline_core::TopicSpec::default() };
    let provision = busline_core::Provision::CreateOnly(spec);
    let orders = bus.publisher(TOPIC).provision(provision).open().await?;
    for version in 1..=4 {
        let envelope = busline_core::Envelope::new("order-1", "Placed", version)
            .with_id(format!("v1:{}", version - 1))
            .with_header("origin", "fixture")
            .json(&["book", "pen"])?;
        println!("{:?}", orders.publish_sync(envelope).await?);
    }
    println!(
        "{:?}",
        orders.publish_sync(busline_core::Envelope::new("order-2", "Placed", 1).with_id("v1:other")).await?
    );
    bus.driver().trim(&TopicName::new(TOPIC)?, Partition(0), Offset(2)).await?;
    let to = [(Partition(1), Offset(1))];
    bus.driver().move_committed(&GroupName::new("billing")?, &TopicName::new(TOPIC)?, &to).await?;
    close(&bus).await;
    std::fs::copy(stage.path(), VERSION_1).expect("the folder of fixtures");
    Ok(())
}

/// SQLite 3.7.0 to 3.51.2 can lose commits when two connections checkpoint at the wrong moment.
#[test]
fn the_linked_sqlite_is_newer_than_3_51_3() {
    assert!(rusqlite::version_number() > 3_051_003, "{}", rusqlite::version());
}
