//! `busline pub`: one event by flags, or many from lines.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Instant;

use busline::{
    Bus, Envelope, Error, Format, OccurredAt, Payload, Provision, Publisher, Receipt, Result, TopicName, TopicSpec,
    Wire, escaped,
};
use tokio::sync::mpsc;

use super::Ended;
use super::job::close;
use super::outcome::{Outcome, OutcomeView, Summary};
use crate::args::{Event, Publish};
use crate::event::{check_texts, read_line};
use crate::history::History;
use crate::input::{Chunk, Input, Line};
use crate::interrupt::Stop;
use crate::output::{Form, Output};
use crate::target::Target;

/// Lines that were read and whose outcome is not printed yet, before no more are read: what is in flight, and what was
/// settled behind it, since outcomes are printed in input order.
pub(crate) const LINES_WAITING_MAX: usize = 16_384;

pub(crate) struct Request {
    bus: Target,
    topic: TopicName,
    wire: Wire,
    events: Events,
}

enum Events {
    One(Box<Envelope>),
    /// One that is wrong in itself, with the id that was given.
    Refused(Option<String>, Error),
    Lines {
        path: String,
        format: Format,
    },
}

impl Request {
    pub(crate) fn new(args: Publish, bus: Target) -> Result<Self> {
        let topic = TopicName::new(&args.topic)?;
        let events = match args.file {
            Some(path) => Events::Lines { path, format: args.format },
            None => {
                let id = args.event.id.clone().filter(|id| !id.is_empty());
                match envelope(args.event) {
                    Ok(envelope) => Events::One(Box::new(envelope)),
                    Err(error) => Events::Refused(id, error.at("publish", &topic)),
                }
            }
        };
        Ok(Self { bus, topic, wire: args.wire, events })
    }
}

fn envelope(event: Event) -> Result<Envelope> {
    let (key, event_type) = (event.key.unwrap_or_default(), event.event_type.unwrap_or_default());
    let mut envelope = Envelope::new(key, event_type, event.version.unwrap_or(1));
    if let Some(id) = event.id {
        envelope.id = id;
    }
    if let Some(time) = event.time {
        envelope.occurred_at = OccurredAt::parse(&time)?;
    }
    if let Some(data) = event.data {
        let content_type = event.content_type.as_deref().unwrap_or(busline::JSON_CONTENT_TYPE);
        envelope.payload = Payload::bytes_of(content_type, data).map_err(|error| match error.reason() {
            "PayloadNotJson" => error.next("give one JSON text, or say what it is with --content-type"),
            _ => error,
        })?;
    }
    envelope.source = event.source;
    envelope.schema = event.schema;
    envelope.tenant = event.tenant;
    envelope.correlation_id = event.correlation_id;
    envelope.causation_id = event.causation_id;
    envelope.traceparent = event.traceparent;
    for (name, text) in event.attribute {
        if envelope.attributes.contains_key(&name) {
            return Err(Error::invalid("DuplicateKey")
                .cause(format!("attribute '{}' is given twice", escaped(&name)))
                .next("give each attribute once"));
        }
        envelope.attributes.insert(name, text.into());
    }
    for (name, text) in event.header {
        envelope.headers.push(name, text);
    }
    envelope.validate()?;
    check_texts(&envelope)?;
    Ok(envelope)
}

pub(crate) async fn run(request: Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    // Before the bus is opened, so that a missing input makes no file.
    let events = match request.events {
        Events::One(envelope) => Source::One(envelope),
        Events::Refused(id, error) => return refuse(&request.topic, id.as_deref(), error, output),
        Events::Lines { path, format } => Source::Lines(Input::open(&path)?, format),
    };
    let bus = request.bus.connect().await?;
    let outcome = publish(&bus, &request.topic, request.wire, events, output, stop).await;
    close(&bus, outcome).await
}

/// Tells of the only event that it is refused, as of one among many: with JSON by a line.
fn refuse(topic: &TopicName, id: Option<&str>, error: Error, output: &mut Output) -> Result<Ended> {
    if output.form() == Form::Text {
        return Err(error);
    }
    let (mut summary, outcome) = (Summary::new(Instant::now()), Outcome::refused(error));
    summary.count(&outcome);
    output.say(&summary.text(topic, Instant::now()));
    output.data(&OutcomeView::of(1, id, &outcome))?;
    Ok(summary.ended())
}

enum Source {
    One(Box<Envelope>),
    Lines(Input, Format),
}

async fn publish(
    bus: &Bus,
    topic: &TopicName,
    wire: Wire,
    events: Source,
    output: &mut Output,
    stop: Stop,
) -> Result<Ended> {
    provide(bus, topic, output).await?;
    let publisher = bus.publisher(topic.as_str()).provision(Provision::Skip).wire(wire).open().await?;
    let history = History::start(topic, &publisher)?;
    let mut run =
        Run { publisher, waiting: VecDeque::new(), summary: Summary::new(Instant::now()), history, output, stop };
    let read = match events {
        Source::One(envelope) => run.one(*envelope).await,
        Source::Lines(input, format) => run.lines(input, format).await,
    };
    run.output.end_progress();
    run.output.say(&run.summary.text(topic, Instant::now()));
    read.map(|()| run.summary.ended())
}

/// Makes a missing topic, and says so.
async fn provide(bus: &Bus, topic: &TopicName, output: &Output) -> Result<()> {
    let (driver, spec) = (bus.driver(), TopicSpec::default());
    match driver.topic(topic).await {
        Err(error) if error.code() == "NotFound/Topic" => {}
        found => return found.map(drop),
    }
    match driver.create_topic(topic, &spec).await {
        // Another process made it in the meantime, and said so.
        Err(error) if error.code() == "AlreadyExists/Topic" => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            output.say(&format!("{topic}: no such topic, so it was made with {} partitions", spec.partitions));
            Ok(())
        }
    }
}

