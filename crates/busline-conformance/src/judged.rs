//! A run that writes its history, reads the topic without the publisher, and is judged by what was recorded.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use busline_core::{Ack, Durability, Envelope, Medium, Publisher, Receipt};
use busline_history as history;
use busline_history::{
    Acked, ContentHash, Crash, Dump, Fault, FaultEnd, FaultStart, History, Life, Plan, Publication, Recorder, Report,
    Row, Run, Target, Tolerance, Verdict,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::failures::Failures;
use crate::faulty::{Faults, Shape};
use crate::harness::Harness;
use crate::seed::seed;
use crate::stage::{SOON, Stage, within};
use crate::stored::Stored;

/// What is published: `publishers` × `tasks` × `per_task` envelopes over skewed keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) publishers: usize,
    /// Tasks of one publisher; each has keys of its own, so that their order is known.
    pub(crate) tasks: usize,
    pub(crate) per_task: u64,
    /// Acked by all together below which the tasks go on, up to [`PATIENCE`] times their share: how much of a burst an
    /// injected fault takes along is a matter of luck, and a run that was mostly refused proves little.
    pub(crate) acked_min: u64,
    /// Keys of one task; low ranks are much more frequent.
    pub(crate) keys: usize,
    pub(crate) window: usize,
    pub(crate) deadline: Duration,
    pub(crate) shape: Shape,
}

/// How many times its share a task publishes at most.
const PATIENCE: u64 = 20;

/// Whether the sinks misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chaos {
    None,
    /// Batches are held, refused, forgotten and left without answer at random; once for longer than the deadline.
    Random,
}

impl Load {
    /// From `BUSLINE_SEED`, or from a seed that is printed.
    pub(crate) fn seeded() -> Self {
        let seed = seed();
        let window = [1, 7, 256, 8_192][(seed % 4) as usize];
        Self {
            seed,
            publishers: 1,
            tasks: 1,
            per_task: 100,
            acked_min: 0,
            keys: 32,
            window,
            deadline: Duration::from_millis(250),
            shape: Shape::default(),
        }
    }
}

/// A run that is over, with its report.
pub(crate) struct Judged {
    load: Load,
    report: Report,
    acked: u64,
}

impl Judged {
    /// Publishes the load, closes everything, reads the topic and asks the judges.
    pub(crate) async fn run(harness: &impl Harness, load: Load, chaos: Chaos) -> Self {
        println!("{load:?}, chaos {chaos:?}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("run.ndjson");
        let recorder = Recorder::create(&file, 0).expect("a history file");
        let (stage, faults) = Stage::shaped(harness, load.shape).await;

        let acked = play(&stage, &faults, load, chaos, &recorder).await;
        let dump = dump(&stage).await;
        stage.close().await;

        let history = History::read([&file]).expect("the history that was just written");
        let plan = plan(load, chaos);
        let report = Report::of(&Run::new(&history, &dump, &plan));
        Self { load, report, acked }
    }

    pub(crate) fn acked(&self) -> u64 {
        self.acked
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
    }
}

fn plan(load: Load, chaos: Chaos) -> Plan {
    Plan {
        // Outcomes are written by tasks of their own, which a loaded machine runs late. What that forgives, the senders
        // check exactly (see `Key::check`), and a case of its own checks the deadline.
        report_lag: Duration::from_secs(5),
        outcome_grace: Duration::from_secs(3),
        acked_min: load.acked_min,
        effective_faults_min: u64::from(chaos == Chaos::Random),
        ..Plan::default()
    }
}

/// Runs all publishers to their end; gives how many envelopes were acked.
async fn play(stage: &Stage, faults: &Faults, load: Load, chaos: Chaos, recorder: &Recorder) -> u64 {
    let stop = Arc::new(AtomicBool::new(false));
    let (calm, _) = watch::channel(chaos == Chaos::None);
    let mut disturber = JoinSet::new();
    if chaos == Chaos::Random {
        disturber.spawn(disturb(faults.clone(), load, recorder.clone(), calm.clone(), Arc::clone(&stop)));
    }
    let mut publishers = Vec::new();
    let mut senders = JoinSet::new();
    for number in 0..load.publishers {
        let played = Played::open(stage, load, format!("p{number}"), recorder).await;
        for task in 0..load.tasks {
            senders.spawn(played.sender(load, task).run(load, calm.subscribe()));
        }
        publishers.push(played);
    }
    let lines = senders.join_all().await;
    stop.store(true, Ordering::Release);
    disturber.join_all().await;
    let mut acked = 0;
    for played in publishers {
        acked += played.end().await;
    }
    lines.iter().flatten().for_each(|key| key.check(load.seed));
    acked
}

/// One publisher of a run.
struct Played {
    name: String,
    publisher: Publisher,
    failures: Failures,
    recorder: Recorder,
}

impl Played {
    async fn open(stage: &Stage, load: Load, name: String, recorder: &Recorder) -> Self {
        let failures = Failures::new();
        let opened = stage.builder().window(load.window, 8 << 20).deadline(load.deadline);
        let publisher = opened.on_failure(failures.handler()).open().await.expect("a publisher opens");
        let open = Life::Open { subject: name.clone(), mono_shift_ns: 0, wall_shift_ns: 0 };
        recorder.life(open).expect("recorded");
        Self { name, publisher, failures, recorder: recorder.clone() }
    }

