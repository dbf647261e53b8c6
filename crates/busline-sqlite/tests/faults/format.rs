//! What stands in a file is frozen, and which SQLite writes it.

use busline_core::{Bus, GroupName, Offset, Partition, Result, Retention, TopicName};
use busline_sqlite::{APPLICATION_ID, SCHEMA_VERSION};

use crate::ledger::{Row, dump};
use crate::processes::role;
use crate::stage::{Stage, TOPIC, close, publisher, read};

/// Made by `write_the_fixture` at the schema version of its name, and never again.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/version-1.db");
const VERSION_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/version-2.db");

#[tokio::test]
async fn a_file_of_schema_version_1_opens_reads_and_takes_more() -> Result<()> {
    opens_reads_and_takes_more(VERSION_1, "v1").await
}

#[tokio::test]
async fn a_file_of_schema_version_2_opens_reads_and_takes_more() -> Result<()> {
    opens_reads_and_takes_more(VERSION_2, "v2").await?;
    let stage = Stage::new();
    std::fs::copy(VERSION_2, stage.path()).expect("the fixture");
    let bus = stage.open().await?;
    let name = TopicName::new(TOPIC)?;
    let limits = bus.driver().topic(&name).await?.spec.retention;
    assert_eq!(limits, fixture_limits());
    assert_eq!(bus.driver().lag(&GroupName::new("shipping")?, &name).await?[0].deleted, 1);
    close(&bus).await;
    Ok(())
}

fn fixture_limits() -> Retention {
    let age_max = Some(std::time::Duration::from_secs(36_525 * 86_400));
    Retention { age_max, bytes_max: Some(1 << 30), records_max: Some(1_000_000) }
}

async fn opens_reads_and_takes_more(fixture: &str, prefix: &str) -> Result<()> {
    let stage = Stage::new();
    std::fs::copy(fixture, stage.path()).expect("the fixture");
    let bus = stage.open().await?;
    let name = TopicName::new(TOPIC)?;
    let info = bus.driver().topic(&name).await?;
    assert_eq!(info.spec.partitions, 2);
    let bounds = bus.driver().bounds(&name, Partition(0)).await?;
    assert_eq!((bounds.start, bounds.end), (Offset(2), Offset(4)));
    let records = read(&bus, 0).await?;
    let first = records[0].envelope(&name)?;
    assert_eq!(
        (first.id.as_str(), first.aggregate_id.as_str(), first.event_version),
        (&*format!("{prefix}:2"), "order-1", 3)
    );
    assert_eq!(first.headers.iter().count(), 1);
    assert_eq!(read(&bus, 1).await?.len(), 1);

    let billing = GroupName::new("billing")?;
    assert_eq!(bus.driver().committed(&billing, &name).await?, [None, Some(Offset(1))]);

    let orders = publisher(&bus, std::time::Duration::from_secs(10)).await?;
    let ack = orders.publish_sync(busline_core::Envelope::new("order-1", "Placed", 5).with_id("more:4")).await?;
    assert_eq!((ack.partition, ack.offset), (Partition(0), Some(Offset(4))));
    close(&bus).await;
    let place = |row: &Row| (row.partition, row.offset, row.id.clone());
    let places: Vec<_> = dump(&stage.plain(), TOPIC).iter().map(place).collect();
    let id = |number: &str| format!("{prefix}:{number}");
    assert_eq!(places, [(0, 2, id("2")), (0, 3, id("3")), (0, 4, "more:4".into()), (1, 0, id("other"))]);
    Ok(())
}

/// A file of version 1 becomes one of this version, with everything that this version counts.
#[tokio::test]
async fn a_file_of_schema_version_1_is_brought_to_this_one() -> Result<()> {
    let (old, new) = (Stage::new(), Stage::new());
    std::fs::copy(VERSION_1, old.path()).expect("the fixture");
    close(&old.open().await?).await;
    close(&new.open().await?).await;
    let (old, new) = (old.plain(), new.plain());
    assert_eq!(columns(&old), columns(&new));
    assert_eq!(indexes(&old), indexes(&new));
    assert_eq!(number(&old, "SELECT user_version FROM pragma_user_version"), i64::from(SCHEMA_VERSION));
    let bytes = "SELECT sum(length(key) + coalesce(length(headers), 0) + length(body)) FROM records";
    assert_eq!(number(&old, "SELECT sum(bytes) FROM partitions"), number(&old, bytes));
    for partition in [0, 1] {
        let stored = format!(
            "SELECT sum(length(key) + coalesce(length(headers), 0) + length(body)) FROM records
             WHERE position >> 40 = (SELECT partition_id FROM partitions WHERE number = {partition})"
        );
        let counted = format!("SELECT bytes FROM partitions WHERE number = {partition}");
        assert_eq!(number(&old, &counted), number(&old, &stored), "partition {partition}");
    }
    assert_eq!(number(&old, "SELECT count(*) FROM topics WHERE is_limited"), 0);
    assert_eq!(old.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).expect("a check"), "ok");
    Ok(())
}

