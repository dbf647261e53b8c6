//! `busline sub --group`: one member of a group, which prints each event, or runs a program for it.
//!
//! ```text
//!  workers: handle ─ line ─→ Member::run (the command's thread) ─→ stdout, flushed
//!              ↑                    │
//!              └───── written ──────┘  only then is the event handled, and its progress may be committed
//! ```
//! A slow reader of stdout makes handlers wait, and blocks no thread of the runtime.

use std::sync::Arc;
use std::time::Duration;

use busline::{
    Blocked, Bus, Delivery, Error, ErrorKind, GroupName, Handler, HandlerError, Lag, Left, Offset, Partition,
    Provision, Result, Retry, Start, Subscription, SubscriptionSettings, TopicName, topic_not_found,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Ended;
use super::job::close;
use super::subscribe::{Content, RecordView};
use crate::args::Subscribe;
use crate::event::{HeaderText, one_line};
use crate::exec::{Exec, Failure};
use crate::group_history::GroupHistory;
use crate::interrupt::Stop;
use crate::output::{Encoder, Form, Output};
use crate::target::Target;
use crate::watched::{Step, Watch, Watched};

/// Longest time for which an event waits for the reader of stdout; then its attempt has failed.
pub(crate) const READER_WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Pauses between two looks at what has changed; each doubles the one before.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(100);

/// Time that what runs gets to end at the close, on top of the longest run of a program.
pub(crate) const CLOSE_EXTRA: Duration = Duration::from_secs(10);

/// Lines written between two flushes at most.
pub(crate) const LINES_MAX: usize = 256;

pub(crate) struct Request {
    bus: Target,
    topic: TopicName,
    group: GroupName,
    until_end: bool,
    records_max: Option<u64>,
    settings: SubscriptionSettings,
    exec: Option<Exec>,
}

impl Request {
    /// # Errors
    /// `Invalid/…` for names and for settings out of range.
    pub(crate) fn new(args: Subscribe, bus: Target) -> Result<Self> {
        let member = args.member;
        let settings = SubscriptionSettings {
            concurrency: member.concurrency,
            retry: Retry::exponential(member.attempts),
            parking: member.parking,
            lease: member.lease,
            start: args.from,
            handler_timeout: member.timeout,
            ..SubscriptionSettings::default()
        };
        settings.validate().map_err(|error| error.at("sub", &args.topic))?;
        Ok(Self {
            bus,
            topic: TopicName::new(&args.topic)?,
            group: GroupName::new(&member.group.unwrap_or_default())?,
            until_end: args.until_end,
            records_max: args.count,
            exec: member.exec.map(|command| Exec { command, timeout: member.timeout }),
            // A program has its own time; the reader of stdout may take longer without an event having failed.
            settings: SubscriptionSettings { handler_timeout: READER_WAIT_MAX, ..settings },
        })
    }
}

pub(crate) async fn run(request: Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    let Some(bus) = request.bus.connect_existing().await? else {
        return Err(topic_not_found(&request.topic));
    };
    let history = GroupHistory::start(&request.group, &request.topic)?;
    let watch = Arc::new(Watch::new(request.topic.clone(), history, request.records_max));
    let bus = Bus::new(Arc::new(Watched::new(Arc::clone(bus.driver()), Arc::clone(&watch))));
    let outcome = deliver(&bus, request, watch, output, stop).await;
    close(&bus, outcome).await
}

async fn deliver(bus: &Bus, request: Request, watch: Arc<Watch>, output: &mut Output, stop: Stop) -> Result<Ended> {
    let Request { topic, group, settings, exec, .. } = request;
    bus.driver().topic(&topic).await?;
    if let Start::Offsets(offsets) = &settings.start {
        for (partition, _) in offsets {
            bus.driver().bounds(&topic, *partition).await?;
        }
    }
    let lag = bus.driver().lag(&group, &topic).await?;
    let ends = request.until_end.then(|| lag.iter().map(|lag| (lag.partition, lag.end)).collect());
    if request.records_max == Some(0) {
        return Ok(Ended::Done);
    }
    let close_max = CLOSE_EXTRA + exec.as_ref().map_or(Duration::ZERO, |exec| exec.timeout.mul_f32(1.2));
    let (sender, said) = mpsc::channel(settings.concurrency);
    let deliver = Deliver {
        encoder: output.encoder(),
        exec,
        attempts_max: settings.retry.attempts_max,
        watch: Arc::clone(&watch),
        said: sender.clone(),
    };
    let open = bus.subscribe(topic.as_str(), group.as_str()).provision(Provision::Skip).settings(settings);
    let member = Member {
        bus,
        subscription: open.handle(deliver).await?,
        topic,
        group,
        ends,
        lines: Lines { output, left: request.records_max, broken: None },
        watch,
        told: Told::default(),
        stop,
    };
    member.run(said, close_max).await
}

/// What a handler has for the command's thread.
enum Said {
    Line(Line),
    Note(String),
    /// No event can be handled any more.
    Unable(Error),
}

/// An event's line; whoever waits for it has gone if it is closed.
struct Line {
    bytes: Vec<u8>,
    written: oneshot::Sender<()>,
}

/// Handles an event: runs the program, if there is one, and has the line written.
struct Deliver {
    encoder: Encoder,
    exec: Option<Exec>,
    attempts_max: u32,
    watch: Arc<Watch>,
    said: mpsc::Sender<Said>,
}

impl Handler for Deliver {
    async fn handle(&self, delivery: Delivery) -> std::result::Result<(), HandlerError> {
        let run = Run::begin(&self.watch, delivery)?;
        let outcome = self.deliver(&run.delivery).await;
        run.end(match &outcome {
            Ok(()) => Step::Handled,
            Err(Failure::TimedOut) => Step::TimedOut,
            Err(_) => Step::Failed,
        })?;
        outcome.map_err(|failure| failure.verdict())
    }
}

impl Deliver {
    async fn deliver(&self, delivery: &Delivery) -> std::result::Result<(), Failure> {
        if let Some(exec) = &self.exec
            && let Err(failure) = self.execute(exec, delivery).await
        {
            self.tell(delivery, &failure).await;
            return Err(failure);
        }
        let bytes = self.line(delivery).map_err(Failure::Unable)?;
        let (written, is_written) = oneshot::channel();
        let line = Said::Line(Line { bytes, written });
        self.said.send(line).await.map_err(|_| Failure::Unable(not_written()))?;
        is_written.await.map_err(|_| Failure::Unable(not_written()))
    }

    async fn execute(&self, exec: &Exec, delivery: &Delivery) -> std::result::Result<(), Failure> {
        let envelope = one_line(&delivery.envelope, delivery.topic()).map_err(Failure::Unable)?;
        exec.run(delivery, format!("{envelope}\n").as_bytes()).await
    }

    fn line(&self, delivery: &Delivery) -> Result<Vec<u8>> {
        let Delivery { envelope, partition, offset, attempt, .. } = delivery;
        self.encoder.encode(&RecordView {
            topic: delivery.topic().as_str(),
            partition: *partition,
            offset: *offset,
            attempt: *attempt,
            headers: envelope.headers.iter().map(HeaderText::of).collect(),
            content: match self.encoder.form {
                Form::Json => Content::Json { envelope: one_line(envelope, delivery.topic())? },
                Form::Text => Content::Text(Box::new(envelope.clone())),
            },
        })
    }

    async fn tell(&self, delivery: &Delivery, failure: &Failure) {
        let Delivery { envelope, partition, offset, attempt, .. } = delivery;
        let why = match failure {
            Failure::Exit(status) => status.to_string(),
            Failure::TimedOut => "killed, it ran too long".into(),
            Failure::Unable(error) => return drop(self.said.send(Said::Unable(error.clone())).await),
        };
        let (topic, key, max) = (delivery.topic(), &envelope.aggregate_id, self.attempts_max);
        let note = format!("{topic}/{partition}/{offset} key {key}: attempt {attempt} of {max} failed: {why}");
        drop(self.said.send(Said::Note(note)).await);
    }
}

fn not_written() -> Error {
    Error::new(ErrorKind::Closed, "Output").cause("stdout takes no more").next("read all of it")
}

/// One run of the handler, in the history; one that is dropped before its end was cancelled.
struct Run<'a> {
    watch: &'a Watch,
    delivery: Delivery,
    is_open: bool,
}

