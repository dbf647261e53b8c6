//! Statistics of few and noisy values: pure functions, checked against known distributions.

#[cfg(test)]
mod distributions;
#[cfg(test)]
pub(crate) mod noise;
mod slope;
mod student;
mod welch;

pub(crate) use slope::slope;
pub(crate) use welch::{Shift, shift};
