//! Groups in memory: members, who holds which partition, and committed offsets.

use std::collections::BTreeSet;

use crate::assign::assign;
use crate::driver::{Commit, Member};
use crate::error::Result;
use crate::topic::{GroupName, Offset, Partition, group_active, not_owner};

/// One group of one topic.
#[derive(Debug)]
pub(super) struct Group {
    members: BTreeSet<String>,
    partitions: Vec<Owned>,
}

#[derive(Debug, Clone, Default)]
struct Owned {
    owner: Option<String>,
    generation: u64,
    committed: Option<Offset>,
    /// Records deleted before they were finished.
    deleted: u64,
}

impl Group {
    pub(super) fn new(partitions: usize) -> Self {
        Self { members: BTreeSet::new(), partitions: vec![Owned::default(); partitions] }
    }

    pub(super) fn join(&mut self, member: &str) {
        self.members.insert(member.into());
    }

    /// Ends a member and frees what it holds.
    pub(super) fn leave(&mut self, member: &str) {
        self.members.remove(member);
        for owned in &mut self.partitions {
            owned.owner.take_if(|owner| owner == member);
        }
    }

    /// The partitions that this member is to hold: first those that are free to take, then those to give up.
    pub(super) fn changes(&self, member: &str) -> (Vec<Partition>, Vec<Partition>) {
        let members: Vec<&str> = self.members.iter().map(String::as_str).collect();
        let owners: Vec<Option<&str>> = self.partitions.iter().map(|owned| owned.owner.as_deref()).collect();
        let (mut take, mut give) = (Vec::new(), Vec::new());
        for (number, (wanted, owner)) in assign(&members, &owners).into_iter().zip(&owners).enumerate() {
            let mine = wanted == Some(member);
            if mine && owner.is_none() {
                take.push(Partition(number as u32));
            } else if !mine && *owner == Some(member) {
                give.push(Partition(number as u32));
            }
        }
        (take, give)
    }

    /// Takes a free partition under a new generation; its committed offset is `start` if it has none.
    pub(super) fn take(&mut self, member: &str, partition: Partition, start: Offset) -> (u64, Offset) {
        let owned = &mut self.partitions[partition.0 as usize];
        owned.owner = Some(member.into());
        owned.generation += 1;
        (owned.generation, *owned.committed.get_or_insert(start))
    }

    pub(super) fn release(&mut self, partition: Partition, generation: u64) {
        if let Ok(owned) = self.owned(partition, generation) {
            owned.owner = None;
        }
    }

    pub(super) fn commit(&mut self, commit: &Commit) -> Result<()> {
        let owned = self.owned(commit.partition, commit.generation)?;
        owned.committed = owned.committed.max(Some(commit.offset));
        Ok(())
    }

    fn owned(&mut self, partition: Partition, generation: u64) -> Result<&mut Owned> {
        self.partitions
            .get_mut(partition.0 as usize)
            .filter(|owned| owned.owner.is_some() && owned.generation == generation)
            .ok_or_else(|| not_owner(partition))
    }

    pub(super) fn committed(&self) -> Vec<Option<Offset>> {
        self.partitions.iter().map(|owned| owned.committed).collect()
    }

    /// Counts what is unfinished of the records from `start` up to, not including, `to`, which are deleted; gives how many.
    pub(super) fn note_deleted(&mut self, partition: usize, start: u64, to: u64) -> u64 {
        let owned = &mut self.partitions[partition];
        let unfinished = owned.committed.map_or(0, |committed| to.saturating_sub(committed.0.max(start)));
        owned.deleted += unfinished;
        unfinished
    }

    /// Records of each partition that were deleted before they were finished.
    pub(super) fn deleted(&self) -> Vec<u64> {
        self.partitions.iter().map(|owned| owned.deleted).collect()
    }

    pub(super) fn move_committed(&mut self, to: &[(Partition, Offset)]) {
        for (partition, offset) in to {
            if let Some(owned) = self.partitions.get_mut(partition.0 as usize) {
                owned.committed = Some(*offset);
            }
        }
    }

    pub(super) fn members(&self) -> Vec<Member> {
        let held = |name: &String| {
            let is_his = |(_, owned): &(usize, &Owned)| owned.owner.as_ref() == Some(name);
            self.partitions.iter().enumerate().filter(is_his).map(|(number, _)| Partition(number as u32)).collect()
        };
        self.members.iter().map(|name| Member { name: name.clone(), partitions: held(name) }).collect()
    }

    /// Checks that nobody is at work.
    pub(super) fn check_idle(&self, name: &GroupName) -> Result<()> {
        if self.members.is_empty() {
            return Ok(());
        }
        Err(group_active(name, &self.members.iter().cloned().collect::<Vec<_>>()))
    }
}
