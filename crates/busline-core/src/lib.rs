//! Words, contracts and engines of the Busline event bus.

mod ack;
mod assign;
mod batch;
mod blocking;
mod bus;
mod capabilities;
mod clock;
mod control;
#[cfg(test)]
mod counting;
mod driver;
mod envelope;
mod error;
mod fresh;
mod gathered;
mod headers;
mod health;
mod layer;
mod memory;
mod occurred_at;
mod panics;
mod payload;
mod percent;
mod provision;
mod publisher;
mod record;
mod retention;
mod source_queue;
mod stillness;
mod subscription;
mod timers;
mod topic;
mod until;
mod wire;

pub use ack::{Ack, Durability, Medium};
pub use assign::assign;
pub use batch::{Batch, RecordRef};
pub use blocking::blocking;
pub use bus::{Bus, bus_closed, forked_process, no_runtime};
pub use capabilities::{AckPositions, Capabilities, Gaps, Integrity};
pub use clock::{Clock, SystemClock};
pub use driver::{
    Assignment, BoxFuture, Commit, Driver, Lag, Member, Positions, ReadRequest, Sink, SinkOffer, SinkRequest, Source,
    SourceEvent, SourceRequest, Start, sink_closed, source_closed,
};
pub use envelope::{Attribute, Envelope, ID_BYTES_MAX, KEY_BYTES_MAX};
pub use error::{Error, ErrorKind, Result, escaped};
pub use fresh::{BEHIND_MAX, Fresh};
pub use gathered::Gathered;
pub use headers::{HEADER_BYTES_MAX, HEADERS_MAX, Header, Headers};
pub use health::{Health, HealthState, Reason, Work};
pub use layer::{Layer, Layered, SourceLayer};
pub use memory::MemoryDriver;
pub use occurred_at::OccurredAt;
pub use payload::{JSON_CONTENT_TYPE, Payload, RawJson};
pub use percent::percent_decoded;
pub use publisher::{
    BATCH_ITEMS_MAX, Closed, Failure, FailureHandler, Publisher, PublisherBuilder, PublisherSettings, PublisherStats,
    Receipt, TryPublishError,
};
pub use record::{RECORD_BYTES_MAX, Record, checksum, partition_of, records_within};
pub use retention::{Kept, Retention};
pub use source_queue::{ReadAhead, SourceQueue};
pub use stillness::{BEATS_PER_LEASE, Stillness};
pub use subscription::{
    BatchHandler, Blocked, Deletion, Delivery, Diagnosis, Extent, HANDLER_BATCH_MAX, Handler, HandlerError, Left,
    Parked, ParkedCount, ParkedFilter, ParkedQueue, ParkedRecord, ParkedScope, ParkingHealth, ParkingPolicy,
    ReplayOptions, ReplayReport, Retry, Subscription, SubscriptionBuilder, SubscriptionSettings, SubscriptionStats,
    Verdict, parked_record,
};
pub use topic::{
    Bounds, GroupName, NAME_BYTES_MAX, Offset, PARTITIONS_MAX, Partition, Provision, TOPIC_AND_GROUP_BYTES_MAX,
    TopicInfo, TopicName, TopicSpec, colliding_name, group_active, group_not_found, not_owner, offset_beyond_end,
    partition_not_found, topic_exists, topic_not_found, warn_deleted,
};
pub use until::{Term, Until};
pub use wire::{Format, JSON_DEPTH_MAX, Wire, decode, key_of};