impl<'a> Run<'a> {
    fn begin(watch: &'a Watch, delivery: Delivery) -> Result<Self> {
        watch.step(&delivery, Step::Begun)?;
        Ok(Self { watch, delivery, is_open: true })
    }

    fn end(mut self, step: Step) -> Result<()> {
        self.is_open = false;
        self.watch.step(&self.delivery, step)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // Nobody is left to be told; the history then lacks the end of a run that counts for nothing.
            drop(self.watch.step(&self.delivery, Step::Cancelled));
        }
    }
}

/// Writes lines, and says so to those who wait for it.
struct Lines<'a> {
    output: &'a mut Output,
    /// Lines that may still be written.
    left: Option<u64>,
    /// Why no line is written any more, other than a broken pipe.
    broken: Option<Error>,
}

impl Lines<'_> {
    /// Writes what has come together and flushes it; only then are the events handled.
    fn write(&mut self, said: &mut Vec<Said>) {
        let mut waiting = Vec::new();
        for said in said.drain(..) {
            match said {
                Said::Line(line) => self.write_line(line, &mut waiting),
                Said::Note(note) => self.output.note_or(&note, "further failed attempts are not shown"),
                Said::Unable(error) => drop(self.broken.get_or_insert(error)),
            }
        }
        if waiting.is_empty() {
            return;
        }
        if let Err(error) = self.output.flush() {
            self.broken.get_or_insert(error);
        }
        // Of lines that are lost nobody knows how far they came, so their events are not handled.
        if self.takes_more() {
            for written in waiting {
                // Whoever was broken off in this moment has its event again later.
                let _ = written.send(());
            }
        }
    }

    fn write_line(&mut self, line: Line, waiting: &mut Vec<oneshot::Sender<()>>) {
        // An event that was broken off meanwhile comes again, here or elsewhere.
        if line.written.is_closed() || self.left == Some(0) || !self.takes_more() {
            return;
        }
        if let Err(error) = self.output.raw(&line.bytes) {
            self.broken.get_or_insert(error);
            return;
        }
        self.left = self.left.map(|left| left - 1);
        waiting.push(line.written);
    }

    fn takes_more(&self) -> bool {
        self.broken.is_none() && !self.output.is_gone()
    }

    fn is_finished(&self) -> bool {
        self.left == Some(0) || !self.takes_more()
    }
}

