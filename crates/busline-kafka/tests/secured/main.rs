//! Brokers that want to know who is there: SASL and TLS, right and wrong, and no secret in anything that is printed.
//!
//! A build without the feature `tls` has PLAIN without TLS only. The rest runs in the pipeline, and with
//! `cargo test -p busline-kafka --features tls --test secured`.

#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "tls")]
mod encrypted;
#[path = "../faults/group.rs"]
mod group;
#[path = "../faults/load.rs"]
#[allow(dead_code, reason = "the fault tests use the rest")]
mod load;
#[cfg(feature = "tls")]
mod mutual;
mod overheard;
mod place;
#[path = "../faults/plain.rs"]
mod plain;
mod revoked;
#[cfg(feature = "tls")]
mod scram;
mod travel;
mod unencrypted;
