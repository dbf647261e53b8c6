//! Plots as SVG text: no script, no font and no colour of their own, so that a page can style them for light, dark and paper.
//!
//! ```text
//! axis   values to places, ticks with their labels
//! frame  the picture around: grid, labels, units
//! bars   a bar for each bus over each level      curves   lines over a number
//! ```

mod axis;
mod bars;
mod curves;
mod frame;

pub(super) use axis::Axis;
pub(super) use bars::{Bar, Group, bars};
pub(super) use curves::{Curve, curves};
