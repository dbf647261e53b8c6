//! Pages that cannot be: damage below the rows, where only SQLite itself looks. Numbers are those of the list of bad inputs.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use busline_core::{Offset, Partition, ReadRequest, Result};

use crate::ledger::envelope;
use crate::stage::{Stage, close, publisher, topic};

/// Size of a page of our files.
const PAGE: u64 = 8_192;

/// SQLite's header of a page of inner nodes of a table, and of its leaves.
const INNER: u8 = 5;
const LEAF: u8 = 13;

/// Records that fill several pages.
const RECORDS: u64 = 60;

/// A closed file with records of one key on several pages; gives their partition.
async fn pages_of_records(stage: &Stage) -> Result<u32> {
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    let mut partition = 0;
    for number in 0..RECORDS {
        partition = orders.publish_sync(envelope("p", "key", number, 400)).await?.partition.0;
    }
    close(&bus).await;
    Ok(partition)
}

/// The root page of a table or an index, from 1.
fn root_of(stage: &Stage, name: &str) -> u64 {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    stage.plain().query_row(sql, [name], |row| row.get(0)).expect("a root")
}

fn read_page(path: &Path, number: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE as usize];
    let file = std::fs::File::open(path).expect("a file");
    file.read_exact_at(&mut page, (number - 1) * PAGE).expect("a page");
    page
}

fn write_page(path: &Path, number: u64, page: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(page, (number - 1) * PAGE).expect("a writable file");
}

fn number_at(page: &[u8], place: usize, bytes: usize) -> u64 {
    page[place..place + bytes].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Places in an inner page at which the numbers of its children stand.
fn children(page: &[u8]) -> Vec<usize> {
    assert_eq!(page[0], INNER, "the table has more than one page");
    let cells = number_at(page, 3, 2) as usize;
    let left = (0..cells).map(|cell| number_at(page, 12 + 2 * cell, 2) as usize);
    left.chain([8]).collect()
}

/// Reads the partition from its beginning; damage must be told by name with the place at which it was met.
async fn is_told(stage: &Stage, partition: u32) -> Result<()> {
    let bus = stage.open().await?;
    let request = ReadRequest {
        partition: Partition(partition),
        from: Offset(0),
        to: Offset(u64::MAX),
        records_max: 10_000,
        bytes_max: 1 << 30,
    };
    let mut next = request.from;
    let error = loop {
        match bus.driver().read(&topic(), ReadRequest { from: next, ..request }).await {
            Ok(records) => next = records.last().expect("the end is not reached").offset.next(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "Corrupt/Store", "{error}");
    let text = error.to_string();
    assert!(next.0 < RECORDS && text.contains(&format!("/{partition}/{next}")), "{text}");
    close(&bus).await;
    Ok(())
}

/// Number 85.
#[tokio::test]
async fn a_cycle_of_pages_is_damage() -> Result<()> {
    let stage = Stage::new();
    let partition = pages_of_records(&stage).await?;
    let root = root_of(&stage, "records");
    let mut page = read_page(&stage.path(), root);
    for child in children(&page) {
        page[child..child + 4].copy_from_slice(&u32::try_from(root).expect("a small file").to_be_bytes());
    }
    write_page(&stage.path(), root, &page);
    is_told(&stage, partition).await
}

/// Number 86: cells that begin behind their page's end, and cells that say that they are larger than the file.
#[tokio::test]
async fn a_cell_larger_than_its_page_is_damage() -> Result<()> {
    for claims_length in [false, true] {
        let stage = Stage::new();
        let partition = pages_of_records(&stage).await?;
        let root = read_page(&stage.path(), root_of(&stage, "records"));
        let number = number_at(&root, children(&root)[0], 4);
        let mut leaf = read_page(&stage.path(), number);
        assert_eq!(leaf[0], LEAF);
        let cell = number_at(&leaf, 8, 2) as usize;
        if claims_length {
            // 2 GiB in five bytes, where its own length stood in two.
            leaf[cell - 3..cell + 2].copy_from_slice(&[0x87, 0xff, 0xff, 0xff, 0x7f]);
            leaf[8..10].copy_from_slice(&u16::try_from(cell - 3).expect("a place in a page").to_be_bytes());
        } else {
            leaf[8..10].copy_from_slice(&u16::try_from(PAGE - 2).expect("a place in a page").to_be_bytes());
        }
        write_page(&stage.path(), number, &leaf);
        is_told(&stage, partition).await?;
    }
    Ok(())
}

/// Number 85: the rows of a table and its index say different things.
#[tokio::test]
async fn an_index_that_disagrees_with_its_table_is_damage() -> Result<()> {
    let stage = Stage::new();
    pages_of_records(&stage).await?;
    let (table, index) = (root_of(&stage, "partitions"), root_of(&stage, "sqlite_autoindex_partitions_1"));
    for (lost, of) in [(index, "index"), (table, "table")] {
        let whole = read_page(&stage.path(), lost);
        let mut page = whole.clone();
        let cells = number_at(&page, 3, 2) - 1;
        page[3..5].copy_from_slice(&u16::try_from(cells).expect("few cells").to_be_bytes());
        write_page(&stage.path(), lost, &page);
        let error = stage.open().await.expect_err(of);
        assert_eq!(error.code(), "Corrupt/Store", "{error}");
        let text = error.to_string();
        assert!(text.contains("table partitions: ") && !text.contains('\n'), "{text}");
        write_page(&stage.path(), lost, &whole);
    }
    close(&stage.open().await?).await;
    Ok(())
}

/// Number 86: the longest file that the file system holds, of zeros and with our pages in front.
#[tokio::test]
async fn a_sparse_file_longer_than_any_database_is_damage() -> Result<()> {
    for is_ours in [false, true] {
        let stage = Stage::new();
        if is_ours {
            pages_of_records(&stage).await?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(stage.path()).expect("a file");
        let lengths = [i64::MAX as u64, 1 << 60, (1 << 44) - 4_096];
        let length = lengths.into_iter().find(|length| file.set_len(*length).is_ok()).expect("a large file");
        let error = stage.open().await.expect_err("too long");
        assert_eq!(error.code(), "Corrupt/Store");
        assert!(error.to_string().contains(&length.to_string()), "{error}");
        assert_eq!(std::fs::metadata(stage.path()).expect("a file").len(), length, "nothing is cut off");
    }
    Ok(())
}
