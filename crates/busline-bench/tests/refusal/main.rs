//! What a benchmark refuses: a bus that breaks its promises, and one that has become slower.

mod broken;
mod broken_bus;
mod fault;
#[cfg(feature = "sqlite")]
mod slowed;
#[cfg(feature = "sqlite")]
mod slowed_bus;
mod wrapped;
