//! Opening a publisher.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::encoded::Encoder;
use super::keeper::{Failure, FailureHandler, Keeper, log_failure};
use super::line::Line;
use super::publish::{AtomicLimits, Publisher};
use super::settings::PublisherSettings;
use crate::ack::Durability;
use crate::bus::{BusCore, Ground, bus_closed};
use crate::capabilities::{AckPositions, Capabilities, Integrity};
use crate::driver::{Driver, Positions, Sink, SinkRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::topic::{Provision, TopicInfo, TopicName};
use crate::wire::Wire;

/// Time that a publisher has to end whose bus was closed while it was opened.
const CLOSED_MEANWHILE: Duration = Duration::from_secs(1);

/// Opens a [`Publisher`] on a topic.
pub struct PublisherBuilder {
    bus: Weak<BusCore>,
    topic: String,
    provision: Provision,
    settings: PublisherSettings,
    handler: FailureHandler,
}

impl PublisherBuilder {
    pub(crate) fn new(bus: Weak<BusCore>, topic: &str) -> Self {
        Self {
            bus,
            topic: topic.into(),
            provision: Provision::default(),
            settings: PublisherSettings::default(),
            handler: Arc::new(log_failure),
        }
    }

    /// All settings at once.
    #[must_use]
    pub fn settings(mut self, settings: PublisherSettings) -> Self {
        self.settings = settings;
        self
    }

    /// What to do about a missing or different topic. Default: make a missing one.
    #[must_use]
    pub fn provision(mut self, provision: Provision) -> Self {
        self.provision = provision;
        self
    }

    /// Most envelopes and bytes in flight; a full window makes `publish` wait. Default 8,192 and 8 MiB.
    #[must_use]
    pub fn window(mut self, envelopes_max: usize, bytes_max: usize) -> Self {
        self.settings.window_envelopes_max = envelopes_max;
        self.settings.window_bytes_max = bytes_max;
        self
    }

    /// Time from acceptance to the latest outcome. Default 30 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// The form in which envelopes are stored. Default CloudEvents.
    #[must_use]
    pub fn wire(mut self, wire: Wire) -> Self {
        self.settings.wire = wire;
        self
    }

    /// Refuses to open unless each ack will have this durability.
    #[must_use]
    pub fn require(mut self, durability: Durability) -> Self {
        self.settings.require = Some(durability);
        self
    }

    /// Whether each ack must carry an offset. Default: whatever is fastest.
    #[must_use]
    pub fn positions(mut self, positions: Positions) -> Self {
        self.settings.positions = positions;
        self
    }

    /// Calls this once for each failed or indeterminate envelope, with the envelope. Default: a log line.
    ///
    /// It runs on a thread where it may block; see [`FailureHandler`].
    #[must_use]
    pub fn on_failure(mut self, handler: impl Fn(Failure) + Send + Sync + 'static) -> Self {
        self.handler = Arc::new(handler);
        self
    }

    /// Checks everything and opens the publisher.
    ///
    /// # Errors
    /// `Invalid/…` for a bad name or setting; `Invalid/NoRuntime` outside a runtime; `NotFound/Topic` and
    /// `Invalid/TopicMismatch` as the provision says; `Unsupported/Durability`, `Unsupported/Positions` or
    /// `Unsupported/Deduplicate` for what this backend cannot give; `Closed/Bus`.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind but the topic, if it had made it.
    pub async fn open(self) -> Result<Publisher> {
        let name = self.topic.clone();
        self.open_checked().await.map_err(|error| error.at("open publisher", name))
    }

    async fn open_checked(self) -> Result<Publisher> {
        let name = TopicName::new(&self.topic)?;
        self.settings.validate()?;
        let Ground { runtime, bus, driver } = Ground::of(&self.bus)?;
        check_capabilities(&self.settings, driver.capabilities())?;
        let topic = crate::provision::provision(&*driver, &name, &self.provision).await?;
        let sink = open_sink(&*driver, &topic, &self.settings).await?;
        let publisher = self.assemble(driver.capabilities(), topic, sink, &runtime);
        if !bus.register(&publisher) {
            // The bus was closed meanwhile, and nobody else would end this.
            publisher.close(CLOSED_MEANWHILE).await;
            return Err(bus_closed());
        }
        Ok(publisher)
    }

    fn assemble(
        self,
        capabilities: &Capabilities,
        topic: TopicInfo,
        sink: Arc<dyn Sink>,
        runtime: &Handle,
    ) -> Publisher {
        let settings = self.settings;
        let offer = sink.offer();
        let encoder = Encoder {
            wire: settings.wire,
            source: settings.source.unwrap_or_else(|| format!("/busline/{}", topic.name)),
            partitions: topic.spec.partitions,
            record_bytes_max: settings.record_bytes_max,
            checksums: capabilities.integrity == Integrity::Record,
        };
        let atomic = AtomicLimits {
            records_max: capabilities.atomic_batch_max.min(settings.window_envelopes_max),
            bytes_max: offer.batch_bytes_max.min(settings.window_bytes_max),
        };
        let line = Arc::new(Line::new(
            sink,
            topic.name.to_string(),
            settings.deadline,
            settings.window_envelopes_max,
            settings.window_bytes_max,
        ));
        let keeper = Keeper::spawn(Arc::clone(&line), self.handler, runtime);
        Publisher::new(line, encoder, topic, offer, atomic, keeper, runtime.clone())
    }
}

fn check_capabilities(settings: &PublisherSettings, capabilities: &Capabilities) -> Result<()> {
    if settings.record_bytes_max > capabilities.record_bytes_max {
        return Err(Error::invalid("Range")
            .cause(format!(
                "record_bytes_max = {} where {} holds {}",
                settings.record_bytes_max, capabilities.backend, capabilities.record_bytes_max
            ))
            .next("lower record_bytes_max or raise the backend's limit"));
    }
    if let Some(window) = settings.deduplicate
        && capabilities.deduplicate_max.is_none_or(|max| max < window)
    {
        return Err(Error::new(ErrorKind::Unsupported, "Deduplicate")
            .cause(format!("{} does not remember ids for {window:?}", capabilities.backend))
            .next("publish without deduplicate: resends of the bus never duplicate"));
    }
    Ok(())
}

async fn open_sink(driver: &dyn Driver, topic: &TopicInfo, settings: &PublisherSettings) -> Result<Arc<dyn Sink>> {
    let request =
        SinkRequest { topic: topic.clone(), positions: settings.positions, deduplicate: settings.deduplicate };
    let sink = driver.sink(request).await?;
    if let Err(error) = check_offer(&*sink, settings) {
        sink.close(Instant::now() + driver.patience()).await?;
        return Err(error);
    }
    Ok(sink)
}

fn check_offer(sink: &dyn Sink, settings: &PublisherSettings) -> Result<()> {
    let offer = sink.offer();
    if let Some(required) = settings.require
        && !offer.durability.satisfies(required)
    {
        return Err(Error::new(ErrorKind::Unsupported, "Durability")
            .cause(format!("required {required}, attested {}", offer.durability))
            .next("require less, or use a backend that attests more"));
    }
    if settings.positions == Positions::Required && offer.positions != AckPositions::Always {
        return Err(Error::new(ErrorKind::Unsupported, "Positions")
            .cause("acks of this backend do not always carry an offset")
            .next("open without required positions"));
    }
    Ok(())
}

impl std::fmt::Debug for PublisherBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublisherBuilder").field("topic", &self.topic).field("settings", &self.settings).finish()
    }
}
