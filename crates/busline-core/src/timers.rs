//! Timers where there are none: a close may be awaited by any executor.

use std::future::poll_fn;
use std::pin::Pin;

use tokio::runtime::Handle;

/// Polls with the timers of this runtime where there is no other.
pub(crate) async fn with_timers<F: Future>(runtime: &Handle, mut future: Pin<&mut F>) -> F::Output {
    poll_fn(|context| {
        let _entered = Handle::try_current().is_err().then(|| runtime.enter());
        future.as_mut().poll(context)
    })
    .await
}
