//! `busline parked`: list, show, replay and discard.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use busline::{
    Bus, Delivery, Diagnosis, Error, ErrorKind, Extent, GroupName, Handler, HandlerError, Offset, Parked, ParkedFilter,
    ParkedQueue, ParkedRecord, Partition, ReplayOptions, ReplayReport, Result, Retry, TopicName,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Ended;
use super::job::close;
use crate::args;
use crate::event::{HeaderText, one_line};
use crate::exec::{Exec, Failure};
use crate::group_history::GroupHistory;
use crate::interrupt::Stop;
use crate::output::Output;
use crate::printable::printable;
use crate::target::Target;
use crate::watched::Step;

pub(crate) struct Request {
    bus: Target,
    group: GroupName,
    topic: Option<TopicName>,
    filter: ParkedFilter,
    action: Action,
}

enum Action {
    List,
    Show,
    /// Say what a replay or a discard would concern.
    Look {
        extent: Extent,
        verb: &'static str,
    },
    Replay {
        options: Box<ReplayOptions>,
        exec: Exec,
    },
    Discard {
        extent: Extent,
        reason: String,
    },
}

impl Request {
    /// # Errors
    /// `Invalid/…` for names and for options out of range; `NotFound/Program`, `Denied/Program`.
    pub(crate) fn new(args: args::Parked, bus: Target) -> Result<Self> {
        let (choice, action) = match args {
            args::Parked::List { choice } => (choice, Action::List),
            args::Parked::Show { choice } => (choice, Action::Show),
            args::Parked::Discard { choice, reason, first, dry_run } => {
                let extent = if first { Extent::First } else { Extent::All };
                let action = match dry_run {
                    true => Action::Look { extent, verb: "would discard" },
                    false => Action::Discard { extent, reason },
                };
                (choice, action)
            }
            args::Parked::Replay { choice, exec, attempts, timeout, concurrency, rate, count, lease, dry_run } => {
                let options = ReplayOptions {
                    concurrency,
                    rate,
                    records_max: count,
                    retry: Retry::exponential(attempts),
                    // A program has a time of its own.
                    handler_timeout: timeout.mul_f32(1.2) + super::deliver::CLOSE_EXTRA,
                    lease,
                    ..ReplayOptions::default()
                };
                options.validate().map_err(|error| error.at("replay", &choice.group))?;
                let action = match exec {
                    Some(command) if !dry_run => {
                        // One that cannot be started would fail for every event, which says nothing of them.
                        command.find()?;
                        Action::Replay { options: Box::new(options), exec: Exec { command, timeout } }
                    }
                    _ => Action::Look { extent: Extent::All, verb: "would replay" },
                };
                (choice, action)
            }
        };
        Ok(Self {
            bus,
            group: GroupName::new(&choice.group)?,
            topic: choice.topic.map(|topic| TopicName::new(&topic)).transpose()?,
            filter: ParkedFilter {
                key: choice.key,
                event_type: choice.event_type,
                error: choice.error,
                since: choice.since,
                until: choice.until,
            },
            action,
        })
    }
}

pub(crate) async fn run(request: Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    let Some(bus) = request.bus.connect_existing().await? else { return Err(nothing_parked(&request.group)) };
    let outcome = act(&bus, request, output, stop).await;
    close(&bus, outcome).await
}

