//! `busline sub`: reads a topic without a group.

use std::fmt;
use std::time::Duration;

use busline::{
    Bus, Driver, Envelope, Error, Offset, Partition, ReadRequest, Record, Result, Start, TopicInfo, TopicName,
    topic_not_found,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Ended;
use super::job::close;
use crate::args::Subscribe;
use crate::event::{HeaderText, one_line};
use crate::interrupt::Stop;
use crate::output::{Form, Output};
use crate::printable::printable;
use crate::target::Target;

/// Most records of one read.
pub(crate) const READ_RECORDS_MAX: usize = 1_024;

/// Bytes after which one read takes no further record.
pub(crate) const READ_BYTES_MAX: usize = 1024 * 1024;

/// Shortest and longest pause between two looks at a topic that has nothing more; each pause doubles the one before.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(5);
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(200);

pub(crate) struct Request {
    bus: Target,
    topic: TopicName,
    start: Start,
    end: End,
    records_max: Option<u64>,
}

/// Where reading ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At the end that each partition has at the start.
    AtStart,
    /// Never.
    Never,
}

impl Request {
    pub(crate) fn new(args: Subscribe, bus: Target) -> Result<Self> {
        Ok(Self {
            bus,
            topic: TopicName::new(&args.topic)?,
            start: args.from,
            end: if args.until_end { End::AtStart } else { End::Never },
            records_max: args.count,
        })
    }
}

pub(crate) async fn run(request: Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    let Some(bus) = request.bus.connect_existing().await? else {
        return Err(topic_not_found(&request.topic));
    };
    let outcome = read(&bus, &request, output, stop).await;
    close(&bus, outcome).await
}

async fn read(bus: &Bus, request: &Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    let driver = &**bus.driver();
    let topic = driver.topic(&request.topic).await?;
    let places = places(driver, &topic, &request.start, request.end).await?;
    let left = request.records_max.unwrap_or(u64::MAX);
    let mut reader = Reader { driver, topic, places, left, undecodable: 0, output, stop };
    reader.run().await?;
    match reader.undecodable {
        0 => Ok(Ended::Done),
        count => {
            reader.output.say(&format!("{}: {count} records could not be decoded", request.topic));
            Ok(Ended::SomeFailed)
        }
    }
}

/// How far one partition was read.
#[derive(Debug)]
struct Place {
    partition: Partition,
    next: Offset,
    end: Option<Offset>,
}

impl Place {
    fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

async fn places(driver: &dyn Driver, topic: &TopicInfo, start: &Start, end: End) -> Result<Vec<Place>> {
    if let Start::Offsets(offsets) = start {
        for (partition, _) in offsets {
            driver.bounds(&topic.name, *partition).await?;
        }
    }
    let mut places = Vec::with_capacity(topic.spec.partitions as usize);
    for partition in (0..topic.spec.partitions).map(Partition) {
        let bounds = driver.bounds(&topic.name, partition).await?;
        let next = match start {
            Start::Earliest => bounds.start,
            Start::Latest => bounds.end,
            Start::Offsets(offsets) => {
                offsets.iter().find(|(named, _)| *named == partition).map_or(bounds.start, |(_, offset)| *offset)
            }
            Start::Time(time) => driver.offset_at(&topic.name, partition, *time).await?,
        };
        places.push(Place { partition, next, end: (end == End::AtStart).then_some(bounds.end) });
    }
    Ok(places)
}

struct Reader<'a> {
    driver: &'a dyn Driver,
    topic: TopicInfo,
    places: Vec<Place>,
    /// Records that may still be printed.
    left: u64,
    undecodable: u64,
    output: &'a mut Output,
    stop: Stop,
}

