//! The simulation under test, mechanism by mechanism; `sweep` tests the whole.

use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, ffi};

use super::content::{Change, Content};
use super::dice::Dice;
use super::disk::Disk;
use super::vfs::{FileKind, Loss, PowerDisk};
use super::workload::{
    Found, PATH, ROWS_PER_TX, TXS_PER_LIFE, Writer, checkpoint, connect, count, insert, inspect, open,
};

#[test]
fn every_operation_after_the_cut_fails() {
    let disk = PowerDisk::new(1);
    let connection = connect(&disk, "FULL").unwrap();
    let at = disk.ops();
    disk.power_off_at(at);
    let family = |code: i32| code & 0xff;
    assert_eq!(family(extended_code(insert(&connection, 1))), ffi::SQLITE_IOERR);
    assert_eq!(family(extended_code(open(&disk).and_then(|it| count(&it)))), ffi::SQLITE_IOERR);
    assert_eq!(disk.ops(), at);
}

#[test]
fn a_restart_leaves_earlier_connections_dead_and_their_locks_released() {
    let disk = PowerDisk::new(1);
    let dead = connect(&disk, "FULL").unwrap();
    dead.execute_batch("BEGIN IMMEDIATE").unwrap();
    insert(&dead, 1).unwrap();
    disk.restart(Loss::Any);
    let alive = connect(&disk, "FULL").unwrap();
    insert(&alive, 2).unwrap();
    let code = extended_code(dead.execute_batch("COMMIT"));
    assert_eq!(code & 0xff, ffi::SQLITE_IOERR);
    drop(dead);
    insert(&alive, 3).unwrap();
    assert_eq!(count(&alive).unwrap(), 2);
}

#[test]
fn disks_are_apart_and_go_with_their_owner() {
    let (one, other) = (PowerDisk::new(1), PowerDisk::new(1));
    insert(&connect(&one, "FULL").unwrap(), 1).unwrap();
    assert_eq!(count(&connect(&other, "FULL").unwrap()).unwrap(), 0);
    let left_open = connect(&one, "FULL").unwrap();
    let name = one.vfs_name().to_owned();
    drop(one);
    assert!(Connection::open_with_flags_and_vfs(PATH, OpenFlags::default(), &*name).is_err());
    insert(&left_open, 2).unwrap();
    assert_eq!(count(&left_open).unwrap(), 2);
}

#[test]
fn a_name_lives_from_folder_sync_to_folder_sync() {
    let mut disk = Disk::new(1);
    let file = disk.create(Some("/a/file")).unwrap();
    disk.write(file, 0, b"bytes").unwrap();
    disk.sync(file, FileKind::Main).unwrap();
    disk.sync_folder_of("/b/file").unwrap();
    disk.restart(Loss::Unsynced);
    assert_eq!(disk.find("/a/file"), Ok(None), "the file was synced, its name was not");

    let file = disk.create(Some("/a/file")).unwrap();
    disk.write(file, 0, b"bytes").unwrap();
    disk.sync_folder_of("/a/other").unwrap();
    disk.restart(Loss::Unsynced);
    assert_eq!(disk.find("/a/file"), Ok(Some(file)));
    assert_eq!(disk.content(file).unwrap().len(), 0, "the name was synced, the bytes were not");

    disk.delete("/a/file").unwrap();
    disk.restart(Loss::Unsynced);
    assert_eq!(disk.find("/a/file"), Ok(Some(file)), "the deletion was not synced");
    disk.delete("/a/file").unwrap();
    disk.sync_folder_of("/a/file").unwrap();
    disk.restart(Loss::Unsynced);
    assert_eq!(disk.find("/a/file"), Ok(None));
}

#[test]
fn each_loss_leaves_what_it_says() {
    let mut dice = Dice::new(1);
    let mut seen = |loss: Loss| {
        let mut survivors: Vec<Vec<u8>> = (0..400).map(|_| after_loss(loss, &mut dice)).collect();
        survivors.sort();
        survivors.dedup();
        survivors
    };
    assert_eq!(seen(Loss::Unsynced), [b"00"]);
    assert_eq!(seen(Loss::Prefix), [b"00", b"10", b"11", b"12"]);
    let subset = seen(Loss::Subset);
    assert_eq!(subset, [b"00", b"01", b"02", b"10", b"11", b"12"]);
    assert_eq!(seen(Loss::Torn), [b"00", b"01", b"02", b"10", b"11", b"12"]);
}

