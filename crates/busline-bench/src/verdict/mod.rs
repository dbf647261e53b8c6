//! What a benchmark of several buses says, in sentences that are computed from its runs alone.

mod fastest;
mod found;
mod grouped;
mod held_back;
mod left_out;
mod listed;
mod pairs;
mod sentences;
mod ways;

pub(crate) use pairs::{Pair, pairs, ranked_buses};
pub(crate) use sentences::sentences;
