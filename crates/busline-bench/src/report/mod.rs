//! How results leave the program.

mod against;
mod bar;
mod before_after;
mod burst_plots;
mod columns;
mod compared;
mod escaped;
mod fastest;
mod figure;
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
#[cfg(feature = "sqlite")]
mod scenario_lines;
mod series;
mod settings;
#[cfg(feature = "sqlite")]
mod sharing_table;
mod soundness;
mod table;
mod tables;
mod target_lines;
mod way_lines;

pub use bar::Bar;
pub use html::write_page;
pub use open_load::write_open_load;
pub use open_page::write_open_page;
pub use replace::check_result_file;
pub(crate) use replace::replace;
#[cfg(feature = "sqlite")]
pub use scenario_lines::write_scenarios;
#[cfg(feature = "sqlite")]
pub use sharing_table::write_sharing;
pub use table::write_table;
