//! Hand-made histories that read like a story: each step is an entry, 20 ms after the one before.

use std::collections::HashMap;
use std::time::Duration;

use busline_history::*;

/// A history in the making, with the dump and the plan that go with it.
///
/// Where nothing else is said: process 1, publisher `p`, topic `orders`, partition 0, group `billing`, member `m`,
/// attempt 1, all that is published asks for and gets `written x 1`, and the dump covers `orders`.
pub(crate) struct Story {
    now: u64,
    process: Process,
    publisher: &'static str,
    partition: u32,
    member: &'static str,
    attempt: u32,
    entries: Vec<Entry>,
    rows: Vec<Row>,
    parked: Vec<ParkedRow>,
    first: u64,
    publications: HashMap<String, Publication>,
    places: HashMap<String, (u32, u64)>,
    kseqs: HashMap<(Process, &'static str, String), u64>,
    pub(crate) plan: Plan,
}

pub(crate) const WRITTEN: Durability = Durability { medium: Medium::Written, copies: 1 };
const STEP: u64 = 20_000_000;

pub(crate) fn story() -> Story {
    Story {
        now: 1_000_000_000,
        process: Process { pid: 1, epoch: 0 },
        publisher: "p",
        partition: 0,
        member: "m",
        attempt: 1,
        entries: Vec::new(),
        rows: Vec::new(),
        parked: Vec::new(),
        first: 0,
        publications: HashMap::new(),
        places: HashMap::new(),
        kseqs: HashMap::new(),
        plan: Plan { acked_min: 0, effective_faults_min: 0, ..Plan::default() },
    }
}

/// Who and where.
impl Story {
    pub(crate) fn process(mut self, pid: u32) -> Self {
        self.process.pid = pid;
        self
    }

    pub(crate) fn publisher(mut self, name: &'static str) -> Self {
        self.publisher = name;
        self
    }

    pub(crate) fn partition(mut self, number: u32) -> Self {
        self.partition = number;
        self
    }

    pub(crate) fn member(mut self, name: &'static str) -> Self {
        self.member = name;
        self
    }

    pub(crate) fn attempt(mut self, number: u32) -> Self {
        self.attempt = number;
        self
    }

    pub(crate) fn wait(mut self, time: Duration) -> Self {
        self.now += time.as_nanos() as u64;
        self
    }

    pub(crate) fn seconds(self, seconds: u64) -> Self {
        self.wait(Duration::from_secs(seconds))
    }

    pub(crate) fn plan(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
        self
    }

    /// The group must finish everything from offset `start` on.
    pub(crate) fn billing_from(mut self, start: u64) -> Self {
        let mut group = GroupPlan::from_beginning("billing", "orders");
        group.start.insert(0, start);
        self.plan.groups.push(group);
        self
    }

    /// The process of the step before was killed by the harness.
    pub(crate) fn killed(mut self) -> Self {
        self.plan.killed.insert(self.process);
        self
    }

    pub(crate) fn op(mut self, op: impl Into<Op>) -> Self {
        self.entries.push(Entry {
            idx: self.entries.len() as u64,
            mono_ns: self.now,
            wall_ns: 0,
            pid: self.process.pid,
            epoch: self.process.epoch,
            actor: "story".to_owned(),
            op: op.into(),
        });
        self.now += STEP;
        self
    }
}

/// Publishing.
impl Story {
    /// A publish that goes well: called, accepted, stored, acked.
    pub(crate) fn publish(self, id: &str, key: &str, offset: u64) -> Self {
        self.call(id, key).accept(id).store(id, offset).ack(id, offset)
    }

    pub(crate) fn call(self, id: &str, key: &str) -> Self {
        self.call_as(id, key, |_| {})
    }

    pub(crate) fn call_as(mut self, id: &str, key: &str, change: impl FnOnce(&mut Publication)) -> Self {
        let publication = self.publication(id, key, change);
        self.op(Publish::Invoke(publication))
    }

    pub(crate) fn batch(mut self, batch: &str, mode: BatchMode, items: &[(&str, &str)]) -> Self {
        let items = items.iter().map(|(id, key)| self.publication(id, key, |_| {})).collect();
        self.op(Batch::Invoke(BatchCall { batch: batch.to_owned(), mode, items }))
    }

    fn publication(&mut self, id: &str, key: &str, change: impl FnOnce(&mut Publication)) -> Publication {
        let kseq = self.kseqs.entry((self.process, self.publisher, key.to_owned())).or_insert(0);
        *kseq += 1;
        let mut publication = Publication {
            id: id.to_owned(),
            topic: "orders".to_owned(),
            key: key.to_owned(),
            publisher: self.publisher.to_owned(),
            kseq: *kseq,
            size: 1,
            hash: ContentHash::of(id.as_bytes(), []),
            durability: WRITTEN,
            deadline: Duration::from_secs(30),
        };
        change(&mut publication);
        self.publications.insert(id.to_owned(), publication.clone());
        publication
    }

