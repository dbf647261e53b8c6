//! A run of subscribers that writes its history, reads the topic without them, and is judged by what was recorded.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busline_core::{
    Bus, Delivery, Driver, Envelope, ErrorKind, HandlerError, Partition, Subscription, SubscriptionSettings,
};
use busline_history::{
    Assignment, Commit, Crash, Delivered, Fault, FaultEnd, FaultStart, GroupPlan, Handler, History, Life, Plan,
    Progress, Publication, Reached, Recorder, Report, Run, Target, Tolerance, Verdict,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::consume_stage::{GROUP, quick_retry};
use crate::faulty::{Faults, Faulty, Shape, Watch};
use crate::harness::Harness;
use crate::judged::{crc_of, dump, durability, hash, recorded};
use crate::seed::seed;
use crate::stage::{SOON, Stage, within};

/// What is published and how it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConsumeLoad {
    pub(crate) seed: u64,
    pub(crate) events: u64,
    /// Keys; low ranks are much more frequent.
    pub(crate) keys: usize,
    pub(crate) concurrency: usize,
    pub(crate) in_flight: usize,
    pub(crate) ahead: u64,
    /// All but the first come and go.
    pub(crate) members: usize,
    /// Handlers fail, panic, run out of time and are slow at random.
    pub(crate) is_disturbed: bool,
    pub(crate) loses_commits: bool,
}

impl ConsumeLoad {
    /// From `BUSLINE_SEED`, or from a seed that is printed.
    pub(crate) fn seeded() -> Self {
        let seed = seed();
        Self {
            seed,
            events: 1_200,
            keys: 16,
            concurrency: [1, 3, 8, 16][(seed % 4) as usize].max(2),
            in_flight: 1_024,
            ahead: 65_536,
            members: 1,
            is_disturbed: false,
            loses_commits: false,
        }
    }

    fn settings(&self) -> SubscriptionSettings {
        SubscriptionSettings {
            concurrency: self.concurrency,
            in_flight_records_max: self.in_flight,
            ahead_max: self.ahead,
            retry: quick_retry(8),
            handler_timeout: Duration::from_millis(100),
            commit_interval: Duration::from_millis(20),
            ..SubscriptionSettings::default()
        }
    }

    fn has_faults(&self) -> bool {
        self.is_disturbed || self.loses_commits
    }
}

/// A run that is over, with its report.
pub(crate) struct Consumed {
    load: ConsumeLoad,
    report: Report,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
}

impl Consumed {
    /// Publishes the load while it is read, drains, closes everything, reads the topic and asks the judges.
    pub(crate) async fn run(harness: &impl Harness, load: ConsumeLoad) -> Self {
        println!("{load:?}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("run.ndjson");
        let recorder = Recorder::create(&file, 0).expect("a history file");
        let stage = Stage::open(harness).await;
        let played = Played { load, recorder, topic: stage.topic.clone(), counts: Arc::default() };

        let acked = played.play(harness, &stage).await;
        let dump = dump(&stage).await;
        stage.close().await;

        let history = History::read([&file]).expect("the history that was just written");
        let plan = Plan {
            groups: vec![GroupPlan::from_beginning(GROUP, &played.topic)],
            report_lag: Duration::from_millis(100),
            gauge_bounds: [("in_flight_records".to_owned(), load.in_flight as u64)].into(),
            effective_faults_min: u64::from(load.has_faults()),
            ..Plan::default()
        };
        let report = Report::of(&Run::new(&history, &dump, &plan));
        let delivered = played.counts.delivered.load(Ordering::Relaxed);
        println!("{acked} acked, {delivered} delivered, {:?}", played.counts);
        Self { load, report, acked, delivered }
    }

    /// Fails with every violation unless the judges found none and the run was large and disturbed enough to count.
    pub(crate) fn clean(&self) {
        let violations: Vec<String> = self.report.violations.iter().take(20).map(ToString::to_string).collect();
        assert!(
            self.report.verdict == Verdict::Green,
            "seed {}: the judges say {:?} of {:?}:\n{}",
            self.load.seed,
            self.report.verdict,
            self.load,
            violations.join("\n")
        );
        assert!(self.acked >= 1_000, "only {} acked, the run is void", self.acked);
    }
}

#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    lost_commits: AtomicU64,
}

