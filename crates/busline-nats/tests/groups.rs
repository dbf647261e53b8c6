//! Groups on a real server: leases, fenced commits, readers that mend themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{
    Assignment, Commit, Driver, Error, GroupName, Offset, Partition, Source, SourceEvent, SourceRequest, Start,
    TopicInfo, TopicName, TopicSpec,
};
use busline_nats::{NatsConfig, NatsDriver};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const LEASE: Duration = Duration::from_secs(2);

/// Longest wait for anything: far above what it takes, so that a busy machine proves nothing.
const SOON: Duration = Duration::from_secs(60);

const TOPIC: &str = "orders.new";
const STREAM: &str = "orders=new";

struct Stage {
    server: Server,
    driver: NatsDriver,
    topic: TopicInfo,
    group: GroupName,
}

impl Stage {
    async fn new(partitions: u32, streams: u32) -> Self {
        Self::on(&Options::default(), partitions, streams).await
    }

    async fn on(options: &Options, partitions: u32, streams: u32) -> Self {
        let server = Server::start(options).expect("a server");
        let config = NatsConfig::from_url(&server.url()).expect("a legal URL");
        let driver = NatsDriver::open(config).await.expect("the server is there");
        let name: TopicName = TOPIC.parse().expect("legal");
        let spec = TopicSpec { partitions, streams, ..TopicSpec::default() };
        let topic = driver.create_topic(&name, &spec).await.expect("a new topic");
        Self { server, driver, topic, group: "billing.eu".parse().expect("legal") }
    }

    fn request(&self, member: &str) -> SourceRequest {
        SourceRequest {
            group: self.group.clone(),
            topic: self.topic.clone(),
            member: member.into(),
            start: Start::Earliest,
            lease: LEASE,
        }
    }

    async fn join(&self, member: &str) -> Member {
        self.join_for(member, LEASE).await
    }

    async fn join_for(&self, member: &str, lease: Duration) -> Member {
        let source = self.driver.source(SourceRequest { lease, ..self.request(member) }).await.expect("joins");
        Member { source, held: BTreeMap::new(), read: Vec::new(), gaps: Vec::new() }
    }

    /// Where the server keeps the topic.
    fn store(&self) -> PathBuf {
        let ground = self.server.log().parent().expect("a folder");
        ground.join("nats-store/jetstream/$G/streams").join(STREAM)
    }

    /// A copy of the topic as it is stored now, for [`back_to`](Self::back_to). The server is started again for it.
    fn saved(&self) -> PathBuf {
        let saved = self.server.log().with_file_name("saved-stream");
        self.server.kill().expect("it ran");
        copy(&self.store(), &saved);
        self.server.start_again().expect("it starts on its store");
        saved
    }

    /// The server loses its power, and all that was stored since the copy was made.
    fn back_to(&self, saved: &Path) {
        self.server.kill().expect("it ran");
        std::fs::remove_dir_all(self.store()).expect("removed");
        std::fs::rename(saved, self.store()).expect("moved");
        self.server.start_again().expect("it starts on its store");
    }

    /// Publishes versions of one key into a partition as a foreign client does, each stored before the next.
    async fn publish(&self, partition: u32, versions: std::ops::RangeInclusive<u64>) {
        for version in versions {
            self.publish_one(partition, version, 0).await;
        }
    }

    async fn publish_one(&self, partition: u32, version: u64, fill: usize) {
        let body = json!({
            "event_id": format!("{partition}-{version}"), "aggregate_id": format!("key-{partition}"),
            "event_type": "T", "event_version": version, "timestamp": "2024-05-01T00:00:00Z",
            "payload": { "fill": "x".repeat(fill) },
        });
        let until = Instant::now() + SOON;
        loop {
            let asked = self.driver.as_nats().request(format!("{TOPIC}.{partition}"), body.to_string().into());
            match timeout(Duration::from_secs(2), asked).await {
                Ok(Ok(answer)) if answer.status.is_none() => return,
                _ => assert!(Instant::now() < until, "the stream takes nothing"),
            }
        }
    }

