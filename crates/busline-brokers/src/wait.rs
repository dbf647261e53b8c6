//! Waiting for what happens in another process.

use std::time::{Duration, Instant};

use crate::Error;

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// What a look found.
pub(crate) enum Look<T> {
    Done(T),
    /// Not yet, and why not.
    NotYet(String),
}

/// Looks until it is done or the limit has passed; a look that fails ends the wait.
///
/// # Errors
/// The look's own, or that it took too long with the last reason.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Look<T>, Error>,
) -> Result<T, Error> {
    let begin = Instant::now();
    loop {
        match look()? {
            Look::Done(value) => return Ok(value),
            Look::NotYet(why) if begin.elapsed() >= limit => {
                return Err(Error::failed(format!("{what} took more than {limit:?}: {why}")));
            }
            Look::NotYet(_) => pause(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "another process gives no event to wait for")]
fn pause() {
    std::thread::sleep(BETWEEN_LOOKS);
}
