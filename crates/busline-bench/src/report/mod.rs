//! How results leave the program.

mod against;
mod bar;
mod before_after;
mod burst_plots;
mod escaped;
mod folded;
pub(crate) mod html;
pub(crate) mod json;
mod look;
pub(crate) mod markdown;
mod numbers;
mod open_load;
pub(crate) mod open_markdown;
pub(crate) mod open_page;
mod open_plots;
mod open_tables;
mod open_words;
mod overhead;
mod page;
mod percentile_curve;
mod plot;
mod predecessor;
mod replace;
#[cfg(test)]
pub(crate) mod sample;
mod series;
mod table;
mod tables;
mod wrong;

pub use bar::Bar;
pub use html::write_page;
pub use open_load::write_open_load;
pub use open_page::write_open_page;
pub(crate) use replace::replace;
pub use table::write_table;
#[cfg(feature = "sqlite")]
pub use table::{write_scenarios, write_sharing};