    fn sender(&self, load: Load, task: usize) -> Sender {
        let stream = load.seed ^ crc_of(&self.name) ^ task as u64;
        Sender {
            name: self.name.clone(),
            task,
            publisher: self.publisher.clone(),
            recorder: self.recorder.actor(format!("{}-{task}", self.name)),
            random: StdRng::seed_from_u64(stream),
            kseqs: vec![0; load.keys],
        }
    }

    /// Closes the publisher and compares what it says with what its handler was given.
    async fn end(self) -> u64 {
        within("flush", self.publisher.flush()).await;
        let begin = Life::CloseBegin { subject: self.name.clone(), deadline: SOON };
        self.recorder.life(begin).expect("recorded");
        let closed = within("close", self.publisher.close(SOON)).await;
        let end = Life::CloseOk { subject: self.name.clone(), result: format!("{closed:?}") };
        self.recorder.life(end).expect("recorded");

        let stats = closed.stats;
        let sum = stats.acked + stats.failed + stats.indeterminate;
        assert_eq!(stats.accepted, sum, "every accepted envelope has exactly one outcome: {stats:?}");
        let mut ids = self.failures.ids();
        ids.sort();
        let given = ids.len() as u64;
        ids.dedup();
        assert_eq!(ids.len() as u64, given, "the failure handler was given an envelope twice");
        assert_eq!(given, stats.failed + stats.indeterminate, "the failure handler gets each that was not acked");
        stats.acked
    }
}

/// The envelopes of one key by one task, in the order of acceptance.
#[derive(Default)]
struct Key(Vec<Sent>);

struct Sent {
    id: String,
    receipt: Arc<Mutex<Receipt>>,
    /// Those before it that certainly had no outcome when it was accepted.
    open_before: Vec<usize>,
}

impl Key {
    /// An envelope was accepted. Whatever has no outcome now had none when that happened.
    fn accepted(&mut self, id: String, receipt: Receipt) -> Arc<Mutex<Receipt>> {
        let is_open = |(place, sent): (usize, &Sent)| (!lock(&sent.receipt).is_settled()).then_some(place);
        let open_before = self.0.iter().enumerate().filter_map(is_open).collect();
        let receipt = Arc::new(Mutex::new(receipt));
        self.0.push(Sent { id, receipt: Arc::clone(&receipt), open_before });
        receipt
    }

