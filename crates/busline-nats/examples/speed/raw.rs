//! The twins: the client library alone, with the bytes of the bus and without its guarantees.
//!
//! Each encodes its envelopes in its own loop, by the bus's own code, unless bodies are to be made beforehand.

use std::collections::VecDeque;
use std::time::Instant;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::{Client, HeaderMap, Subject, Subscriber};
use busline_core::decode;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::lap::{Lap, Watch};
use crate::own;
use crate::stage::{Failed, Stage, percentile};

/// Futures that are awaited at once.
const FUTURES: usize = 4_000;

/// Messages without an answer: the window of a publisher.
const WINDOW: u64 = 8_192;

/// Fast ingest: messages from one flow ack to the next, and flows sent ahead of the acks, as the sink has them.
const FLOW: u64 = 500;
const OUTSTANDING: u64 = 2;

/// A client of its own, and a topic of the bus with one partition.
struct Raw {
    client: Client,
    subject: Subject,
    inbox: String,
    answers: Subscriber,
}

impl Raw {
    async fn open(stage: &Stage, name: &str) -> Result<Self, Failed> {
        let client = async_nats::connect(stage.server.url()).await?;
        own::create(stage, name, &own::one_partition()).await?;
        let subject = Subject::from(format!("{name}.0"));
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.>")).await?;
        client.flush().await?;
        Ok(Self { client, subject, inbox, answers })
    }

    async fn answer(&mut self) -> Result<async_nats::Message, Failed> {
        Ok(self.answers.next().await.ok_or("no answers any more")?)
    }
}

/// The bodies of a run.
struct Bodies<'s> {
    stage: &'s Stage,
    /// One for all, if they are made beforehand.
    premade: Option<Bytes>,
}

impl<'s> Bodies<'s> {
    fn new(stage: &'s Stage) -> Result<Self, Failed> {
        let premade = stage.premade.then(|| stage.body(0)).transpose()?;
        Ok(Self { stage, premade })
    }

    fn next(&self, number: u64) -> Result<Bytes, Failed> {
        match &self.premade {
            Some(body) => Ok(body.clone()),
            None => self.stage.body(number),
        }
    }
}

/// Fast ingest: one batch of the server's, answered by its flow.
pub(crate) async fn fast(stage: &Stage, name: &str) -> Result<Lap, Failed> {
    let mut raw = Raw::open(stage, name).await?;
    let bodies = Bodies::new(stage)?;
    let batch = format!("{}.{:016x}", raw.inbox, rand::random::<u64>());
    // The first message is awaited alone.
    let (records, mut room) = (stage.records, 1);
    let watch = Watch::start(&stage.server);
    for number in 1..=records {
        while number > room {
            let (acked, flow) = flow_of(&raw.answer().await?.payload)?;
            room = acked + flow * OUTSTANDING;
        }
        let op = if number == 1 {
            0
        } else if number == records {
            2
        } else {
            1
        };
        let reply = format!("{batch}.{FLOW}.fail.{number}.{op}.$FI");
        let body = bodies.next(number)?;
        raw.client.publish_with_reply(raw.subject.clone(), reply, body).await?;
    }
    loop {
        let answer = raw.answer().await?.payload;
        if let Ok(count) = number_in(&answer, "\"count\":") {
            let lap = watch.end(records);
            return if count == records { Ok(lap) } else { Err(format!("{count} of {records} stored").into()) };
        }
    }
}

/// `{"type":"ack","seq":s,"msgs":f}`.
fn flow_of(answer: &[u8]) -> Result<(u64, u64), Failed> {
    Ok((number_in(answer, "\"seq\":")?, number_in(answer, "\"msgs\":")?))
}

fn number_in(answer: &[u8], name: &str) -> Result<u64, Failed> {
    let text = std::str::from_utf8(answer)?;
    let (_, rest) = text.split_once(name).ok_or_else(|| format!("the server says: {text}"))?;
    let digits = rest.find(|sign: char| !sign.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    Ok(digits.parse()?)
}

/// `jetstream::Context::publish`, the oldest of its futures awaited when there are 4,000.
pub(crate) async fn futures(stage: &Stage, name: &str) -> Result<Lap, Failed> {
    let raw = Raw::open(stage, name).await?;
    let bodies = Bodies::new(stage)?;
    let context = jetstream::new(raw.client);
    let watch = Watch::start(&stage.server);
    let mut waiting: VecDeque<PublishAckFuture> = VecDeque::with_capacity(FUTURES);
    for number in 0..stage.records {
        if waiting.len() == FUTURES
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.await?;
        }
        waiting.push_back(context.publish(raw.subject.clone(), bodies.next(number)?).await?);
    }
    for ack in waiting {
        ack.await?;
    }
    Ok(watch.end(stage.records))
}

/// An inbox of our own with numbers for tokens, a message id on each message, and the answers counted.
pub(crate) async fn own_inbox(stage: &Stage, name: &str) -> Result<Lap, Failed> {
    let mut raw = Raw::open(stage, name).await?;
    let bodies = Bodies::new(stage)?;
    let incarnation = format!("{:016x}", rand::random::<u64>());
    let mut acked = 0;
    let watch = Watch::start(&stage.server);
    for number in 1..=stage.records {
        while number > acked + WINDOW {
            acked += stored(&raw.answer().await?.payload)?;
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{incarnation}-{number}"));
        let reply = format!("{}.{number}", raw.inbox);
        let body = bodies.next(number)?;
        raw.client.publish_with_reply_and_headers(raw.subject.clone(), reply, headers, body).await?;
    }
    while acked < stage.records {
        acked += stored(&raw.answer().await?.payload)?;
    }
    Ok(watch.end(stage.records))
}

fn stored(answer: &[u8]) -> Result<u64, Failed> {
    number_in(answer, "\"seq\":").map(|_| 1)
}

/// One request after the other: the median in microseconds.
pub(crate) async fn request(stage: &Stage, name: &str) -> Result<Lap, Failed> {
    let raw = Raw::open(stage, name).await?;
    let mut took = Vec::new();
    let watch = Watch::start(&stage.server);
    for number in 0..stage.records {
        let called = Instant::now();
        let body = stage.body(number)?;
        stored(&raw.client.request(raw.subject.clone(), body).await?.payload)?;
        took.push(called.elapsed());
    }
    Ok(Lap { figure: percentile(&mut took, 50), ..watch.end(stage.records) })
}

/// A pull consumer without a filter that acks all of a batch at once and decodes each event.
pub(crate) async fn consume(stage: &Stage, stream: &str) -> Result<Lap, Failed> {
    let context = jetstream::new(async_nats::connect(stage.server.url()).await?);
    let watch = Watch::start(&stage.server);
    let config = pull::Config { ack_policy: AckPolicy::All, max_ack_pending: 100_000, ..Default::default() };
    let consumer = context.get_stream(stream).await?.create_consumer(config).await?;
    let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await?;
    for number in 1..=stage.records {
        let message = messages.next().await.ok_or("the consumer ended")??;
        let read = decode(&message.payload, || "stored".into())?;
        if read.event_version != number {
            return Err(format!("{} instead of {number}", read.event_version).into());
        }
        if number % 500 == 0 || number == stage.records {
            message.ack().await?;
        }
    }
    Ok(watch.end(stage.records))
}
