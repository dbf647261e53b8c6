//! Real servers that are killed, frozen and cut off while records are on their way; judged by reading the stream back.

mod bad_servers;
mod closing;
mod clusters;
mod cuts;
mod deletions;
mod disk;
mod expired;
mod half_topics;
mod limits;
mod load;
mod proxy;
mod restarts;
mod resuming;
mod revoked;
mod waiting;
mod yardstick;
mod zombies;
