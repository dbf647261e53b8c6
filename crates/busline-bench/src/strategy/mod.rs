//! How envelopes are published: the bus as it is, and the ways of before that it is compared with.

mod name;

pub use name::Strategy;