async fn act(bus: &Bus, request: Request, output: &mut Output, mut stop: Stop) -> Result<Ended> {
    let Request { group, topic, filter, action, .. } = request;
    let (mut ended, mut shown, mut run_by_now) = (Ended::Done, None, 0);
    for topic in topics(bus, &group, topic).await? {
        let parked = bus.parked(topic.as_str(), group.as_str()).await?;
        match &action {
            Action::List => *shown.get_or_insert(0) += list(&parked, &topic, &filter, output).await?,
            Action::Show => *shown.get_or_insert(0) += show(&parked, &filter, output).await?,
            Action::Look { extent, verb } => {
                let planned = |queue| Planned { verb, done: false, queue: QueueView::of(&topic, queue, *extent) };
                *shown.get_or_insert(0) += each_queue(&parked, &filter, output, planned).await?;
            }
            Action::Discard { extent, reason } => {
                let report = parked.discard(filter.clone(), *extent, reason).await?;
                output.data(&ReportView::of(&topic, &group, report))?;
            }
            Action::Replay { options, exec } => {
                // The limit is one for all topics.
                let records_max = options.records_max.map(|max| max.saturating_sub(run_by_now));
                let of_topic = ReplayOptions { filter: filter.clone(), records_max, ..(**options).clone() };
                let history = GroupHistory::start(&group, &topic)?;
                history.joining(&format!("replay-{}", std::process::id()));
                let run = Run { exec: exec.clone(), history, stop: stop.clone() };
                let report = parked.replay_until(of_topic, run, stop.requested()).await?;
                run_by_now += report.replayed + report.discarded + report.failed;
                if report.failed > 0 {
                    ended = Ended::SomeFailed;
                }
                report.errors.iter().for_each(|error| output.say(&format!("{topic}/{error}")));
                output.data(&ReportView::of(&topic, &group, report))?;
                if stop.is_requested() || options.records_max.is_some_and(|max| run_by_now >= max) {
                    break;
                }
            }
        }
    }
    if shown == Some(0) {
        output.say(&if filter == ParkedFilter::default() {
            format!("group {group} has nothing parked")
        } else {
            format!("nothing that is parked matches; 'busline parked list --group {group}' shows all of it")
        });
    }
    Ok(ended)
}

/// The topic that is named, or all of which the group may have parked something.
async fn topics(bus: &Bus, group: &GroupName, topic: Option<TopicName>) -> Result<Vec<TopicName>> {
    if let Some(topic) = topic {
        return Ok(vec![topic]);
    }
    let all = bus.driver().topics().await?;
    let parked = all.iter().filter_map(|info| info.name.parked_for()).filter(|(_, of)| of == group);
    let topics: Vec<_> =
        parked.map(|(topic, _)| topic).filter(|topic| all.iter().any(|info| info.name == *topic)).collect();
    if topics.is_empty() { Err(nothing_parked(group)) } else { Ok(topics) }
}

fn nothing_parked(group: &GroupName) -> Error {
    Error::new(ErrorKind::NotFound, "Parking")
        .cause("no group of this name has ever parked anything")
        .next("see the groups with 'busline group list'")
        .at("parked", group)
}

async fn list(parked: &Parked, topic: &TopicName, filter: &ParkedFilter, output: &mut Output) -> Result<u64> {
    each_queue(parked, filter, output, |queue| QueueView::of(topic, queue, Extent::All)).await
}

/// Prints a view of each queue as it is met; gives their number.
async fn each_queue<V: Serialize + fmt::Display>(
    parked: &Parked,
    filter: &ParkedFilter,
    output: &mut Output,
    view: impl Fn(ParkedQueue) -> V,
) -> Result<u64> {
    let (mut failed, mut shown) = (None, 0);
    let walk = parked.each_queue(filter, |queue| {
        shown += 1;
        failed = output.data(&view(queue)).err();
        failed.is_none() && !output.is_gone()
    });
    walk.await?;
    failed.map_or(Ok(shown), Err)
}

/// Prints each parked record; gives their number.
async fn show(parked: &Parked, filter: &ParkedFilter, output: &mut Output) -> Result<u64> {
    let (mut failed, mut shown) = (None, 0);
    let walk = parked.records(filter, |record| {
        shown += 1;
        let shown = RecordView::of(&record).and_then(|view| output.data(&view));
        failed = shown.err();
        failed.is_none() && !output.is_gone()
    });
    walk.await?;
    failed.map_or(Ok(shown), Err)
}

/// Runs the program for one parked event.
struct Run {
    exec: Exec,
    history: GroupHistory,
    stop: Stop,
}

impl Handler for Run {
    async fn handle(&self, delivery: Delivery) -> std::result::Result<(), HandlerError> {
        let _handling = self.stop.handling();
        self.history.replaying(&delivery)?;
        self.history.step(&delivery, Step::Begun)?;
        let line = format!("{}\n", one_line(&delivery.envelope, delivery.topic())?);
        let outcome = self.exec.run(&delivery, line.as_bytes()).await;
        let step = match &outcome {
            Ok(()) => Step::Handled,
            Err(Failure::TimedOut) => Step::TimedOut,
            Err(_) => Step::Failed,
        };
        self.history.step(&delivery, step)?;
        outcome.map_err(|failure| failure.verdict())
    }
}

/// A parked key as it is listed.
#[derive(Serialize)]
struct QueueView {
    topic: String,
    partition: Partition,
    key: String,
    scope: &'static str,
    records: u64,
    since: String,
    first: FirstView,
}

