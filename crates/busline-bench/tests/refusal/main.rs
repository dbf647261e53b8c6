//! What a benchmark refuses: a bus that breaks its promises, one that has become slower, and a rate that does not hold.

mod broken;
mod broken_bus;
#[cfg(feature = "sqlite")]
mod failing_bus;
mod fault;
#[cfg(feature = "sqlite")]
mod slowed;
#[cfg(feature = "sqlite")]
mod slowed_bus;
mod stalled_bus;
mod wrapped;