/// Two sectors of zeros, synced; then "1" into the first, "1" and "2" into the second. Gives one digit of each.
fn after_loss(loss: Loss, dice: &mut Dice) -> Vec<u8> {
    let mut content = Content::default();
    let write = |at, digit| Change::Write { at, bytes: vec![digit; 512] };
    content.change(write(0, b'0'));
    content.change(write(512, b'0'));
    content.sync();
    content.change(write(0, b'1'));
    content.change(write(512, b'1'));
    content.change(write(512, b'2'));
    content.lose_power(loss, dice);
    let mut sectors = [0; 1024];
    assert_eq!(content.read(0, &mut sectors), 1024);
    vec![sectors[0], sectors[1023]]
}

#[test]
fn a_write_tears_at_sectors() {
    let torn = (0..50).any(|seed| {
        let mut content = Content::default();
        content.change(Change::Write { at: 500, bytes: vec![1; 1000] });
        content.lose_power(Loss::Torn, &mut Dice::new(seed));
        let mut bytes = [0; 1500];
        content.read(0, &mut bytes);
        let sectors = [&bytes[500..512], &bytes[512..1024], &bytes[1024..1500]];
        let all_alike = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert!(sectors.iter().all(|sector| all_alike(sector)), "torn within a sector");
        bytes[500] != bytes[1024]
    });
    assert!(torn);
}

#[test]
fn a_failed_sync_is_never_made_up_for() {
    let mut disk = Disk::new(1);
    let file = disk.create(Some("file")).unwrap();
    disk.sync_folder_of("file").unwrap();
    disk.fail_syncs(FileKind::Main, 1);
    disk.write(file, 0, b"old").unwrap();
    assert!(disk.sync(file, FileKind::Main).is_err());
    disk.write(file, 3, b"new").unwrap();
    disk.sync(file, FileKind::Main).unwrap();
    let mut bytes = [0; 6];
    disk.content(file).unwrap().read(0, &mut bytes);
    assert_eq!(&bytes, b"oldnew", "visible until the restart");
    disk.restart(Loss::Prefix);
    disk.content(file).unwrap().read(0, &mut bytes);
    assert_eq!(&bytes, b"\0\0\0new");
}

#[test]
fn a_failed_sync_fails_the_commit_and_only_that() {
    let disk = PowerDisk::new(1);
    let connection = connect(&disk, "FULL").unwrap();
    insert(&connection, 1).unwrap();
    disk.fail_next_sync(FileKind::Wal);
    assert_eq!(extended_code(insert(&connection, 2)), ffi::SQLITE_IOERR_FSYNC);
    insert(&connection, 3).unwrap();
    disk.fail_next_sync(FileKind::Main);
    assert_eq!(extended_code(checkpoint(&connection)), ffi::SQLITE_IOERR_FSYNC);
    disk.restart(Loss::Unsynced);
    assert_eq!(count(&connect(&disk, "FULL").unwrap()).unwrap(), 2);
}

/// Why a store is poisoned after a failed sync: a new process recovers the transaction of the failed sync from the
/// page cache, builds on it, syncs with success, and the next power loss takes both.
#[test]
fn rows_committed_on_top_of_a_failed_sync_are_lost() {
    let disk = PowerDisk::new(1);
    let connection = connect(&disk, "FULL").unwrap();
    insert(&connection, 1).unwrap();
    disk.fail_next_sync(FileKind::Wal);
    assert_eq!(extended_code(insert(&connection, 2)), ffi::SQLITE_IOERR_FSYNC);
    disk.kill_process();
    drop(connection);

    let reopened = connect(&disk, "FULL").unwrap();
    assert_eq!(count(&reopened).unwrap(), 2, "the page cache shows the failed transaction");
    insert(&reopened, 3).unwrap();
    disk.restart(Loss::Unsynced);
    drop(reopened);
    assert_eq!(count(&connect(&disk, "FULL").unwrap()).unwrap(), 1);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = PowerDisk::new(1);
    let connection = connect(&disk, "FULL").unwrap();
    disk.full_after(100 * 1024);
    let (mut writer, mut dice) = (Writer::default(), Dice::new(1));
    let full = loop {
        if let Err(error) = writer.commit(&connection, &mut dice) {
            break error;
        }
    };
    assert_eq!(extended_code::<()>(Err(full)), ffi::SQLITE_FULL);
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").unwrap();
    }
    assert_eq!(inspect(&connection, &writer), Ok(Found { last: writer.acked }));
    disk.make_room();
    writer.resume(writer.acked);
    writer.commit(&connection, &mut dice).unwrap();
    disk.restart(Loss::Any);
    let found = inspect(&connect(&disk, "FULL").unwrap(), &writer);
    assert_eq!(found, Ok(Found { last: writer.acked }));
}