    pub(crate) fn accept(self, id: &str) -> Self {
        self.op(Accept::Ok(Accepted { id: id.to_owned() }))
    }

    pub(crate) fn ack(self, id: &str, offset: u64) -> Self {
        self.ack_as(id, |acked| acked.offset = Some(offset))
    }

    pub(crate) fn ack_as(mut self, id: &str, change: impl FnOnce(&mut Acked)) -> Self {
        let acked = self.acked(id, change);
        self.op(Publish::Ok(acked))
    }

    pub(crate) fn acked(&mut self, id: &str, change: impl FnOnce(&mut Acked)) -> Acked {
        let durability = self.publications[id].durability;
        let mut acked =
            Acked { id: id.to_owned(), partition: self.partition, offset: None, duplicate: false, durability };
        change(&mut acked);
        if let Some(offset) = acked.offset {
            self.places.entry(id.to_owned()).or_insert((acked.partition, offset));
        }
        acked
    }

    pub(crate) fn fail(self, id: &str) -> Self {
        self.op(Publish::Fail(NotAcked { id: id.to_owned(), error: "refused".to_owned() }))
    }

    pub(crate) fn info(self, id: &str) -> Self {
        self.op(Publish::Info(NotAcked { id: id.to_owned(), error: "connection lost".to_owned() }))
    }

    /// The dump will find it.
    pub(crate) fn store(self, id: &str, offset: u64) -> Self {
        self.store_as(id, offset, |_| {})
    }

    pub(crate) fn store_as(mut self, id: &str, offset: u64, change: impl FnOnce(&mut Row)) -> Self {
        let row = self.row(id, offset, change);
        self.places.entry(id.to_owned()).or_insert((row.partition, offset));
        self.rows.push(row);
        self
    }

    pub(crate) fn row(&self, id: &str, offset: u64, change: impl FnOnce(&mut Row)) -> Row {
        let publication = self.publications.get(id);
        let mut row = Row {
            topic: "orders".to_owned(),
            partition: self.partition,
            offset,
            id: Some(id.to_owned()),
            key: publication.map_or_else(|| "k".to_owned(), |sent| sent.key.clone()),
            publisher: publication.map_or_else(|| "p".to_owned(), |sent| sent.publisher.clone()),
            kseq: publication.map_or(1, |sent| sent.kseq),
            hash: ContentHash::of(id.as_bytes(), []),
            time_ns: None,
        };
        change(&mut row);
        row
    }

    /// Retention deleted everything below `offset`.
    pub(crate) fn trimmed_below(mut self, offset: u64) -> Self {
        self.first = offset;
        self.rows.retain(|row| row.offset >= offset);
        self
    }
}

/// Consuming.
impl Story {
    /// A record that goes well: delivered, started, handled.
    pub(crate) fn handle(self, id: &str) -> Self {
        self.deliver(id).start(id).ok(id)
    }

    pub(crate) fn deliver(self, id: &str) -> Self {
        self.deliver_as(id, |_| {})
    }

    pub(crate) fn deliver_as(self, id: &str, change: impl FnOnce(&mut Delivered)) -> Self {
        let mut delivered = Delivered { delivery: self.delivery(id), hash: ContentHash::of(id.as_bytes(), []) };
        change(&mut delivered);
        self.op(Deliver::Ok(delivered))
    }

    pub(crate) fn start(self, id: &str) -> Self {
        let delivery = self.delivery(id);
        self.op(Handler::Start(delivery))
    }

    pub(crate) fn ok(self, id: &str) -> Self {
        let delivery = self.delivery(id);
        self.op(Handler::Ok(delivery))
    }

    pub(crate) fn err(self, id: &str) -> Self {
        let delivery = self.delivery(id);
        self.op(Handler::Err(delivery))
    }

    pub(crate) fn timeout(self, id: &str) -> Self {
        let delivery = self.delivery(id);
        self.op(Handler::Timeout(delivery))
    }

    /// From here on the group gets the id from another offset.
    pub(crate) fn moved_to(mut self, id: &str, offset: u64) -> Self {
        self.places.insert(id.to_owned(), (self.partition, offset));
        self
    }

    pub(crate) fn settle(self, id: &str, action: Action) -> Self {
        self.settle_as(id, action, |_| {})
    }

    pub(crate) fn begin_parking(self, id: &str) -> Self {
        let mut story = self.settle(id, Action::Park);
        if let Some(Op::Settle(settle)) = story.entries.last_mut().map(|entry| &mut entry.op)
            && let Settle::Ok(settlement) = settle
        {
            *settle = Settle::Invoke(settlement.clone());
        }
        story
    }