#[derive(Clone)]
struct Played {
    load: ConsumeLoad,
    recorder: Recorder,
    topic: String,
    counts: Arc<Counts>,
}

impl Played {
    /// Publishes and reads; gives how many envelopes were acked.
    async fn play(&self, harness: &impl Harness, stage: &Stage) -> u64 {
        self.fault_starts();
        let mut buses = Vec::new();
        for _ in 0..self.load.members {
            buses.push(self.bus(harness, stage).await);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut guests = JoinSet::new();
        for (number, (bus, faults)) in buses.iter().enumerate().skip(1) {
            let member = Member { played: self.clone(), bus: bus.clone(), faults: faults.clone(), number };
            guests.spawn(member.come_and_go(Arc::clone(&stop)));
        }
        let host = Member { played: self.clone(), bus: buses[0].0.clone(), faults: buses[0].1.clone(), number: 0 };
        let (subscription, name) = host.join(0).await;
        let gauge = tokio::task::JoinSet::from_iter([self.clone().watch(subscription.clone(), Arc::clone(&stop))]);

        let acked = self.publish(stage).await;
        stop.store(true, Ordering::Release);
        guests.join_all().await;
        gauge.join_all().await;
        self.recorder.life(Life::DrainBegin).expect("recorded");
        stage.drained().await;
        self.recorder.life(Life::DrainEnd { reached: Reached::End }).expect("recorded");
        host.leave(subscription, name).await;
        self.fault_stops();
        if stage.driver().capabilities().persistent {
            for (bus, _) in buses {
                within("bus.close", bus.close(SOON)).await.expect("closes");
            }
        }
        acked
    }

    /// A bus for one member: on a connection of its own where the backend is there for several, else on the stage's.
    async fn bus(&self, harness: &impl Harness, stage: &Stage) -> (Bus, Faults) {
        let driver: Arc<dyn Driver> = match stage.driver().capabilities().persistent {
            true => harness.connect().await.expect("the harness connects"),
            false => Arc::clone(stage.driver()),
        };
        let (driver, faults) = Faulty::wrap(driver, Shape::default());
        (Bus::new(driver), faults)
    }

    async fn publish(&self, stage: &Stage) -> u64 {
        let mut random = StdRng::seed_from_u64(self.load.seed);
        let publisher = stage.publisher().await;
        let mut kseqs = vec![0; self.load.keys];
        let mut observers = JoinSet::new();
        for number in 0..self.load.events {
            let rank = (random.random::<f64>().powi(3) * self.load.keys as f64) as usize;
            kseqs[rank] += 1;
            let (key, kseq): (_, u64) = (format!("k{rank}"), kseqs[rank]);
            let sent = Envelope::new(&key, "Tested", kseq).json(&format!("p:{key}:{kseq}")).expect("JSON");
            let id = sent.id.clone();
            let publication = Publication {
                id: id.clone(),
                topic: self.topic.clone(),
                key,
                publisher: "p".into(),
                kseq,
                size: sent.payload.bytes().len() as u64,
                hash: hash(&sent),
                durability: durability(publisher.offer().durability),
                deadline: Duration::from_secs(30),
            };
            self.recorder.publish_invoke(publication).expect("recorded");
            let receipt = within("room", publisher.publish(sent)).await.expect("accepted");
            self.recorder.accept(&*id).expect("recorded");
            let recorder = self.recorder.clone();
            observers.spawn(async move {
                let ack = within("an ack", receipt).await.expect("the backend works");
                recorder.publish_ok(recorded(id, &ack)).expect("recorded");
            });
            if number % 8 == 7 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        observers.join_all().await.len() as u64
    }

    /// Reads the gauge of what is held as often as it can.
    async fn watch(self, subscription: Subscription, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Acquire) {
            let value = subscription.stats().in_flight_records;
            let sampled = busline_history::Sampled { gauge: "in_flight_records".into(), value };
            self.recorder.record(busline_history::Sample::Ok(sampled)).expect("recorded");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn fault_starts(&self) {
        let start = FaultStart {
            kind: "injected".into(),
            target: self.target(),
            seed: self.load.seed,
            parameter: "handlers fail, commits are lost".into(),
            crash: Crash::Nothing,
            copies: 1,
            tolerance: Tolerance::Within,
        };
        self.recorder.fault(Fault::Start(start)).expect("recorded");
    }

    fn fault_stops(&self) {
        let bites = self.counts.failed.load(Ordering::Relaxed) + self.counts.lost_commits.load(Ordering::Relaxed);
        let proof = (bites > 0).then(|| format!("{:?}", self.counts));
        let end = FaultEnd { kind: "injected".into(), target: self.target(), proof };
        self.recorder.fault(Fault::Stop(end)).expect("recorded");
    }

    fn target(&self) -> Target {
        Target::Process(self.recorder.process())
    }
}

/// One member of the group, which may come and go.
struct Member {
    played: Played,
    bus: Bus,
    faults: Faults,
    number: usize,
}

impl Member {
    async fn come_and_go(self, stop: Arc<AtomicBool>) {
        let mut random = StdRng::seed_from_u64(self.played.load.seed ^ self.number as u64);
        let mut round = 0;
        while !stop.load(Ordering::Acquire) {
            let (subscription, name) = self.join(round).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(5..150))).await;
            self.leave(subscription, name).await;
            round += 1;
        }
    }

    async fn join(&self, round: usize) -> (Subscription, String) {
        let (played, name) = (&self.played, format!("m{}.{round}", self.number));
        let open = Life::Open { subject: name.clone(), mono_shift_ns: 0, wall_shift_ns: 0 };
        played.recorder.life(open).expect("recorded");
        self.faults.watch_sources(Arc::new(Watcher {
            played: played.clone(),
            member: name.clone(),
            faults: self.faults.clone(),
            random: Mutex::new(StdRng::seed_from_u64(played.load.seed ^ crc_of(&name))),
        }));
        let (own, member) = (played.clone(), name.clone());
        let handler = move |delivery: Delivery| {
            let (played, member) = (own.clone(), member.clone());
            async move { Turn::begin(&played, &member, &delivery).play(&delivery).await }
        };
        let builder = self.bus.subscribe(&played.topic, GROUP).settings(played.load.settings());
        (within("subscribe", builder.handle(handler)).await.expect("subscribes"), name)
    }

    async fn leave(&self, subscription: Subscription, name: String) {
        let recorder = &self.played.recorder;
        recorder.life(Life::CloseBegin { subject: name.clone(), deadline: SOON }).expect("recorded");
        let left = within("close", subscription.close(SOON)).await.expect("closes from outside");
        assert_eq!(left.left, Vec::<String>::new());
        recorder.life(Life::CloseOk { subject: name, result: format!("{left:?}") }).expect("recorded");
    }
}

/// One run of a handler; its end is recorded also if it is dropped.
struct Turn {
    played: Played,
    delivery: busline_history::Delivery,
    began: tokio::time::Instant,
    is_over: bool,
}

impl Turn {
    fn begin(played: &Played, member: &str, delivery: &Delivery) -> Self {
        let recorded = busline_history::Delivery {
            group: GROUP.into(),
            member: member.into(),
            id: delivery.envelope.id.clone(),
            key: delivery.envelope.aggregate_id.clone(),
            topic: played.topic.clone(),
            partition: delivery.partition.0,
            offset: delivery.offset.0,
            attempt: delivery.attempt,
        };
        let delivered = Delivered { delivery: recorded.clone(), hash: hash(&delivery.envelope) };
        played.recorder.deliver(delivered).expect("recorded");
        played.recorder.handler(Handler::Start(recorded.clone())).expect("recorded");
        played.counts.delivered.fetch_add(1, Ordering::Relaxed);
        Self { played: played.clone(), delivery: recorded, began: tokio::time::Instant::now(), is_over: false }
    }

