//! The memory driver keeps the promises, and so does the suite's own wrapper while it injects nothing.

use std::sync::Arc;

use busline_conformance::{Faulty, Harness, Interruption, Shape};
use busline_core::{Driver, MemoryDriver, Result};

struct Memory;

impl Harness for Memory {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        Ok(Arc::new(MemoryDriver::new()))
    }

    async fn interrupt(&self) -> Option<Interruption> {
        None
    }
}

struct FaultyMemory;

impl Harness for FaultyMemory {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        Ok(Faulty::wrap(Arc::new(MemoryDriver::new()), Shape::default()).0)
    }

    async fn interrupt(&self) -> Option<Interruption> {
        None
    }
}

mod memory {
    use super::Memory;

    busline_conformance::conformance!(Memory);
}

mod faulty {
    use super::FaultyMemory;

    busline_conformance::conformance!(FaultyMemory);
}
