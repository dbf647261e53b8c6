//! Busline: an event bus for domain events, with the same numbered promises on every backend.
//!
//! It publishes events in order per aggregate, tells every one's outcome (acked with the durability really obtained,
//! failed for certain, or indeterminate), and never fails under load: a full window makes `publish` wait.
//!
//! It is not a broker, not a framework that owns `main`, and one file is one machine.
//!
//! # Where to begin
//! - [`connect`] opens the backend that a URL names and gives a [`Bus`]. What needs settings of its own is opened by its
//!   driver, such as `SqliteDriver`, and put into [`Bus::new`].
//! - [`Bus::publisher`] leads to a [`Publisher`]: of one [`Envelope`], of many with an outcome each, or of many that are
//!   stored together. An outcome is an [`Ack`] or an [`Error`], of which [`Error::is_definite`] tells whether it is certain
//!   that nothing was stored.
//! - [`Bus::subscribe`] leads to a [`Subscription`] of a group, which runs a handler for each [`Delivery`]. A failed attempt
//!   is made again in place ([`Retry`]); what keeps failing is parked with its key ([`ParkingPolicy`]).
//! - [`Bus::parked`] lists, replays and discards what a group has parked.
//! - [`Bus::driver`] makes, changes and lists topics and groups, and reads without a group.
//! - [`Bus::health`] says whether all of it moves, and [`Bus::close`] ends all of it in order.
//!
//! All of this runs inside a tokio runtime, and [`Publisher::publish_blocking`] on threads beside it.
//!
//! # Features
//! `sqlite` (the default), `nats`, `kafka`, and `kafka-tls` for TLS and SCRAM. The bus in memory is always there. A URL whose
//! driver is left out is `Unsupported/Feature`.
//!
//! # Examples
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("busline-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let url = format!("sqlite:{}", folder.join("shop.db").display());
//! use std::time::Duration;
//!
//! use busline::{Delivery, Envelope, Retry};
//!
//! let bus = busline::connect(&url).await?; // such as sqlite:shop.db or memory:
//! let orders = bus.publisher("orders").open().await?;
//!
//! let placed = Envelope::new("order-42", "OrderPlaced", 1).json(&["book", "pen"])?;
//! let receipt = orders.publish(placed).await?; // accepted, in order; waits only while the window is full
//! let ack = receipt.await?; // stored: partition, offset, durability
//! assert_eq!(ack.durability.to_string(), "synced × 1");
//!
//! let billing = bus
//!     .subscribe("orders", "billing") // its members share the partitions; it goes on where it ended
//!     .retry(Retry::exponential(5)) // five attempts in all, then the event is parked
//!     .handle(|event: Delivery| async move {
//!         let items: Vec<String> = event.payload()?; // any error is a failed attempt
//!         assert_eq!(items, ["book", "pen"]);
//!         Ok(())
//!     })
//!     .await?;
//! # while billing.stats().handled == 0 {
//! #     tokio::task::yield_now().await;
//! # }
//!
//! billing.close(Duration::from_secs(30)).await?; // handlers end, progress is committed, the group is left
//! bus.close(Duration::from_secs(5)).await?; // every accepted envelope has its outcome
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```

mod connect;

pub use connect::{Found, connect, connect_with_facts};

pub use busline_core::{
    Ack, AckPositions, Assignment, Attribute, BATCH_ITEMS_MAX, Bounds, Bus, Capabilities, Clock, Closed, Delivery,
    Driver, Durability, Envelope, Error, ErrorKind, Failure, FailureHandler, Format, Gaps, GroupName,
    HANDLER_BATCH_MAX, HEADER_BYTES_MAX, HEADERS_MAX, Handler, HandlerError, Header, Headers, Health, HealthState,
    ID_BYTES_MAX, Integrity, JSON_CONTENT_TYPE, JSON_DEPTH_MAX, KEY_BYTES_MAX, Lag, Left, Medium, Member, MemoryDriver,
    NAME_BYTES_MAX, OccurredAt, Offset, PARTITIONS_MAX, Partition, Payload, Positions, Provision, Publisher,
    PublisherBuilder, PublisherSettings, PublisherStats, RECORD_BYTES_MAX, RawJson, ReadRequest, Reason, Receipt,
    Record, Result, Retention, Retry, Start, Subscription, SubscriptionBuilder, SubscriptionSettings,
    SubscriptionStats, SystemClock, TOPIC_AND_GROUP_BYTES_MAX, TopicInfo, TopicName, TopicSpec, TryPublishError,
    Verdict, Wire, Work, decode, escaped, topic_not_found,
};
pub use busline_core::{
    Batch, Blocked, BoxFuture, Commit, Layer, Layered, RecordRef, Sink, SinkOffer, SinkRequest, Source, SourceEvent,
    SourceLayer, SourceRequest, group_active, group_not_found, offset_beyond_end,
};
pub use busline_core::{
    Deletion, Diagnosis, Extent, Parked, ParkedCount, ParkedFilter, ParkedQueue, ParkedRecord, ParkedScope,
    ParkingHealth, ParkingPolicy, ReplayOptions, ReplayReport, parked_record,
};
#[cfg(feature = "kafka")]
pub use busline_kafka::{GroupProtocol, KafkaConfig, KafkaDriver, Secret};
#[cfg(feature = "nats")]
pub use busline_nats::{NatsConfig, NatsDriver};
#[cfg(feature = "sqlite")]
pub use busline_sqlite::{SqliteConfig, SqliteDriver};
