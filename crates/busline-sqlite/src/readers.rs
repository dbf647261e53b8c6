//! Connections that only read, kept between calls.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use busline_core::{Result, bus_closed, forked_process};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::config::SqliteConfig;
use crate::connection::{open_reader, retried};
use crate::error::from_sqlite;
use crate::identity::Identity;

/// Reading connections of one driver.
#[derive(Debug)]
pub(crate) struct Readers {
    config: SqliteConfig,
    identity: Option<Identity>,
    state: Mutex<State>,
    came_back: Condvar,
    /// SQLite's connections must not be used across a fork.
    process: u32,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    /// Calls that are running, each with a connection or about to open one.
    running: usize,
    closed: bool,
}

/// Reading connections that are kept; more are opened when more calls run at once.
const IDLE_MAX: usize = 4;

impl Readers {
    pub(crate) fn new(config: SqliteConfig, identity: Option<Identity>) -> Self {
        Self { config, identity, state: Mutex::default(), came_back: Condvar::new(), process: std::process::id() }
    }

    pub(crate) fn config(&self) -> &SqliteConfig {
        &self.config
    }

    /// Runs a read in one snapshot, on a connection that nobody else uses meanwhile.
    pub(crate) fn with<T>(&self, read: impl Fn(&Connection) -> Result<T>) -> Result<T> {
        let mut call = self.begin_call()?;
        self.identity.as_ref().map_or(Ok(()), Identity::check)?;
        let until = Instant::now() + self.config.patience;
        let connection = match call.connection.take() {
            Some(connection) => connection,
            None => retried(until, || self.refuse_closed().and_then(|()| open_reader(&self.config)))?,
        };
        let outcome = retried(until, || self.refuse_closed().and_then(|()| in_snapshot(&connection, &read)));
        call.connection = Some(connection);
        outcome
    }

    /// A connection of its own for somebody who reads for long, and ends it before the driver.
    pub(crate) fn open(&self) -> Result<Connection> {
        retried(Instant::now() + self.config.patience, || self.refuse_closed().and_then(|()| open_reader(&self.config)))
    }

    /// Ends all connections. Waits for calls that are running: the last connection to the file takes its side files away.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.idle.clear();
        let ended = self.came_back.wait_while(state, |state| state.running > 0);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }

    fn begin_call(&self) -> Result<Call<'_>> {
        self.check_process()?;
        let mut state = self.lock();
        if state.closed {
            return Err(bus_closed());
        }
        state.running += 1;
        Ok(Call { connection: state.idle.pop(), readers: self })
    }

    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() { Ok(()) } else { Err(forked_process()) }
    }

    fn refuse_closed(&self) -> Result<()> {
        self.check_process()?;
        if self.lock().closed { Err(bus_closed()) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running call; its end brings the connection back, also after a panic.
struct Call<'a> {
    connection: Option<Connection>,
    readers: &'a Readers,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.lock();
        match self.connection.take() {
            Some(connection) if !state.closed && state.idle.len() < IDLE_MAX => state.idle.push(connection),
            // Under the lock, so that whoever waits for the end of this call finds its connection closed.
            surplus => drop(surplus),
        }
        state.running -= 1;
        self.readers.came_back.notify_all();
    }
}

/// Several statements see one state of the file: bounds and records fit together while others trim and delete.
pub(crate) fn in_snapshot<T>(connection: &Connection, read: impl Fn(&Connection) -> Result<T>) -> Result<T> {
    let snapshot = Transaction::new_unchecked(connection, TransactionBehavior::Deferred).map_err(from_sqlite)?;
    read(&snapshot)
}