/// Time after which no failed attempt is made again that could be: longer than the longest pause between two.
const REST: Duration = Duration::from_secs(3);

/// What holds the group back is said of this many records at most.
const BLOCKED_TOLD_MAX: usize = 20;

/// What was said on stderr already.
#[derive(Default)]
struct Told {
    blocked: Vec<Blocked>,
    trouble: Trouble,
}

/// How long something has kept the source from moving.
#[derive(Default)]
enum Trouble {
    #[default]
    None,
    Since(Instant),
    Told,
}

/// Time that trouble lasts before it is told.
const TROUBLE_TOLD_AFTER: Duration = Duration::from_secs(1);

/// The member at work.
struct Member<'a> {
    bus: &'a Bus,
    subscription: Subscription,
    topic: TopicName,
    group: GroupName,
    /// Up to where the group is to come.
    ends: Option<Vec<(Partition, Offset)>>,
    lines: Lines<'a>,
    watch: Arc<Watch>,
    told: Told,
    stop: Stop,
}

impl Member<'_> {
    async fn run(mut self, mut said: mpsc::Receiver<Said>, close_max: Duration) -> Result<Ended> {
        let outcome = self.work(&mut said).await;
        let left = self.leave(&mut said, close_max).await;
        self.tell();
        outcome?;
        let left = left?;
        if let Some(error) = self.lines.broken.take() {
            return Err(error);
        }
        match self.watch.ended() {
            Some(error) => Err(error),
            None => Ok(self.sum_up(&left)),
        }
    }

    /// Writes lines until there is a reason to end.
    async fn work(&mut self, said: &mut mpsc::Receiver<Said>) -> Result<()> {
        let (mut batch, mut pause) = (Vec::new(), LOOK_MIN);
        let mut next_look = Instant::now() + pause;
        loop {
            tokio::select! {
                _ = said.recv_many(&mut batch, LINES_MAX) => {
                    self.lines.write(&mut batch);
                    if self.lines.is_finished() {
                        return Ok(());
                    }
                }
                () = self.stop.requested() => return Ok(()),
                () = tokio::time::sleep_until(next_look) => {
                    if self.look().await? {
                        return Ok(());
                    }
                    pause = (pause * 2).min(LOOK_MAX);
                    next_look = Instant::now() + pause;
                }
            }
        }
    }

    /// Leaves the group. Handlers that run meanwhile still have their lines written.
    async fn leave(&mut self, said: &mut mpsc::Receiver<Said>, close_max: Duration) -> Result<Left> {
        let subscription = self.subscription.clone();
        let close = subscription.close(close_max);
        tokio::pin!(close);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                left = &mut close => {
                    return left;
                }
                _ = said.recv_many(&mut batch, LINES_MAX), if !said.is_closed() => self.lines.write(&mut batch),
            }
        }
    }

    /// Tells what has changed; gives whether the group has come to the end.
    async fn look(&mut self) -> Result<bool> {
        self.tell();
        if let Some(error) = self.watch.ended() {
            return Err(error);
        }
        let is_at_end = match self.bus.driver().lag(&self.group, &self.topic).await {
            Ok(lag) => self.ends.as_ref().is_some_and(|ends| is_at_end(ends, &lag)),
            // The backend may answer at the next look.
            Err(error) if error.is_retryable() => false,
            Err(error) => return Err(error),
        };
        if is_at_end {
            return Ok(true);
        }
        self.check_blocked()?;
        Ok(false)
    }

    fn tell(&mut self) {
        for note in self.watch.take_notes() {
            self.lines.output.say(&note);
        }
        self.tell_trouble();
    }

    /// Says what keeps the source from moving, once, and only if it lasts: members of one file wait for each other all the
    /// time.
    fn tell_trouble(&mut self) {
        let Some(trouble) = self.watch.trouble() else {
            self.told.trouble = Trouble::None;
            return;
        };
        match self.told.trouble {
            Trouble::None => self.told.trouble = Trouble::Since(Instant::now()),
            Trouble::Since(since) if since.elapsed() >= TROUBLE_TOLD_AFTER => {
                self.lines.output.say(&format!("{}: {trouble}", self.topic));
                self.told.trouble = Trouble::Told;
            }
            Trouble::Since(_) | Trouble::Told => {}
        }
    }

    /// Says what holds the group back. Once nothing else is at work, whoever waits for an end or a count waits in vain.
    fn check_blocked(&mut self) -> Result<()> {
        let mut blocked = self.subscription.blocked();
        let in_the_way = blocked.iter().find(|blocked| self.is_in_the_way(blocked)).cloned();
        let in_the_way = in_the_way.filter(|_| self.watch.rests_for(REST));
        blocked.truncate(BLOCKED_TOLD_MAX);
        for new in blocked.iter().filter(|blocked| !self.told.blocked.contains(blocked)) {
            self.lines.output.say(&new.to_string());
        }
        self.told.blocked = blocked;
        in_the_way.map_or(Ok(()), |blocked| {
            Err(Error::new(ErrorKind::Unavailable, "Blocked")
                .cause(blocked.to_string())
                .next("mend what makes it fail and run this again, or let it be parked")
                .at("sub", format!("{} of group {}", self.topic, self.group)))
        })
    }

    fn is_in_the_way(&self, blocked: &Blocked) -> bool {
        let before_end = self.ends.as_ref().is_some_and(|ends| {
            ends.iter().any(|(partition, end)| {
                *partition == blocked.partition && blocked.offset.is_none_or(|offset| offset < *end)
            })
        });
        before_end || self.lines.left.is_some()
    }

    fn sum_up(&self, left: &Left) -> Ended {
        left.left.iter().for_each(|left| self.lines.output.say(&format!("not ended in time: {left}")));
        if left.left.is_empty() { Ended::Done } else { Ended::SomeFailed }
    }
}

/// Whether the group has finished every partition up to its end. What is not there to be read needs no finishing.
fn is_at_end(ends: &[(Partition, Offset)], lag: &[Lag]) -> bool {
    ends.iter()
        .zip(lag)
        .all(|((_, end), lag)| lag.committed.is_some_and(|committed| committed >= *end || lag.records == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ends(committed: Option<u64>, records: u64, expected: bool) {
        let lag = Lag {
            partition: Partition(0),
            committed: committed.map(Offset),
            end: Offset(12),
            records,
            deleted: Some(0),
        };
        assert_eq!(is_at_end(&[(Partition(0), Offset(10))], &[lag]), expected, "{committed:?} {records}");
    }

    #[test]
    fn the_end_is_that_of_the_start_and_numbers_without_records_do_not_hold_it_back() {
        ends(None, 2, false);
        ends(None, 0, false);
        ends(Some(9), 3, false);
        ends(Some(10), 2, true);
        ends(Some(7), 0, true);
    }
}
