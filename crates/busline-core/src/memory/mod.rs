//! The memory driver: the simplest true statement of the contract. Its records end with the process.

mod driver;
mod groups;
mod sink;
mod source;
mod store;

pub use driver::MemoryDriver;