/// It happens once, whoever else opens the file at that moment, and a limit that stood in a spec holds from then on.
#[tokio::test]
async fn several_openers_bring_a_file_to_this_version_once() -> Result<()> {
    let stage = Stage::new();
    std::fs::copy(VERSION_1, stage.path()).expect("the fixture");
    let limited = r#"{"partitions":2,"replicas":1,"retention":{"age_max":null,"bytes_max":null,"records_max":1}}"#;
    stage.plain().execute("UPDATE topics SET spec = ?1", [limited]).expect("our tables");
    let (first, second, third) = tokio::join!(stage.open(), stage.open(), stage.open());
    let name = TopicName::new(TOPIC)?;
    for bus in [first?, second?, third?] {
        while bus.driver().bounds(&name, Partition(0)).await?.start != Offset(3) {
            tokio::task::yield_now().await;
        }
        close(&bus).await;
    }
    assert_eq!(number(&stage.plain(), "SELECT count(*) FROM topics WHERE is_limited"), 1);
    Ok(())
}

fn number(connection: &rusqlite::Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).expect("a number")
}

/// Columns of all tables, by name: those that were added later stand last in their table.
fn columns(connection: &rusqlite::Connection) -> Vec<(String, String, String, bool, Option<String>, i64)> {
    let sql = "SELECT s.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk
               FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.type = 'table' ORDER BY s.name, c.name";
    let mut select = connection.prepare(sql).expect("a schema");
    let rows = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)))
        .expect("a schema");
    rows.collect::<rusqlite::Result<_>>().expect("a schema")
}

fn indexes(connection: &rusqlite::Connection) -> Vec<(String, Option<String>)> {
    schema(connection).into_iter().filter(|(_, sql)| sql.as_ref().is_none_or(|sql| sql.contains("INDEX"))).collect()
}

/// The statements that make a new file, as SQLite keeps them. A change needs a new schema version and its own fixture.
#[tokio::test]
async fn a_new_file_has_the_schema_of_the_fixture() -> Result<()> {
    let stage = Stage::new();
    close(&stage.open().await?).await;
    let fixture = Stage::new();
    std::fs::copy(VERSION_2, fixture.path()).expect("the fixture");
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
    let spec = busline_core::TopicSpec { partitions: 2, retention: fixture_limits(), ..Default::default() };
    let provision = busline_core::Provision::CreateOnly(spec);
    let orders = bus.publisher(TOPIC).provision(provision).open().await?;
    for version in 1..=4 {
        let envelope = busline_core::Envelope::new("order-1", "Placed", version)
            .with_id(format!("v2:{}", version - 1))
            .with_header("origin", "fixture")
            .json(&["book", "pen"])?;
        println!("{:?}", orders.publish_sync(envelope).await?);
    }
    println!(
        "{:?}",
        orders.publish_sync(busline_core::Envelope::new("order-2", "Placed", 1).with_id("v2:other")).await?
    );
    let late = [(Partition(0), Offset(1))];
    bus.driver().move_committed(&GroupName::new("shipping")?, &TopicName::new(TOPIC)?, &late).await?;
    bus.driver().trim(&TopicName::new(TOPIC)?, Partition(0), Offset(2)).await?;
    let to = [(Partition(1), Offset(1))];
    bus.driver().move_committed(&GroupName::new("billing")?, &TopicName::new(TOPIC)?, &to).await?;
    close(&bus).await;
    std::fs::copy(stage.path(), VERSION_2).expect("the folder of fixtures");
    Ok(())
}

/// SQLite 3.7.0 to 3.51.2 can lose commits when two connections checkpoint at the wrong moment.
#[test]
fn the_linked_sqlite_is_newer_than_3_51_3() {
    assert!(rusqlite::version_number() > 3_051_003, "{}", rusqlite::version());
}
