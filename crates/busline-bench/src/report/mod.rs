//! How results leave the program.

mod bar;
pub(crate) mod json;
#[cfg(test)]
pub(crate) mod sample;
mod table;

pub use bar::Bar;
pub use table::write_table;
#[cfg(feature = "sqlite")]
pub use table::{write_scenarios, write_sharing};
