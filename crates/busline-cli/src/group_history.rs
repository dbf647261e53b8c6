//! What `sub --group` did, recorded for the judges of kill tests: `BUSLINE_HISTORY=FILE`, off without it.
//!
//! Each entry is in the file before the command goes on; what a handler did is there before its progress can be
//! committed.

use std::io;
use std::sync::OnceLock;

use busline::{Ack, Commit, Delivery, Diagnosis, Envelope, ErrorKind, GroupName, Partition, Record, Result, TopicName};
use busline_history::{Action, Assignment, ContentHash, Delivered, Handler, Progress, Recorder, Settle, Settlement};

use crate::history::{VARIABLE, incomplete};
use crate::watched::Step;

/// The history of one member, if one is asked for.
#[derive(Debug)]
pub(crate) struct GroupHistory(Option<Recording>);

#[derive(Debug)]
struct Recording {
    recorder: Recorder,
    group: String,
    topic: TopicName,
    /// Known from the moment of joining.
    member: OnceLock<String>,
}

impl GroupHistory {
    pub(crate) fn start(group: &GroupName, topic: &TopicName) -> Result<Self> {
        let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) else { return Ok(Self(None)) };
        Ok(Self(Some(Recording {
            recorder: Recorder::create(path, 0).map_err(incomplete)?,
            group: group.to_string(),
            topic: topic.clone(),
            member: OnceLock::new(),
        })))
    }

    pub(crate) fn joining(&self, member: &str) {
        if let Some(recording) = &self.0 {
            recording.member.get_or_init(|| member.to_owned());
        }
    }

    /// A handler begins or ends; one that ended well has settled its event.
    ///
    /// An event is delivered when its handler first begins. What waits in a lane may be taken away unseen: a member that
    /// was frozen reads on before it hears of its loss, and then starts no handler for it.
    pub(crate) fn step(&self, delivery: &Delivery, step: Step) -> Result<()> {
        let Some(recording) = &self.0 else { return Ok(()) };
        let Delivery { envelope, partition, offset, attempt, .. } = delivery;
        let of = recording.delivery(envelope, *partition, offset.0, *attempt);
        if (step, *attempt) == (Step::Begun, 1) {
            recording.deliver(of.clone(), envelope).map_err(incomplete)?;
        }
        recording
            .recorder
            .handler(match step {
                Step::Begun => Handler::Start(of),
                Step::Handled => Handler::Ok(of),
                Step::Failed => Handler::Err(of),
                Step::TimedOut => Handler::Timeout(of),
                Step::Cancelled => Handler::Cancelled(of),
            })
            .map_err(incomplete)?;
        if step == Step::Handled {
            let done = Settle::Ok(recording.settlement(envelope, *partition, offset.0));
            recording.recorder.settle(done).map_err(incomplete)?;
        }
        Ok(())
    }

    /// A record is about to be written to the parking topic: a process that is killed cannot tell whether it was.
    pub(crate) fn parking(&self, record: &Record, diagnosis: &Diagnosis) -> Result<()> {
        self.record(|recording| {
            // What queues behind its key comes to no handler, and has come all the same.
            if let (0, Ok(envelope)) = (diagnosis.attempts, record.envelope(&recording.topic)) {
                recording.deliver(recording.delivery(&envelope, record.partition, record.offset.0, 1), &envelope)?;
            }
            recording.recorder.settle(Settle::Invoke(recording.parking(record, diagnosis, None)))
        })
    }

    /// How that ended: acked at this place, or not known.
    pub(crate) fn parked(&self, record: &Record, diagnosis: &Diagnosis, at: Option<(&TopicName, &Ack)>) -> Result<()> {
        self.record(|recording| {
            let settlement = recording.parking(record, diagnosis, at);
            recording.recorder.settle(if at.is_some() { Settle::Ok(settlement) } else { Settle::Info(settlement) })
        })
    }

    /// A parked record is about to run again.
    pub(crate) fn replaying(&self, delivery: &Delivery) -> Result<()> {
        self.record(|recording| {
            let settlement = recording.settlement(&delivery.envelope, delivery.partition, delivery.offset.0);
            recording.recorder.settle(Settle::Ok(Settlement {
                action: Action::Replay,
                reason: "replayed".into(),
                ..settlement
            }))
        })
    }

    pub(crate) fn assigned(&self, partition: Partition, generation: u64) -> Result<()> {
        self.record(|recording| recording.recorder.assign(recording.assignment(partition, generation)))
    }

    pub(crate) fn revoked(&self, partition: Partition, generation: u64) -> Result<()> {
        self.record(|recording| recording.recorder.revoke(recording.assignment(partition, generation)))
    }

    pub(crate) fn committing(&self, commit: &Commit) -> Result<()> {
        self.commit(commit, busline_history::Commit::Invoke)
    }

    pub(crate) fn committed(&self, commit: &Commit, outcome: &Result<()>) -> Result<()> {
        self.commit(
            commit,
            match outcome {
                Ok(()) => busline_history::Commit::Ok,
                Err(error) if error.kind() == ErrorKind::Fenced => busline_history::Commit::Fail,
                Err(_) => busline_history::Commit::Info,
            },
        )
    }

    fn commit(&self, commit: &Commit, of: fn(Progress) -> busline_history::Commit) -> Result<()> {
        self.record(|recording| {
            recording.recorder.commit(of(Progress {
                group: recording.group.clone(),
                member: recording.member(),
                topic: recording.topic.to_string(),
                partition: commit.partition.0,
                offset: commit.offset.0,
            }))
        })
    }

    fn record(&self, record: impl FnOnce(&Recording) -> io::Result<()>) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |recording| record(recording).map_err(incomplete))
    }
}

