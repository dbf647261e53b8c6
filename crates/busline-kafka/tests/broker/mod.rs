//! The broker of these tests: that of `BUSLINE_TEST_KAFKA`, or one that the first test starts for all of its process.

pub(crate) mod proxy;
mod shared;

pub(crate) use shared::{bootstrap, port};