    /// Of those accepted before the outcome of one that was not acked, none is acked (P1).
    fn check(&self, seed: u64) {
        let acked: Vec<bool> = self.0.iter().map(Sent::is_acked).collect();
        for (place, sent) in self.0.iter().enumerate().filter(|(place, _)| acked[*place]) {
            if let Some(hole) = sent.open_before.iter().find(|before| !acked[**before]) {
                let first = &self.0[*hole];
                panic!("seed {seed}: {} ({place}) was acked behind {} ({hole}), which was not", sent.id, first.id);
            }
        }
    }
}

impl Sent {
    fn is_acked(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(Pin::new(&mut *lock(&self.receipt)).poll(&mut context), Poll::Ready(Ok(_)))
    }
}

fn lock(receipt: &Mutex<Receipt>) -> MutexGuard<'_, Receipt> {
    receipt.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One task that publishes.
struct Sender {
    name: String,
    task: usize,
    publisher: Publisher,
    recorder: Recorder,
    random: StdRng,
    kseqs: Vec<u64>,
}

impl Sender {
    async fn run(mut self, load: Load, mut calm: watch::Receiver<bool>) -> Vec<Key> {
        let mut keys: Vec<Key> = std::iter::repeat_with(Key::default).take(load.keys).collect();
        let mut observers = JoinSet::new();
        let acked_share = load.acked_min.div_ceil(load.publishers as u64);
        for number in 0.. {
            if number >= load.per_task {
                if number >= load.per_task * PATIENCE || self.publisher.stats().acked >= acked_share {
                    break;
                }
                // No second burst: the faults get a part of what follows, not all of it at once.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            // A large window would take the whole load while the first fault keeps every batch.
            if number == load.per_task / 5 {
                calm.wait_for(|calm| *calm).await.expect("the sender lives");
            }
            // Cubed, so that the first eighth of the keys gets half of the load.
            let rank = (self.random.random::<f64>().powi(3) * load.keys as f64) as usize;
            let (id, receipt) = self.publish(rank, load.deadline).await;
            let receipt = keys[rank].accepted(id.clone(), receipt);
            observers.spawn(observe(self.recorder.clone(), id, receipt));
            if self.random.random_ratio(1, 5) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        drop(self.publisher);
        observers.join_all().await;
        keys
    }

    async fn publish(&mut self, rank: usize, deadline: Duration) -> (String, Receipt) {
        self.kseqs[rank] += 1;
        let (key, kseq) = (format!("t{}-k{rank}", self.task), self.kseqs[rank]);
        let sent = Envelope::new(&key, "Tested", kseq).json(&format!("{}:{key}:{kseq}", self.name)).expect("JSON");
        let id = sent.id.clone();
        let publication = Publication {
            id: id.clone(),
            topic: self.publisher.topic().name.to_string(),
            key,
            publisher: self.name.clone(),
            kseq,
            size: sent.payload.bytes().len() as u64,
            hash: hash(&sent),
            durability: durability(self.publisher.offer().durability),
            deadline,
        };
        self.recorder.publish_invoke(publication).expect("recorded");
        match within("room in the window", self.publisher.publish(sent)).await {
            Ok(receipt) => {
                self.recorder.accept(&*id).expect("recorded");
                (id, receipt)
            }
            Err(error) => panic!("a legal envelope is accepted while the publisher is open: {error}"),
        }
    }
}

async fn observe(recorder: Recorder, id: String, receipt: Arc<Mutex<Receipt>>) {
    let outcome = poll_fn(|context| Pin::new(&mut *lock(&receipt)).poll(context));
    match within("an outcome", outcome).await {
        Ok(ack) => recorder.publish_ok(recorded(id, &ack)),
        Err(error) if error.is_definite() => recorder.publish_fail(id, error.to_string()),
        Err(error) => recorder.publish_info(id, error.to_string()),
    }
    .expect("recorded");
}

/// Orders faults at random until told to stop, and heals everything at the end.
async fn disturb(faults: Faults, load: Load, recorder: Recorder, calm: watch::Sender<bool>, stop: Arc<AtomicBool>) {
    let mut random = StdRng::seed_from_u64(load.seed);
    let target = Target::Broker("faulty sink".into());
    let start = FaultStart {
        kind: "injected".into(),
        target: target.clone(),
        seed: load.seed,
        parameter: "hold, refuse, forget, lose answers".into(),
        crash: Crash::Nothing,
        copies: 1,
        tolerance: Tolerance::Within,
    };
    recorder.fault(Fault::Start(start)).expect("recorded");
    faults.hold();
    // Longer than the deadline and its grace.
    tokio::time::sleep(load.deadline + Duration::from_millis(500)).await;
    faults.release();
    calm.send_replace(true);
    let mut orders = 0;
    while !stop.load(Ordering::Acquire) {
        order(&faults, &mut random);
        orders += 1;
        tokio::time::sleep(Duration::from_millis(random.random_range(1..4))).await;
    }
    faults.forgive();
    faults.release();
    let end = FaultEnd { kind: "injected".into(), target, proof: Some(format!("{orders} orders")) };
    recorder.fault(Fault::Stop(end)).expect("recorded");
}

fn order(faults: &Faults, random: &mut StdRng) {
    match random.random_range(0..18) {
        0 | 1 => faults.hold(),
        2 => faults.release_next(1),
        3 => faults.fail_next(1),
        4 => faults.swallow_next(1),
        5 => faults.forget_next(1),
        _ => faults.release(),
    }
}

/// Reads the topic through the driver alone.
pub(crate) async fn dump(stage: &Stage) -> Dump {
    let stored = stage.stored().await;
    let rows: Vec<Row> = stored.records().iter().map(|record| row(&stage.topic, &stored, record)).collect();
    Dump::of([stage.topic.clone()], rows)
}

fn row(topic: &str, stored: &Stored, record: &busline_core::Record) -> Row {
    let envelope = stored.envelope(record);
    let text: String = envelope.payload.parse().expect("the payload that was published");
    let (publisher, rest) = text.split_once(':').expect("publisher:key:kseq");
    let (_, kseq) = rest.rsplit_once(':').expect("publisher:key:kseq");
    Row {
        topic: topic.into(),
        partition: record.partition.0,
        offset: record.offset.0,
        key: String::from_utf8_lossy(&record.key).into_owned(),
        publisher: publisher.into(),
        kseq: kseq.parse().expect("a number"),
        hash: hash(&envelope),
        id: Some(envelope.id),
        time_ns: None,
    }
}

pub(crate) fn recorded(id: String, ack: &Ack) -> Acked {
    Acked {
        id,
        partition: ack.partition.0,
        offset: ack.offset.map(|offset| offset.0),
        duplicate: ack.duplicate,
        durability: durability(ack.durability),
    }
}

pub(crate) fn durability(of: Durability) -> history::Durability {
    let medium = match of.medium {
        Medium::Memory => history::Medium::Memory,
        Medium::Written => history::Medium::Written,
        Medium::Synced => history::Medium::Synced,
    };
    history::Durability { medium, copies: of.copies }
}

pub(crate) fn hash(envelope: &Envelope) -> ContentHash {
    let headers = envelope.headers.iter().map(|header| (header.name.as_str(), &*header.value));
    ContentHash::of(envelope.payload.bytes(), headers)
}

pub(crate) fn crc_of(text: &str) -> u64 {
    u64::from(busline_core::checksum(text.as_bytes(), b"", b""))
}
