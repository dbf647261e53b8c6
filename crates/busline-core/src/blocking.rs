//! Work of a driver that blocks its thread.

use tokio::runtime::Handle;

use crate::bus::no_runtime;
use crate::error::{Error, ErrorKind, Result};

/// Runs what may block on a thread of the runtime that is there for it, so that no worker stands still.
///
/// # Errors
/// Those of the work; `Invalid/NoRuntime` outside of a runtime, `Internal/Panic` if the work panics.
///
/// # Cancel safety
/// Work that has begun goes on when the future is dropped; its answer goes unread.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let runtime = Handle::try_current().map_err(|_| no_runtime())?;
    runtime.spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "Panic").because(error).next("report this with the text before it"))
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn work_gives_its_answer_or_its_panic() {
        assert_eq!(blocking(|| Ok(7)).await.expect("done"), 7);
        let panicked = blocking::<()>(|| panic!("lost")).await.expect_err("it panicked");
        assert_eq!(panicked.code(), "Internal/Panic");
    }

    #[test]
    fn work_without_a_runtime_is_refused() {
        let refused = pin!(blocking(|| Ok(7))).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.code(), "Invalid/NoRuntime");
    }
}