    async fn play(mut self, delivery: &Delivery) -> Result<(), HandlerError> {
        let load = self.played.load;
        let dice = crc_of(&format!("{}:{}:{}", load.seed, delivery.envelope.id, delivery.attempt)) % 100;
        if load.is_disturbed && delivery.attempt < 4 {
            match dice {
                0..6 => {
                    self.over(Handler::Err);
                    return Err(HandlerError::from("not yet"));
                }
                6..9 => std::panic::resume_unwind(Box::new("a defect")),
                9..11 => std::future::pending().await,
                _ => {}
            }
        }
        match dice {
            11..20 => tokio::time::sleep(Duration::from_millis(dice % 4)).await,
            20..60 => tokio::task::yield_now().await,
            _ => {}
        }
        self.over(Handler::Ok);
        Ok(())
    }

    fn over(&mut self, end: fn(busline_history::Delivery) -> Handler) {
        self.is_over = true;
        let end = end(self.delivery.clone());
        if !matches!(end, Handler::Ok(_)) {
            self.played.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.played.recorder.handler(end).expect("recorded");
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // The engine's clock began before the handler did, by as much as the machine was busy.
        let is_overdue = self.began.elapsed() >= self.played.load.settings().handler_timeout.mul_f32(0.7);
        match (std::thread::panicking(), is_overdue) {
            (true, _) => self.over(Handler::Panic),
            (false, true) => self.over(Handler::Timeout),
            (false, false) => self.over(Handler::Cancelled),
        }
    }
}

/// Records what a source gives and takes.
struct Watcher {
    played: Played,
    member: String,
    faults: Faults,
    random: Mutex<StdRng>,
}

impl Watcher {
    fn assignment(&self, partition: Partition, generation: u64) -> Assignment {
        Assignment {
            group: GROUP.into(),
            member: self.member.clone(),
            topic: self.played.topic.clone(),
            partitions: vec![partition.0],
            generation,
        }
    }