#[test]
fn connections_see_each_other_and_lock_each_other_out() {
    let disk = PowerDisk::new(1);
    let (one, other) = (connect(&disk, "FULL").unwrap(), connect(&disk, "FULL").unwrap());
    other.busy_timeout(Duration::ZERO).unwrap();
    one.execute_batch("BEGIN IMMEDIATE").unwrap();
    insert(&one, 1).unwrap();
    assert_eq!(extended_code(insert(&other, 2)), ffi::SQLITE_BUSY);
    assert_eq!(count(&other).unwrap(), 0);
    one.execute_batch("COMMIT").unwrap();
    assert_eq!(count(&other).unwrap(), 1);

    other.execute_batch("BEGIN").unwrap();
    assert_eq!(count(&other).unwrap(), 1);
    insert(&one, 3).unwrap();
    assert_eq!(count(&other).unwrap(), 1, "a reader keeps its snapshot");
    one.busy_timeout(Duration::ZERO).unwrap();
    assert!(checkpoint(&one).unwrap(), "a reader holds the log");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(count(&other).unwrap(), 2);
    assert!(!checkpoint(&one).unwrap());
}

#[test]
fn a_rollback_journal_takes_the_file_locks() {
    let disk = PowerDisk::new(1);
    let (one, other) = (open(&disk).unwrap(), open(&disk).unwrap());
    for connection in [&one, &other] {
        connection.busy_timeout(Duration::ZERO).unwrap();
    }
    one.execute_batch("CREATE TABLE log(tx INTEGER)").unwrap();
    other.execute_batch("BEGIN; SELECT * FROM log").unwrap();
    one.execute_batch("BEGIN IMMEDIATE").unwrap();
    insert(&one, 1).unwrap();
    assert_eq!(extended_code(insert(&other, 2)), ffi::SQLITE_BUSY, "reserved");
    assert_eq!(extended_code(one.execute_batch("COMMIT")), ffi::SQLITE_BUSY, "a reader is in");
    let late = open(&disk).unwrap();
    late.busy_timeout(Duration::ZERO).unwrap();
    assert_eq!(extended_code(count(&late)), ffi::SQLITE_BUSY, "pending lets no reader in");
    other.execute_batch("ROLLBACK").unwrap();
    one.execute_batch("COMMIT").unwrap();
    assert_eq!(count(&late).unwrap(), 1);
}

#[test]
fn readers_on_their_own_threads_see_whole_transactions() {
    let disk = PowerDisk::new(1);
    let writer_connection = connect(&disk, "FULL").unwrap();
    let mut writer = Writer::default();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| read_until(&disk, TXS_PER_LIFE * ROWS_PER_TX));
        }
        let mut dice = Dice::new(1);
        for _ in 0..TXS_PER_LIFE {
            writer.commit(&writer_connection, &mut dice).unwrap();
            checkpoint(&writer_connection).unwrap();
        }
    });
    let last = TXS_PER_LIFE;
    assert_eq!(inspect(&writer_connection, &writer), Ok(Found { last }));
}

fn read_until(disk: &PowerDisk, rows_due: i64) {
    let connection = open(disk).expect("the power is on");
    let mut rows = 0;
    while rows < rows_due {
        let seen = count(&connection).expect("a reader is never locked out");
        assert!(seen >= rows && seen % ROWS_PER_TX == 0, "{rows} rows, then {seen}");
        rows = seen;
    }
}

fn extended_code<T: std::fmt::Debug>(result: rusqlite::Result<T>) -> i32 {
    let error = result.expect_err("the call must fail");
    let error = error.sqlite_error().expect("the error is SQLite's");
    error.extended_code
}
