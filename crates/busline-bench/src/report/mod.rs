//! How results leave the program.

mod against;
mod bar;
mod folded;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod markdown;
mod numbers;
mod open_load;
mod plot;
mod predecessor;
mod replace;
#[cfg(test)]
pub(crate) mod sample;
mod table;
mod tables;
mod wrong;

pub use bar::Bar;
pub use open_load::write_open_load;
pub(crate) use replace::replace;
pub use table::write_table;
#[cfg(feature = "sqlite")]
pub use table::{write_scenarios, write_sharing};
