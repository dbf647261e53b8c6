//! Every judge on hand-made histories: some that break its rule, and legal ones that look alike.
//!
//! Each history meets *all* judges, so a judge that accuses the innocent fails in a neighbour's test.

mod bounds;
mod close;
mod content;
mod duplicates;
mod durability;
mod gaps;
mod key_order;
mod liveness;
mod loss;
mod outcome;
mod parking;
mod positions;
mod progress;
mod publish_order;
mod report;
mod speed;
mod story;
mod table;
mod time;
