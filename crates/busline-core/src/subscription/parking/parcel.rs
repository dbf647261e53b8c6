//! What is written to the parking topic at once of one key: a record, and those of a parked key behind it.

use std::iter::once;

use super::log::Way;
use super::owner::{Item, Parking, State};
use crate::record::Record;
use crate::subscription::behind::Behind;
use crate::subscription::engine::Engine;

pub(super) struct Parcel {
    pub(super) item: Item,
    behind: Vec<Behind>,
}

impl Parcel {
    /// An item with what its lane keeps behind it, if its key is parked, as far as all of that queues behind it too.
    pub(super) fn of(engine: &Engine, parking: &Parking, item: Item) -> Self {
        if !item.is_behind() {
            return Self { item, behind: Vec::new() };
        }
        let mut behind = engine.with_lanes(|lanes| lanes.take_behind(item.ticket.lane));
        let queues = |state: &State, record: &Record| {
            let owned = state.owned.get(&record.partition);
            owned.is_some_and(|owned| {
                let is_parked = owned.state.is_parked(&record.key, item.cause.kind.scope(), record.offset);
                !is_parked && owned.state.way(&record.key, record.offset) == Way::Behind
            })
        };
        // One that cannot be decoded is parked by itself.
        let is_whole = |record: &Record| record.envelope(&engine.place.topic).is_ok();
        let count = parking.with(|state| {
            let follows = |one: &&Behind| queues(state, &one.record) && is_whole(&one.record);
            behind.iter().take_while(follows).count()
        });
        let others = behind.split_off(count);
        engine.with_lanes(|lanes| lanes.give_back_behind(item.ticket.lane, others));
        Self { item, behind }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        once(&self.item.record).chain(self.behind.iter().map(|one| &one.record))
    }

    pub(super) fn len(&self) -> usize {
        1 + self.behind.len()
    }

    /// Whether the log says so of every record.
    pub(super) fn is_parked(&self, state: &State) -> bool {
        let owned = state.owned.get(&self.item.partition());
        let scope = self.item.cause.kind.scope();
        owned.is_some_and(|owned| self.records().all(|record| owned.state.is_parked(&record.key, scope, record.offset)))
    }

    /// The item, after those behind it were finished.
    pub(super) fn finished(self, engine: &Engine) -> Item {
        if !self.behind.is_empty() {
            engine.with_lanes(|lanes| {
                self.behind.iter().for_each(|one| lanes.finish_behind(self.item.ticket.lane, one));
            });
        }
        self.item
    }

    /// The item, after those behind it went back to their lane: they come again behind it.
    pub(super) fn alone(self, engine: &Engine) -> Item {
        engine.with_lanes(|lanes| lanes.give_back_behind(self.item.ticket.lane, self.behind));
        self.item
    }
}