impl Reader<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut pause = PAUSE_MIN;
        loop {
            let found = self.round().await?;
            self.output.flush()?;
            if self.is_finished() || self.places.iter().all(Place::is_at_end) {
                return Ok(());
            }
            if found {
                pause = PAUSE_MIN;
                continue;
            }
            self.check_topic().await?;
            drop(tokio::time::timeout(pause, self.stop.requested()).await);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn is_finished(&self) -> bool {
        self.left == 0 || self.output.is_gone() || self.stop.is_requested()
    }

    /// Reads a piece of each partition; gives whether there was anything.
    async fn round(&mut self) -> Result<bool> {
        let mut found = false;
        for index in 0..self.places.len() {
            if self.is_finished() {
                break;
            }
            if !self.places[index].is_at_end() {
                found |= self.piece(index).await?;
            }
        }
        Ok(found)
    }

    async fn piece(&mut self, index: usize) -> Result<bool> {
        let place = &self.places[index];
        let request = ReadRequest {
            partition: place.partition,
            from: place.next,
            to: place.end.unwrap_or(Offset(u64::MAX)),
            records_max: READ_RECORDS_MAX.min(usize::try_from(self.left).unwrap_or(usize::MAX)),
            bytes_max: READ_BYTES_MAX,
        };
        let records = self.driver.read(&self.topic.name, request).await?;
        match (records.last(), self.places[index].end) {
            (Some(last), _) => self.places[index].next = last.offset.next(),
            // Offsets may be sparse: the last ones of the range can hold nothing.
            (None, Some(end)) => self.places[index].next = end,
            (None, None) => {}
        }
        self.left -= records.len() as u64;
        records.iter().try_for_each(|record| self.print(record))?;
        Ok(!records.is_empty())
    }

    fn print(&mut self, record: &Record) -> Result<()> {
        let content = record.envelope(&self.topic.name).and_then(|envelope| match self.output.form() {
            Form::Json => one_line(&envelope, &self.topic.name).map(|envelope| Content::Json { envelope }),
            Form::Text => Ok(Content::Text(Box::new(envelope))),
        });
        self.undecodable += u64::from(content.is_err());
        self.output.data(&RecordView {
            topic: self.topic.name.as_str(),
            partition: record.partition,
            offset: record.offset,
            attempt: 1,
            headers: record.headers.iter().map(HeaderText::of).collect(),
            content: content.unwrap_or_else(Content::from),
        })
    }

    /// The topic must be the one that was opened: another of the same name has other offsets.
    async fn check_topic(&self) -> Result<()> {
        let found = self.driver.topic(&self.topic.name).await?;
        if found.incarnation == self.topic.incarnation { Ok(()) } else { Err(topic_not_found(&self.topic.name)) }
    }
}

/// A record as it is printed.
#[derive(Serialize)]
pub(super) struct RecordView<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: Partition,
    pub(super) offset: Offset,
    pub(super) attempt: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<HeaderText>,
    #[serde(flatten)]
    pub(super) content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content {
    Json {
        envelope: Box<RawValue>,
    },
    Undecodable {
        error: String,
        message: String,
    },
    #[serde(skip)]
    Text(Box<Envelope>),
}

impl From<Error> for Content {
    fn from(error: Error) -> Self {
        Self::Undecodable { error: error.code(), message: error.to_string() }
    }
}

impl fmt::Display for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}  ", self.topic, self.partition, self.offset)?;
        match &self.content {
            Content::Json { envelope } => write!(f, "{envelope}"),
            Content::Undecodable { message, .. } => f.write_str(&printable(message)),
            Content::Text(envelope) => write_readable(envelope, f),
        }
    }
}

fn write_readable(envelope: &Envelope, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (time, version) = (envelope.occurred_at, envelope.event_version);
    let (event_type, key) = (printable(&envelope.event_type), printable(&envelope.aggregate_id));
    write!(f, "{time}  {event_type}  {key}  v{version}")?;
    let Some(content_type) = envelope.payload.content_type() else { return Ok(()) };
    let bytes = envelope.payload.bytes();
    match std::str::from_utf8(bytes) {
        Ok(json) if envelope.payload.is_json() => write!(f, "  {}", printable(&json.replace(['\n', '\r', '\t'], " "))),
        Ok(text) if content_type.starts_with("text/") => write!(f, "  {}", printable(text)),
        _ => write!(f, "  ({} bytes of {})", bytes.len(), printable(content_type)),
    }
}

#[cfg(test)]
mod tests {
    use busline::ErrorKind;

    use super::*;

    fn view(content: Content) -> RecordView<'static> {
        let (partition, offset) = (Partition(1), Offset(7));
        RecordView { topic: "orders", partition, offset, attempt: 1, headers: Vec::new(), content }
    }

    #[test]
    fn an_undecodable_record_is_told_in_its_place() {
        let error = Error::new(ErrorKind::Corrupt, "NoEnvelope").at("decode", "orders/1/7");
        assert_eq!(
            serde_json::to_string(&view(error.clone().into())).expect("json"),
            r#"{"topic":"orders","partition":1,"offset":7,"attempt":1,"error":"Corrupt/NoEnvelope","message":"decode orders/1/7: Corrupt/NoEnvelope"}"#
        );
        assert_eq!(view(error.into()).to_string(), "orders/1@7  decode orders/1/7: Corrupt/NoEnvelope");
    }

    #[test]
    fn payloads_are_shown_as_far_as_they_can_be_read() {
        let mut envelope = Envelope::new("a\u{1b}b", "Placed", 3);
        envelope.occurred_at = busline::OccurredAt::parse("2026-11-25T08:00:00+01:00").expect("legal");
        for (content_type, bytes, shown) in [
            ("application/json", &b"{\n\"a\":1}"[..], r#"{ "a":1}"#),
            ("text/plain", b"one\ntwo", r"one\u{a}two"),
            ("image/png", &[0xff], "(1 bytes of image/png)"),
        ] {
            let payload = busline::Payload::bytes_of(content_type, bytes).expect("legal");
            let text = view(Content::Text(Box::new(envelope.clone().with_payload(payload)))).to_string();
            assert_eq!(text, format!(r"orders/1@7  2026-11-25T08:00:00+01:00  Placed  a\u{{1b}}b  v3  {shown}"));
        }
    }
}