/// The first parked event of a key.
#[derive(Serialize)]
struct FirstView {
    offset: Offset,
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    attempts: u32,
    error: String,
    replay_error: Option<String>,
}

impl QueueView {
    fn of(topic: &TopicName, queue: ParkedQueue, extent: Extent) -> Self {
        let Diagnosis { offset, id, event_type, attempts, error, .. } = queue.first.diagnosis;
        Self {
            topic: topic.to_string(),
            partition: queue.partition,
            key: queue.key,
            scope: queue.scope.name(),
            records: if extent == Extent::First { 1 } else { queue.records },
            since: queue.since.to_string(),
            first: FirstView { offset, id, event_type, attempts, error, replay_error: queue.first.replay_error },
        }
    }
}

impl fmt::Display for QueueView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, key, scope, records, since, first } = self;
        let error = first.replay_error.as_ref().unwrap_or(&first.error);
        write!(f, "{topic}/{partition}/{}  {scope} {}  {records} parked since {since}", first.offset, printable(key))?;
        write!(f, "  {} attempts: {}", first.attempts, printable(error))
    }
}

/// What would be done.
#[derive(Serialize)]
struct Planned {
    #[serde(skip)]
    verb: &'static str,
    done: bool,
    #[serde(flatten)]
    queue: QueueView,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.queue)
    }
}

/// What a replay or a discard came to.
#[derive(Serialize)]
struct ReportView {
    topic: String,
    group: String,
    replayed: u64,
    discarded: u64,
    failed: u64,
}

impl ReportView {
    fn of(topic: &TopicName, group: &GroupName, report: ReplayReport) -> Self {
        let ReplayReport { replayed, discarded, failed, .. } = report;
        Self { topic: topic.to_string(), group: group.to_string(), replayed, discarded, failed }
    }
}

impl fmt::Display for ReportView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, group, replayed, discarded, failed } = self;
        write!(f, "{topic} of group {group}: {replayed} replayed, {discarded} discarded, {failed} failed again")
    }
}

/// A parked event as it is shown.
#[derive(Serialize)]
struct RecordView {
    topic: String,
    partition: Partition,
    offset: Offset,
    key: String,
    scope: &'static str,
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    attempts: u32,
    error: String,
    replay_error: Option<String>,
    first: String,
    last: String,
    group: String,
    member: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<Box<RawValue>>,
    /// Of what cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl RecordView {
    fn of(parked: &ParkedRecord) -> Result<Self> {
        let ParkedRecord { record, scope, diagnosis, replay_error } = parked;
        let topic = TopicName::new(&diagnosis.topic)?;
        let envelope = record.envelope(&topic).ok().map(|envelope| one_line(&envelope, &topic)).transpose()?;
        let Diagnosis { partition, offset, id, event_type, attempts, error, first, last, group, member, .. } =
            diagnosis.clone();
        Ok(Self {
            topic: topic.to_string(),
            partition,
            offset,
            key: String::from_utf8_lossy(&record.key).into_owned(),
            scope: scope.name(),
            id,
            event_type,
            attempts,
            error,
            replay_error: replay_error.clone(),
            first: first.to_string(),
            last: last.to_string(),
            group,
            member,
            headers: record.headers.iter().map(HeaderText::of).collect(),
            body_base64: envelope.is_none().then(|| BASE64.encode(&record.body)),
            envelope,
        })
    }
}

impl fmt::Display for RecordView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, key, attempts, first, last, member, .. } = self;
        let none = || "unknown".to_owned();
        let (id, of) = (self.id.clone().unwrap_or_else(none), self.event_type.clone().unwrap_or_else(none));
        writeln!(f, "{topic}/{partition}/{offset}  key {}  {} {}", printable(key), printable(&of), printable(&id))?;
        writeln!(f, "  {attempts} attempts from {first} to {last} by {}", printable(member))?;
        writeln!(f, "  error: {}", printable(&self.error))?;
        if let Some(error) = &self.replay_error {
            writeln!(f, "  error of the last replay: {}", printable(error))?;
        }
        match (&self.envelope, &self.body_base64) {
            (Some(envelope), _) => write!(f, "  {}", printable(envelope.get())),
            (None, body) => write!(f, "  cannot be decoded: {}", body.as_deref().unwrap_or_default()),
        }
    }
}