/// One line whose outcome is still to be printed.
struct Waiting {
    line: u64,
    id: Option<String>,
    state: State,
}

enum State {
    InFlight(Receipt),
    Refused(Error),
}

struct Run<'a> {
    publisher: Publisher,
    /// In input order; the only memory that grows with the input, up to [`LINES_WAITING_MAX`] and one chunk.
    waiting: VecDeque<Waiting>,
    summary: Summary,
    history: History,
    output: &'a mut Output,
    stop: Stop,
}

impl Run<'_> {
    async fn one(&mut self, envelope: Envelope) -> Result<()> {
        self.accept(1, Ok(envelope)).await?;
        self.drain().await?;
        self.output.flush()
    }

    /// Publishes all lines. Reading goes on while outcomes come in, and outcomes are printed while nothing is read.
    async fn lines(&mut self, input: Input, format: Format) -> Result<()> {
        self.output.start_progress(input.bytes);
        let mut chunks = Some(input.start());
        let mut stop = self.stop.clone();
        let mut failed = None;
        while chunks.is_some() || !self.waiting.is_empty() {
            let has_room = self.waiting.len() < LINES_WAITING_MAX;
            let step = tokio::select! {
                biased;
                result = settled(&mut self.waiting), if !self.waiting.is_empty() => self.tell(result),
                () = stop.requested(), if chunks.is_some() => {
                    chunks = None;
                    Ok(())
                }
                chunk = next(&mut chunks), if chunks.is_some() && has_room => match chunk {
                    Some(Ok(chunk)) => self.accept_all(chunk, format).await,
                    Some(Err(error)) => Err(error),
                    None => {
                        chunks = None;
                        Ok(())
                    }
                },
            };
            if let Err(error) = step {
                // What was accepted is still counted, so that the summary is true.
                chunks = None;
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn tell(&mut self, outcome: Outcome) -> Result<()> {
        self.report(outcome)?;
        self.report_settled()?;
        self.output.flush()
    }

    async fn accept_all(&mut self, chunk: Chunk, format: Format) -> Result<()> {
        for line in chunk.lines {
            if self.stop.is_requested() {
                break;
            }
            let Line { number, content } = line;
            if content.as_ref().is_ok_and(|content| content.trim_ascii().is_empty()) {
                continue;
            }
            self.accept(number, content.and_then(|content| read_line(&content, format))).await?;
        }
        self.output.progress(chunk.bytes_read, self.summary.settled());
        Ok(())
    }

    /// Hands one envelope to the publisher, which waits only while its window is full.
    async fn accept(&mut self, line: u64, envelope: Result<Envelope>) -> Result<()> {
        let (id, state) = match envelope {
            Err(error) => (None, State::Refused(error.at("publish", &self.publisher.topic().name))),
            Ok(envelope) => {
                let id = envelope.id.clone();
                self.history.invoke(&envelope)?;
                let state = match self.publisher.publish(envelope).await {
                    Ok(receipt) => {
                        self.history.accepted(&id)?;
                        State::InFlight(receipt)
                    }
                    Err(error) => State::Refused(error),
                };
                (Some(id), state)
            }
        };
        self.waiting.push_back(Waiting { line, id, state });
        self.stop.note_unsettled(self.waiting.len());
        Ok(())
    }

    /// Waits for all outcomes.
    async fn drain(&mut self) -> Result<()> {
        while !self.waiting.is_empty() {
            let outcome = settled(&mut self.waiting).await;
            self.report(outcome)?;
        }
        Ok(())
    }

    /// Prints what has its outcome, up to the first that has none.
    fn report_settled(&mut self) -> Result<()> {
        while self.waiting.front().is_some_and(Waiting::is_settled) {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(outcome) = poll_front(&mut self.waiting, &mut context) else { break };
            self.report(outcome)?;
        }
        Ok(())
    }

    /// Prints and counts the outcome of the first line that waits.
    fn report(&mut self, outcome: Outcome) -> Result<()> {
        let Some(Waiting { line, id, .. }) = self.waiting.pop_front() else { return Ok(()) };
        self.stop.note_unsettled(self.waiting.len());
        self.summary.count(&outcome);
        if let Some(id) = &id {
            self.history.ended(id, &outcome)?;
        }
        let view = OutcomeView::of(line, id.as_deref(), &outcome);
        match (self.output.form(), &outcome) {
            (Form::Json, _) => self.output.data(&view),
            (Form::Text, Outcome::Acked(_)) => Ok(()),
            (Form::Text, _) => {
                self.output.note(&view.to_string());
                Ok(())
            }
        }
    }
}

impl Waiting {
    fn is_settled(&self) -> bool {
        match &self.state {
            State::InFlight(receipt) => receipt.is_settled(),
            State::Refused(_) => true,
        }
    }
}

async fn next(chunks: &mut Option<mpsc::Receiver<Result<Chunk>>>) -> Option<Result<Chunk>> {
    match chunks {
        Some(chunks) => chunks.recv().await,
        None => None,
    }
}

/// The outcome of the first line that waits; dropping the future takes nothing.
async fn settled(waiting: &mut VecDeque<Waiting>) -> Outcome {
    poll_fn(|context| poll_front(waiting, context)).await
}

fn poll_front(waiting: &mut VecDeque<Waiting>, context: &mut std::task::Context<'_>) -> std::task::Poll<Outcome> {
    match waiting.front_mut().map(|first| &mut first.state) {
        Some(State::InFlight(receipt)) => Pin::new(receipt).poll(context).map(Outcome::of),
        Some(State::Refused(error)) => std::task::Poll::Ready(Outcome::refused(error.clone())),
        None => std::task::Poll::Pending,
    }
}