impl Recording {
    fn member(&self) -> String {
        self.member.get().cloned().unwrap_or_default()
    }

    fn deliver(&self, delivery: busline_history::Delivery, envelope: &Envelope) -> io::Result<()> {
        let headers = envelope.headers.iter().map(|header| (header.name.as_str(), &*header.value));
        let hash = ContentHash::of(envelope.payload.bytes(), headers);
        self.recorder.deliver(Delivered { delivery, hash })
    }

    fn delivery(
        &self,
        envelope: &Envelope,
        partition: Partition,
        offset: u64,
        attempt: u32,
    ) -> busline_history::Delivery {
        busline_history::Delivery {
            group: self.group.clone(),
            member: self.member(),
            id: envelope.id.clone(),
            key: envelope.aggregate_id.clone(),
            topic: self.topic.to_string(),
            partition: partition.0,
            offset,
            attempt,
        }
    }

    fn settlement(&self, envelope: &Envelope, partition: Partition, offset: u64) -> Settlement {
        Settlement {
            group: self.group.clone(),
            member: self.member(),
            id: Some(envelope.id.clone()),
            topic: self.topic.to_string(),
            partition: partition.0,
            offset,
            action: Action::Done,
            reason: "handled".into(),
            parked_at: None,
        }
    }

    fn parking(&self, record: &Record, diagnosis: &Diagnosis, at: Option<(&TopicName, &Ack)>) -> Settlement {
        Settlement {
            group: self.group.clone(),
            member: self.member(),
            id: diagnosis.id.clone(),
            topic: self.topic.to_string(),
            partition: record.partition.0,
            offset: record.offset.0,
            action: Action::Park,
            reason: diagnosis.error.clone(),
            parked_at: at.and_then(|(topic, ack)| {
                let offset = ack.offset?.0;
                Some(busline_history::StoredAt { topic: topic.to_string(), partition: ack.partition.0, offset })
            }),
        }
    }

    fn assignment(&self, partition: Partition, generation: u64) -> Assignment {
        Assignment {
            group: self.group.clone(),
            member: self.member(),
            topic: self.topic.to_string(),
            partitions: vec![partition.0],
            generation,
        }
    }
}
