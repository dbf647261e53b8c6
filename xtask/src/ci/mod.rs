//! `cargo xtask ci`: the whole pipeline, the same locally and in CI.

mod examples;
mod licences;
mod pipeline;
mod release_tests;
mod steps;

pub(crate) use pipeline::run;
pub(crate) use release_tests::RELEASE_TESTS;