    fn progress(&self, commit: &busline_core::Commit) -> Progress {
        Progress {
            group: GROUP.into(),
            member: self.member.clone(),
            topic: self.played.topic.clone(),
            partition: commit.partition.0,
            offset: commit.offset.0,
        }
    }
}

impl Watch for Watcher {
    fn assigned(&self, partition: Partition, generation: u64) {
        self.played.recorder.assign(self.assignment(partition, generation)).expect("recorded");
    }

    fn revoked(&self, partition: Partition, generation: u64) {
        self.played.recorder.revoke(self.assignment(partition, generation)).expect("recorded");
    }

    fn committing(&self, commits: &[busline_core::Commit]) {
        if self.played.load.loses_commits {
            match self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..4) {
                0 => self.faults.lose_commits(1),
                1 => self.faults.refuse_commits(1),
                _ => {}
            }
        }
        for commit in commits {
            self.played.recorder.commit(Commit::Invoke(self.progress(commit))).expect("recorded");
        }
    }

    fn committed(&self, commits: &[busline_core::Commit], outcomes: &[busline_core::Result<()>]) {
        for (commit, outcome) in commits.iter().zip(outcomes) {
            let progress = self.progress(commit);
            let end = match outcome {
                Ok(()) => Commit::Ok(progress),
                Err(error) if error.kind() == ErrorKind::Fenced => Commit::Fail(progress),
                Err(_) => {
                    self.played.counts.lost_commits.fetch_add(1, Ordering::Relaxed);
                    Commit::Info(progress)
                }
            };
            self.played.recorder.commit(end).expect("recorded");
        }
    }
}
