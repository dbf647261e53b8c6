//! Words, contracts and engines of the Busline event bus.

mod clock;
mod envelope;
mod error;
mod headers;
mod topic;
mod wire;

pub use clock::{Clock, SystemClock};
pub use envelope::{Attribute, Envelope, ID_BYTES_MAX, JSON_CONTENT_TYPE, KEY_BYTES_MAX, OccurredAt, Payload, RawJson};
pub use error::{Error, ErrorKind, Result, escaped};
pub use headers::{HEADER_BYTES_MAX, HEADERS_MAX, Header, Headers};
pub use topic::{
    Bounds, GroupName, NAME_BYTES_MAX, Offset, PARTITIONS_MAX, Partition, Provision, Retention,
    TOPIC_AND_GROUP_BYTES_MAX, TopicInfo, TopicName, TopicSpec, colliding_name, topic_not_found,
};
pub use wire::{Format, Wire, decode};