    async fn committed(&self) -> Vec<Option<Offset>> {
        self.driver.committed(&self.group, &self.topic.name).await.expect("the topic exists")
    }

    async fn lag(&self) -> Vec<u64> {
        let lag = self.driver.lag(&self.group, &self.topic.name).await.expect("the topic exists");
        lag.iter().map(|lag| lag.records).collect()
    }

    async fn members(&self) -> Vec<(String, usize)> {
        let members = self.driver.members(&self.group, &self.topic.name).await.expect("the topic exists");
        members.into_iter().map(|member| (member.name, member.partitions.len())).collect()
    }

    async fn ask(&self, what: &str, question: Value) -> Value {
        let asked = self.driver.as_nats().request(format!("$JS.API.{what}"), question.to_string().into());
        let answer = timeout(SOON, asked).await.expect("in time").expect("an answer");
        serde_json::from_slice(&answer.payload).expect("JSON")
    }

    /// Does what the next owner of partition 0 does while the former one knows of nothing.
    async fn take_over(&self) {
        let subject = |what| format!("$KV.busline_groups.{what}.{STREAM}.billing=eu.0");
        self.ask("STREAM.PURGE.KV_busline_groups", json!({ "filter": subject("lease") })).await;
        // A lease that nobody renews.
        let foreign = json!({ "member": "x", "owner": uuid::Uuid::from_u128(1), "epoch": 0 });
        self.put(&subject("lease"), &foreign).await;
        let found = self.ask("STREAM.MSG.GET.KV_busline_groups", json!({ "last_by_subj": subject("offset") })).await;
        let data = found["message"]["data"].as_str().expect("a value");
        let value = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).expect("base 64");
        let mut value: Value = serde_json::from_slice(&value).expect("JSON");
        value["epoch"] = json!(value["epoch"].as_u64().expect("a number") + 1);
        value["owner"] = json!(uuid::Uuid::from_u128(1));
        self.put(&subject("offset"), &value).await;
    }

    async fn put(&self, subject: &str, value: &Value) {
        let put = self.driver.as_nats().request(subject.to_owned(), value.to_string().into());
        timeout(SOON, put).await.expect("in time").expect("stored");
    }

    async fn close(self) {
        self.driver.close(Instant::now() + SOON).await.expect("closes");
    }
}

/// A source, and what it has given.
struct Member {
    source: Arc<dyn Source>,
    /// The committed offset in it moves with what is read.
    held: BTreeMap<Partition, Assignment>,
    /// Partition, event version.
    read: Vec<(u32, u64)>,
    /// Partition, and where what is missing begins and ends; to be taken before the member closes.
    gaps: Vec<(u32, u64, u64)>,
}

impl Member {
    async fn step(&mut self) -> Result<(), Error> {
        match self.source.next(64, 1 << 20).await? {
            SourceEvent::Records { generation, records } => {
                for record in records {
                    let held = self.held.get_mut(&record.partition).expect("it is held");
                    assert_eq!(held.generation, generation);
                    held.committed = record.offset.next();
                    let envelope = record.envelope(&TOPIC.parse().expect("legal")).expect("an envelope");
                    assert_eq!(record.key, envelope.aggregate_id.as_bytes());
                    self.read.push((record.partition.0, envelope.event_version));
                }
            }
            SourceEvent::Assigned(assigned) => {
                self.held.extend(assigned.into_iter().map(|assigned| (assigned.partition, assigned)));
            }
            SourceEvent::Revoking(partitions) => {
                let shares: Vec<(Partition, u64)> =
                    partitions.iter().filter_map(|p| Some((*p, self.held.remove(p)?.generation))).collect();
                self.source.release(shares).await?;
            }
            SourceEvent::Lost(partitions) => self.held.retain(|partition, _| !partitions.contains(partition)),
            SourceEvent::Gap { partition, from, to } => self.gaps.push((partition.0, from.0, to.0)),
        }
        Ok(())
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + SOON;
        while !done(self) {
            match timeout(end.saturating_duration_since(Instant::now()), self.step()).await {
                Ok(stepped) => stepped.expect("the source goes on"),
                Err(_) => panic!("{what} did not come: {} read, held {:?}", self.read.len(), self.held),
            }
        }
    }

