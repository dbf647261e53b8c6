//! Deleting what a run leaves on a bus that lives on.

use std::time::Duration;

use busline::{Bus, ErrorKind, Result, TopicName};

/// Times that a topic's deletion is asked for: a broker that is busy may take longer than its driver is patient, and the run is
/// over, so waiting spoils no figure.
const TRIES: u32 = 4;

/// Pause between two of them.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Deletes a topic of a run; nobody else has its name, so one that is not there any more was deleted by an earlier try.
///
/// # Errors
/// Those of the driver, if they come at each try or will not pass.
pub(crate) async fn delete(bus: &Bus, topic: &TopicName) -> Result<()> {
    until_gone(|| bus.driver().delete_topic(topic), AGAIN_AFTER).await
}

async fn until_gone<F: Future<Output = Result<()>>>(delete: impl Fn() -> F, again_after: Duration) -> Result<()> {
    for _ in 1..TRIES {
        match delete().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => tokio::time::sleep(again_after).await,
            outcome => return gone(outcome),
        }
    }
    gone(delete().await)
}

fn gone(outcome: Result<()>) -> Result<()> {
    outcome.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use busline::Error;

    use super::*;

    /// What comes of a deletion whose tries end in these kinds, the last one again and again, and how many there are.
    async fn tried(kinds: &[ErrorKind]) -> (Result<()>, usize) {
        let asked = RefCell::new(0);
        let delete = || {
            let kind = kinds[(*asked.borrow()).min(kinds.len() - 1)];
            *asked.borrow_mut() += 1;
            std::future::ready(Err(Error::new(kind, "Test")))
        };
        let outcome = until_gone(delete, Duration::ZERO).await;
        (outcome, asked.take())
    }

    #[tokio::test]
    async fn a_broker_that_answers_late_is_asked_again_and_what_it_did_meanwhile_is_done() {
        let (outcome, asked) = tried(&[ErrorKind::Unavailable, ErrorKind::Unavailable, ErrorKind::NotFound]).await;
        assert!(outcome.is_ok() && asked == 3, "{outcome:?} after {asked}");
    }

    #[tokio::test]
    async fn what_does_not_pass_is_told() {
        let (outcome, asked) = tried(&[ErrorKind::Denied]).await;
        assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Denied) && asked == 1, "{asked}");
        let (outcome, asked) = tried(&[ErrorKind::Unavailable]).await;
        assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Unavailable) && asked == 4, "{asked}");
    }
}
