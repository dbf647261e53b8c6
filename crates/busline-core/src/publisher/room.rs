//! The window of a publisher: room for envelopes and for their bytes.

use tokio::sync::{AcquireError, Semaphore, TryAcquireError};

/// Room that is left. Whoever waits for some gets it first come first served.
pub(super) struct Room {
    envelopes: Semaphore,
    bytes: Semaphore,
}

impl Room {
    pub(super) fn new(envelopes_max: usize, bytes_max: usize) -> Self {
        Self { envelopes: Semaphore::new(envelopes_max), bytes: Semaphore::new(bytes_max) }
    }

    /// Takes room if there is some and nobody waits for it.
    ///
    /// # Errors
    /// `NoPermits` if there is none; `Closed`.
    pub(super) fn try_take(&self, envelopes: usize, bytes: usize) -> Result<(), TryAcquireError> {
        let envelopes = self.envelopes.try_acquire_many(envelopes as u32)?;
        self.bytes.try_acquire_many(bytes as u32)?.forget();
        envelopes.forget();
        Ok(())
    }

    /// Takes room; what was taken goes back if the future is dropped.
    ///
    /// # Errors
    /// That it is closed.
    pub(super) async fn take(&self, envelopes: usize, bytes: usize) -> Result<(), AcquireError> {
        let envelopes = self.envelopes.acquire_many(envelopes as u32).await?;
        let bytes = self.bytes.acquire_many(bytes as u32).await?;
        envelopes.forget();
        bytes.forget();
        Ok(())
    }

    pub(super) fn give_back(&self, envelopes: usize, bytes: usize) {
        self.envelopes.add_permits(envelopes);
        self.bytes.add_permits(bytes);
    }

    /// Gives no more; whoever waits is refused.
    pub(super) fn close(&self) {
        self.envelopes.close();
        self.bytes.close();
    }
}
