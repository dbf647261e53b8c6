//! What is asked for, and the member that is made of it.

use std::sync::Arc;
use std::time::Duration;

use busline::{
    Bus, GroupName, Layered, Provision, Result, Retry, Start, SubscriptionSettings, TopicName, topic_not_found,
};
use tokio::sync::mpsc;

use super::handler::Deliver;
use super::lines::Lines;
use super::member::{Member, Told};
use crate::args::Subscribe;
use crate::commands::Ended;
use crate::commands::job::close;
use crate::exec::Exec;
use crate::group_history::GroupHistory;
use crate::interrupt::Stop;
use crate::output::Output;
use crate::target::Target;
use crate::watched::{Watch, Watched};

/// Longest time for which an event waits for the reader of stdout; then its attempt has failed.
pub(crate) const READER_WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Time that what runs gets to end at the close, on top of the longest run of a program.
pub(crate) const CLOSE_EXTRA: Duration = Duration::from_secs(10);

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
    let bus = Bus::new(Arc::new(Layered::new(Arc::clone(bus.driver()), Watched(Arc::clone(&watch)))));
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
        stop: stop.clone(),
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