    async fn until_held(&mut self, partitions: usize) {
        self.until("the assignment", |member| member.held.len() == partitions).await;
    }

    async fn until_read(&mut self, records: usize) {
        self.until("the records", |member| member.read.len() >= records).await;
    }

    async fn commit(&self) {
        let commit = |held: &Assignment| {
            let Assignment { partition, generation, committed: offset } = *held;
            Commit { partition, generation, offset }
        };
        for outcome in self.source.commit(self.held.values().map(commit).collect()).await {
            outcome.expect("the member owns it");
        }
    }

    /// Versions that came of a partition.
    fn of(&self, partition: u32) -> Vec<u64> {
        self.read.iter().filter(|(of, _)| *of == partition).map(|(_, version)| *version).collect()
    }

    async fn until_gaps(&mut self, gaps: &[(u32, u64, u64)]) {
        self.until("the gaps", |member| member.gaps.len() >= gaps.len()).await;
        assert_eq!(std::mem::take(&mut self.gaps), gaps);
    }

    async fn close(self) {
        assert_eq!(self.gaps, [], "nothing is missing");
        self.source.close(Instant::now() + SOON).await.expect("closes");
    }
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let end = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < end, "{what} did not come");
        sleep(Duration::from_millis(20)).await;
    }
}

fn versions(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_reads_every_partition_in_order_and_its_offsets_stay() {
    for streams in [1, 4] {
        let stage = Stage::new(4, streams).await;
        for partition in 0..4 {
            stage.publish(partition, 1..=20).await;
        }
        let mut member = stage.join("a").await;
        member.until_held(4).await;
        member.until_read(80).await;
        for partition in 0..4 {
            assert_eq!(member.of(partition), versions(1..=20));
        }
        assert_eq!(stage.lag().await, [20; 4], "nothing was committed");
        member.commit().await;
        assert_eq!(stage.lag().await, [0; 4]);
        let committed = stage.committed().await;
        for number in 0..4 {
            let bounds = stage.driver.bounds(&stage.topic.name, Partition(number)).await.expect("it is there");
            assert_eq!(committed[number as usize], Some(bounds.end));
        }
        assert_eq!(stage.members().await, [("a".to_owned(), 4)]);
        let pair = (stage.group.clone(), stage.topic.name.clone());
        assert_eq!(stage.driver.groups().await.expect("an answer"), [pair]);
        member.close().await;
        assert_eq!(stage.members().await, []);
        assert_eq!(stage.committed().await, committed);

        // The next member goes on behind it.
        stage.publish(2, 21..=22).await;
        let mut member = stage.join("b").await;
        member.until_read(2).await;
        assert_eq!(member.read, [(2, 21), (2, 22)]);
        member.close().await;
        stage.close().await;
    }
}

/// What NATS' own tools say of a group's place in a partition: records that wait, and the last one that is done.
async fn shown(stage: &Stage, partition: u32) -> Option<(u64, u64)> {
    let info = stage.ask(&format!("CONSUMER.INFO.{STREAM}.billing=eu=={partition}"), json!({})).await;
    Some((info["num_pending"].as_u64()?, info["ack_floor"]["stream_seq"].as_u64()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_visible_to_the_servers_own_tools() {
    let stage = Stage::new(2, 1).await;
    stage.publish(0, 1..=10).await;
    stage.publish(1, 1..=5).await;
    let mut member = stage.join("a").await;
    member.until_read(15).await;
    until("nothing done", || async { shown(&stage, 0).await == Some((10, 0)) }).await;
    member.commit().await;
    until("all done", || async { shown(&stage, 0).await == Some((0, 10)) }).await;
    until("all done", || async { shown(&stage, 1).await == Some((0, 15)) }).await;
    stage.publish(1, 6..=8).await;
    until("more to do", || async { shown(&stage, 1).await == Some((3, 15)) }).await;
    // Somebody removes it: it is for eyes only, and comes back with the next offset.
    stage.ask(&format!("CONSUMER.DELETE.{STREAM}.billing=eu==1"), json!({})).await;
    member.until_read(18).await;
    member.commit().await;
    // The last offsets are shown although the member leaves at once.
    member.close().await;
    until("all done", || async { shown(&stage, 1).await == Some((0, 18)) }).await;
    let back = [(Partition(1), Offset(12))];
    stage.driver.move_committed(&stage.group, &stage.topic.name, &back).await.expect("nobody reads");
    assert_eq!(shown(&stage, 1).await, Some((7, 11)));
    stage.driver.delete_group(&stage.group, &stage.topic.name).await.expect("nobody reads");
    assert_eq!((shown(&stage, 0).await, shown(&stage, 1).await), (None, None));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_and_hand_over() {
    let stage = Stage::new(4, 1).await;
    let mut first = stage.join("a").await;
    first.until_held(4).await;
    let mut second = stage.join("b").await;
    first.until_held(2).await;
    second.until_held(2).await;
    assert_eq!(stage.members().await, [("a".to_owned(), 2), ("b".to_owned(), 2)]);
    second.close().await;
    first.until_held(4).await;
    first.close().await;
    stage.close().await;
}

/// The server gives at most 1,024 values to one question, and a topic may have as many partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_room_for_a_lease_of_every_partition_and_its_members() {
    let stage = Stage::new(4, 1).await;
    let mut first = stage.join("a").await;
    first.until_held(4).await;
    let foreign = json!({ "member": "x", "owner": uuid::Uuid::from_u128(1), "epoch": 0 });
    let subject = |number: u32| format!("$KV.busline_groups.lease.{STREAM}.billing=eu.{number}");
    for number in 4..1_024 {
        stage.put(&subject(number), &foreign).await;
    }
    let mut second = stage.join("b").await;
    first.until_held(2).await;
    second.until_held(2).await;
    second.close().await;
    first.close().await;
    stage.close().await;
}

/// Another member has taken the partition: whatever the former owner still commits moves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_under_an_old_epoch_is_fenced() {
    let stage = Stage::new(1, 1).await;
    stage.publish(0, 1..=10).await;
    let mut old = stage.join("old").await;
    old.until_read(10).await;
    let held = old.held[&Partition(0)];
    let commit =
        |offset| vec![Commit { partition: held.partition, generation: held.generation, offset: Offset(offset) }];
    old.source.commit(commit(3)).await.remove(0).expect("the member owns it");
    // A commit behind the stored one changes nothing and succeeds.
    old.source.commit(commit(2)).await.remove(0).expect("the member owns it");
    assert_eq!(stage.committed().await, [Some(Offset(3))]);
    stage.take_over().await;
    for offset in [9, 11] {
        let error = old.source.commit(commit(offset)).await.remove(0).expect_err("it lost the partition");
        assert_eq!(error.code(), "Fenced/NotOwner", "{error}");
        assert_eq!(stage.committed().await, [Some(Offset(3))], "the offset is unchanged");
    }
    old.until("the loss", |member| member.held.is_empty()).await;

    // Nobody is behind that lease. Once it is gone the member takes the partition anew, behind what was committed.
    stage.ask("STREAM.PURGE.KV_busline_groups", json!({ "filter": "$KV.busline_groups.lease.>" })).await;
    old.read.clear();
    old.until_read(8).await;
    assert_eq!(old.of(0), versions(3..=10));
    assert!(old.held[&Partition(0)].generation > held.generation);
    old.commit().await;
    assert_eq!(stage.committed().await, [Some(Offset(11))]);
    old.close().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_source_leaves_its_group() {
    let stage = Stage::new(2, 1).await;
    let mut member = stage.join("a").await;
    member.until_held(2).await;
    drop(member);
    until("the end of the member", || async { stage.members().await.is_empty() }).await;
    stage.driver.delete_group(&stage.group, &stage.topic.name).await.expect("nobody is there");
    assert_eq!(stage.committed().await, [None, None]);
    let gone = stage.driver.delete_group(&stage.group, &stage.topic.name).await.expect_err("it is gone");
    assert_eq!(gone.code(), "NotFound/Group");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_costs_nothing_but_time() {
    let stage = Stage::new(4, 1).await;
    let mut member = stage.join("a").await;
    member.until_held(4).await;
    for round in 0..3_u64 {
        for partition in 0..4 {
            stage.publish(partition, round * 10 + 1..=round * 10 + 10).await;
        }
        if round == 1 {
            member.until_read(80).await;
        }
        stage.server.kill().expect("it ran");
        stage.server.start_again().expect("it starts");
        let back = Instant::now();
        // Those that were read before the kill come again only if its partition was lost meanwhile.
        member.until("everything", |member| (0..4).all(|p| member.of(p).last() == Some(&(round * 10 + 10)))).await;
        println!("round {round}: everything {:?} after the server's return", back.elapsed());
        member.commit().await;
    }
    for partition in 0..4 {
        assert_eq!(member.of(partition), versions(1..=30), "partition {partition}");
    }
    assert_eq!(stage.lag().await, [0; 4]);
    member.close().await;
    stage.close().await;
}

/// Longer than the lease: the member gives everything up by itself, and takes it anew under other epochs.
/// The end of a stream is lost with the server's power, and its numbers are given again: to a partition that had nothing
/// there before, too.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_a_stream_lost_and_gives_again_are_read() {
    let stage = Stage::new(2, 1).await;
    stage.publish(0, 1..=3).await;
    let mut member = stage.join_for("a", Duration::from_secs(60)).await;
    member.until_held(2).await;
    member.until_read(3).await;
    let saved = stage.saved();
    stage.publish(1, 1..=50).await;
    member.until_read(53).await;
    // Until the reader of the other partition has looked at these numbers. Were that not enough, nothing would be lost.
    sleep(Duration::from_millis(1_500)).await;
    stage.back_to(&saved);
    stage.publish(0, 4..=6).await;
    member.until_read(56).await;
    assert_eq!(member.of(0), versions(1..=6));
    member.close().await;
    stage.close().await;
}

/// What a group has finished is lost with the server's power, and its numbers are given to other records. They are read,
/// by a member that was there all the time and by one that comes later.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_the_numbers_of_finished_records_that_were_lost_is_read() {
    for stays in [true, false] {
        let stage = Stage::new(1, 1).await;
        stage.publish(0, 1..=3).await;
        let saved = stage.saved();
        stage.publish(0, 4..=8).await;
        let mut member = stage.join_for("a", Duration::from_secs(60)).await;
        member.until_read(8).await;
        member.commit().await;
        let there = if stays {
            Some(member)
        } else {
            member.close().await;
            None
        };
        stage.back_to(&saved);
        // Fewer than were lost, before anybody looks.
        stage.publish(0, 104..=106).await;
        let mut member = match there {
            Some(member) => member,
            None => stage.join("b").await,
        };
        let read = member.read.len();
        member.until_read(read + 3).await;
        assert_eq!(member.of(0)[read..], [104, 105, 106]);
        member.commit().await;
        assert_eq!(stage.committed().await, [Some(Offset(7))]);
        member.close().await;
        stage.close().await;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry").path();
        let to = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            std::fs::copy(&entry, &to).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_frozen_beyond_the_lease_is_joined_anew() {
    let stage = Stage::new(2, 1).await;
    stage.publish(0, 1..=5).await;
    let mut member = stage.join("a").await;
    member.until_held(2).await;
    member.until_read(5).await;
    member.commit().await;
    let before = member.held[&Partition(0)];
    let first_term = member.source.holds_until().expect("a lease runs out");
    stage.server.pause().expect("it runs");
    member.until("the loss", |member| member.held.is_empty()).await;
    assert!(member.source.holds_until().is_none_or(|until| until <= Instant::now()), "nothing may be worked on");
    assert!(member.source.trouble().is_some(), "it says what is wrong");
    stage.server.resume().expect("it runs");
    member.until_held(2).await;
    let after = member.held[&Partition(0)];
    assert!(after.generation != before.generation && after.committed == before.committed, "{before:?} {after:?}");
    stage.publish(0, 6..=7).await;
    assert!(member.source.holds_until().is_some_and(|until| until > first_term), "what was taken may be worked on");
    member.until_read(7).await;
    assert_eq!(member.of(0), versions(1..=7));
    until("the end of the trouble", || async { member.source.trouble().is_none() }).await;
    member.close().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_consumer_is_made_anew() {
    let stage = Stage::new(2, 1).await;
    let mut member = stage.join("a").await;
    stage.publish(0, 1..=5).await;
    member.until_read(5).await;
    let names = stage.ask(&format!("CONSUMER.NAMES.{STREAM}"), json!({})).await;
    let names = names["consumers"].as_array().expect("a list").clone();
    assert!(!names.is_empty(), "the partitions are read by consumers");
    for name in names {
        let name = name.as_str().expect("a name");
        stage.ask(&format!("CONSUMER.DELETE.{STREAM}.{name}"), json!({})).await;
    }
    stage.publish(0, 6..=9).await;
    member.until_read(9).await;
    assert_eq!(member.of(0), versions(1..=9));
    member.close().await;
    stage.close().await;
}

/// A group whose bucket is deleted under it neither begins anew nor stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_bucket_is_made_anew_with_what_its_members_know() {
    let stage = Stage::new(2, 1).await;
    stage.publish(1, 1..=5).await;
    let mut member = stage.join("a").await;
    member.until_held(2).await;
    member.until_read(5).await;
    member.commit().await;
    let committed = stage.committed().await;
    let before = member.held.clone();
    stage.ask("STREAM.DELETE.KV_busline_groups", json!({})).await;
    member.until("the loss", |member| member.held.is_empty()).await;
    member.until_held(2).await;
    for (partition, assigned) in &member.held {
        assert_ne!(assigned.generation, before[partition].generation, "each assignment has a generation of its own");
    }
    assert_eq!(stage.committed().await, committed);
    stage.publish(1, 6..=8).await;
    member.until_read(8).await;
    assert_eq!(member.of(1), versions(1..=8));
    member.commit().await;
    assert_eq!(stage.lag().await, [0; 2]);
    member.close().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_or_replaced_ends_the_source() {
    for replaced in [false, true] {
        let stage = Stage::new(2, 1).await;
        stage.publish(0, 1..=5).await;
        let mut member = stage.join("a").await;
        member.until_read(5).await;
        let refused = stage.driver.delete_topic(&stage.topic.name).await.expect_err("a member reads it");
        assert_eq!(refused.code(), "Unavailable/GroupActive");
        stage.ask(&format!("STREAM.DELETE.{STREAM}"), json!({})).await;
        if replaced {
            stage.driver.create_topic(&stage.topic.name, &stage.topic.spec).await.expect("the name is free");
            stage.publish(0, 101..=105).await;
        }
        let ended = timeout(SOON, async {
            loop {
                if let Err(error) = member.step().await {
                    return error;
                }
            }
        });
        let error = ended.await.expect("in time");
        assert_eq!(error.code(), "NotFound/Topic", "{error}");
        assert_eq!(member.of(0), versions(1..=5), "nothing of the other topic");
        member.close().await;
        stage.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_under_a_second_is_refused_by_name() {
    let stage = Stage::new(1, 1).await;
    let request = SourceRequest { lease: Duration::from_millis(900), ..stage.request("a") };
    let error = stage.driver.source(request).await.expect_err("too short");
    assert_eq!(error.code(), "Unsupported/Lease");
    assert!(stage.members().await.is_empty());
    stage.close().await;
}

/// Records larger than a pull takes come all the same, and in order.
#[tokio::test(flavor = "multi_thread")]
async fn large_records_come_one_by_one() {
    let large = Options { config: "max_payload: 8MB".into(), ..Options::default() };
    let stage = Stage::on(&large, 1, 1).await;
    for version in 1..=6 {
        stage.publish_one(0, version, if version % 2 == 0 { 1_500_000 } else { 10 }).await;
    }
    let mut member = stage.join("a").await;
    member.until_read(6).await;
    assert_eq!(member.of(0), versions(1..=6));
    member.close().await;
    stage.close().await;
}

/// Deletes everything of the stream below this, as a limit by age or size does.
async fn delete_below(stage: &Stage, stream: &str, below: u64) {
    let answer = stage.ask(&format!("STREAM.PURGE.{stream}"), json!({ "seq": below })).await;
    assert_eq!(answer["success"], true, "{answer}");
}

/// Positions 1 to 5 and 11 to 15 are those of partition 0, 6 to 10 and 16 to 20 those of partition 1; the first ten are
/// finished.
async fn half_read() -> Stage {
    let stage = Stage::new(2, 1).await;
    for range in [1..=5, 6..=10] {
        for partition in 0..2 {
            stage.publish(partition, range.clone()).await;
        }
        if *range.start() == 1 {
            let mut member = stage.join("a").await;
            member.until_read(10).await;
            member.commit().await;
            member.close().await;
        }
    }
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shared_stream_deletes_unread_while_nobody_is_there_is_told() {
    let stage = half_read().await;
    delete_below(&stage, STREAM, 14).await;
    let mut member = stage.join("b").await;
    // Which of them were its own nobody knows any more: partition 1 lost nothing, and stood at 11 all the same.
    member.until("the gaps", |member| member.gaps.len() >= 2).await;
    member.until_read(7).await;
    member.gaps.sort_unstable();
    member.until_gaps(&[(0, 6, 14), (1, 11, 14)]).await;
    assert_eq!((member.of(0), member.of(1)), (versions(9..=10), versions(6..=10)));
    member.commit().await;
    member.close().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_record_deleted_unread_is_told() {
    let stage = half_read().await;
    // One of each partition.
    for gone in [12, 18] {
        let answer = stage.ask(&format!("STREAM.MSG.DELETE.{STREAM}"), json!({ "seq": gone })).await;
        assert_eq!(answer["success"], true, "{answer}");
    }
    let mut member = stage.join("b").await;
    member.until_read(8).await;
    assert_eq!((member.of(0), member.of(1)), (vec![6, 8, 9, 10], vec![6, 7, 9, 10]));
    member.until("the gaps", |member| member.gaps.len() >= 4).await;
    member.gaps.sort_unstable();
    // Whose they were is not known, so both partitions tell of both.
    member.until_gaps(&[(0, 12, 13), (0, 18, 19), (1, 12, 13), (1, 18, 19)]).await;
    member.close().await;
    stage.close().await;
}

/// What was read may go, also from under a partition that has stood still for long.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_after_it_was_read_is_no_gap() {
    let stage = Stage::new(2, 1).await;
    stage.publish(0, 1..=1).await;
    let mut member = stage.join("a").await;
    member.until_read(1).await;
    member.commit().await;
    stage.publish(1, 1..=20).await;
    member.until_read(21).await;
    member.commit().await;
    // Several heartbeats: only they say that partition 0 has passed what is the other's.
    sleep(Duration::from_secs(3)).await;
    delete_below(&stage, STREAM, 22).await;
    // Partition 0 was committed at 2, which is gone.
    let moved = || async { stage.committed().await[0] == Some(Offset(22)) };
    tokio::select! {
        () = until("the offset that follows its stream", moved) => {}
        () = async { loop { member.step().await.expect("the source goes on") } } => {}
    }
    member.close().await;
    let mut member = stage.join("b").await;
    stage.publish(0, 2..=3).await;
    member.until_read(2).await;
    member.commit().await;
    member.close().await;
    stage.close().await;
}

/// Where each partition has its stream, every position is a record, and no record has to come for its loss to be told.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_emptied_tells_what_it_lost() {
    let stage = Stage::new(2, 2).await;
    stage.publish(0, 1..=3).await;
    let mut member = stage.join("a").await;
    member.until_read(3).await;
    member.commit().await;
    member.close().await;
    stage.publish(0, 4..=9).await;
    delete_below(&stage, &format!("{STREAM}==0"), 10).await;
    let mut member = stage.join("b").await;
    member.until_gaps(&[(0, 4, 10)]).await;
    member.close().await;
    stage.close().await;
}
