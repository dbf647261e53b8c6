//! What a benchmark of several buses says, in sentences that are computed from its runs alone.

mod fastest;
mod grouped;
mod held_back;
mod left_out;
mod listed;
mod pairs;
mod sentences;
mod ways;

pub(crate) use pairs::{Pair, is_way, pairs, ranked};
pub(crate) use sentences::sentences;