    pub(crate) fn settle_as(self, id: &str, action: Action, change: impl FnOnce(&mut Settlement)) -> Self {
        let Delivery { group, member, id, topic, partition, offset, .. } = self.delivery(id);
        let mut settlement = Settlement {
            group,
            member,
            id: Some(id),
            topic,
            partition,
            offset,
            action,
            reason: "told".to_owned(),
            parked_at: None,
        };
        change(&mut settlement);
        self.op(Settle::Ok(settlement))
    }

    pub(crate) fn commit(self, offset: u64) -> Self {
        let progress = self.progress(offset);
        self.op(Commit::Invoke(progress.clone())).op(Commit::Ok(progress))
    }

    pub(crate) fn progress(&self, offset: u64) -> Progress {
        Progress {
            group: "billing".to_owned(),
            member: self.member.to_owned(),
            topic: "orders".to_owned(),
            partition: self.partition,
            offset,
        }
    }

    pub(crate) fn assign(self, generation: u64) -> Self {
        let assignment = self.assignment(generation);
        self.op(Assign::Ok(assignment))
    }

    pub(crate) fn revoke(self, generation: u64) -> Self {
        let assignment = self.assignment(generation);
        self.op(Revoke::Ok(assignment))
    }

    fn assignment(&self, generation: u64) -> Assignment {
        Assignment {
            group: "billing".to_owned(),
            member: self.member.to_owned(),
            topic: "orders".to_owned(),
            partitions: vec![self.partition],
            generation,
        }
    }

    pub(crate) fn seek(self, offset: u64) -> Self {
        let sought =
            Sought { group: "billing".to_owned(), topic: "orders".to_owned(), partition: self.partition, offset };
        self.op(Seek::Ok(sought))
    }

    fn delivery(&self, id: &str) -> Delivery {
        let (partition, offset) = self.places.get(id).copied().unwrap_or((self.partition, 0));
        Delivery {
            group: "billing".to_owned(),
            member: self.member.to_owned(),
            id: id.to_owned(),
            key: self.publications.get(id).map_or_else(|| "k".to_owned(), |sent| sent.key.clone()),
            topic: "orders".to_owned(),
            partition,
            offset,
            attempt: self.attempt,
        }
    }

    pub(crate) fn parked_row(mut self, row: ParkedRow) -> Self {
        self.parked.push(row);
        self
    }
}

/// The world around.
impl Story {
    /// A fault of the broker that bites, begun and healed.
    pub(crate) fn fault(self, crash: Crash) -> Self {
        self.fault_begins(crash, Tolerance::Within).fault_ends(Some("connections lost"))
    }

    pub(crate) fn fault_begins(self, crash: Crash, tolerance: Tolerance) -> Self {
        self.op(Fault::Start(FaultStart {
            kind: "F1".to_owned(),
            target: Target::Broker("b1".to_owned()),
            seed: 7,
            parameter: "once".to_owned(),
            crash,
            copies: 1,
            tolerance,
        }))
    }

    pub(crate) fn fault_ends(self, proof: Option<&str>) -> Self {
        self.op(Fault::Stop(FaultEnd {
            kind: "F1".to_owned(),
            target: Target::Broker("b1".to_owned()),
            proof: proof.map(str::to_owned),
        }))
    }

    pub(crate) fn close_begins(self, subject: &str, deadline: Duration) -> Self {
        self.op(Life::CloseBegin { subject: subject.to_owned(), deadline })
    }

    pub(crate) fn close_ends(self, subject: &str, result: &str) -> Self {
        self.op(Life::CloseOk { subject: subject.to_owned(), result: result.to_owned() })
    }

    pub(crate) fn drained(self) -> Self {
        self.op(Life::DrainBegin).op(Life::DrainEnd { reached: Reached::End })
    }
}

/// The judgement.
impl Story {
    pub(crate) fn report(&self) -> Report {
        let history = History::merge(self.entries.clone());
        let first = StoredAt { topic: "orders".to_owned(), partition: 0, offset: self.first };
        let dump =
            Dump::of(["orders"], self.rows.clone()).with_first(first).with_parked(["parking"], self.parked.clone());
        Report::of(&Run::new(&history, &dump, &self.plan))
    }

    /// All judges together find exactly these anomalies, in order of their numbers; gives what they said.
    #[track_caller]
    pub(crate) fn shows(&self, codes: &[&str]) -> String {
        let report = self.report();
        let broken = report.violations.iter().filter(|violation| violation.severity > Severity::Counted);
        let mut found: Vec<&str> = broken.map(|violation| violation.anomaly.code()).collect();
        found.dedup();
        assert_eq!(found, codes, "{report}");
        report.violations.iter().map(|violation| format!("{violation}\n")).collect()
    }

    #[track_caller]
    pub(crate) fn is_clean(&self) -> String {
        self.shows(&[])
    }
}
