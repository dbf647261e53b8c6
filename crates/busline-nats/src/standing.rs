//! Why the client library stays without a connection or an answer, as far as its events say it.
//!
//! The library tries again for ever and lets a question wait meanwhile. Somebody whose credentials were revoked, or who
//! may not ask, would only hear that nobody answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{ClientError, ConnectErrorKind, Event, ServerError};
use busline_core::Error;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, broadcast};

use crate::denial::Denial;
use crate::error::from_connect_kind;

/// Refusals that another attempt does not mend.
const REFUSALS: [ConnectErrorKind; 3] =
    [ConnectErrorKind::AuthorizationViolation, ConnectErrorKind::Authentication, ConnectErrorKind::Tls];

/// Shared between the library's events and whoever asks through it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing(Arc<Heard>);

#[derive(Debug)]
struct Heard {
    refusal: Mutex<Option<ConnectErrorKind>>,
    lost: Notify,
    /// Each one that is heard, for those who wait for an answer.
    denials: broadcast::Sender<Denial>,
    /// Answers do not come on this connection.
    deaf: Mutex<Option<Denial>>,
}

/// Denials that may wait for somebody who waits for an answer. One that is missed is told by the next attempt.
const DENIALS: usize = 64;

impl Default for Heard {
    fn default() -> Self {
        Self {
            refusal: Mutex::default(),
            lost: Notify::default(),
            denials: broadcast::channel(DENIALS).0,
            deaf: Mutex::default(),
        }
    }
}

impl Standing {
    /// Takes an event of the library.
    pub(crate) fn note(&self, event: &Event) {
        let refusal = match event {
            Event::Connected => {
                *self.deaf() = None;
                None
            }
            Event::ServerError(ServerError::Other(text)) => return self.note_denial(text),
            Event::Disconnected => return self.0.lost.notify_waiters(),
            // An event has the text of the kind, and nothing else of it.
            Event::ClientError(ClientError::Other(text)) => {
                match REFUSALS.into_iter().find(|kind| kind.to_string() == *text) {
                    Some(kind) => Some(kind),
                    None => return,
                }
            }
            _ => return,
        };
        *self.0.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    fn note_denial(&self, text: &str) {
        let Some(denial) = Denial::read(text) else { return };
        if denial.is_of_answers() {
            *self.deaf() = Some(denial.clone());
        }
        // Perhaps nobody waits for an answer.
        drop(self.0.denials.send(denial));
    }

    fn deaf(&self) -> MutexGuard<'_, Option<Denial>> {
        self.0.deaf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The refusal that keeps the library from connecting now, or answers from coming.
    pub(crate) fn refusal(&self) -> Option<Error> {
        let refusal = self.0.refusal.lock().unwrap_or_else(PoisonError::into_inner).map(from_connect_kind);
        refusal.or_else(|| self.deaf().as_ref().map(Denial::error))
    }

    /// Ends when the server says, after the call, that a request to this subject is not allowed.
    pub(crate) fn denied(&self, subject: &str) -> impl Future<Output = Error> {
        let mut denials = self.0.denials.subscribe();
        async move {
            loop {
                match denials.recv().await {
                    Ok(denial) if denial.concerns(subject) => return denial.error(),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
                }
            }
        }
    }

    /// Ends when the connection that stands at the call is lost.
    pub(crate) fn lost(&self) -> Notified<'_> {
        self.0.lost.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stands_until_there_is_a_connection() {
        let standing = Standing::default();
        let says = |kind: ConnectErrorKind| Event::ClientError(ClientError::Other(kind.to_string()));
        standing.note(&says(ConnectErrorKind::Io));
        assert!(standing.refusal().is_none());
        for (kind, code) in REFUSALS.into_iter().zip(["Denied/Credentials", "Denied/Credentials", "Denied/Tls"]) {
            standing.note(&says(kind));
            standing.note(&Event::Disconnected);
            assert_eq!(standing.refusal().expect("it stands").code(), code);
        }
        standing.note(&Event::Connected);
        assert!(standing.refusal().is_none());
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_a_loss() {
        let standing = Standing::default();
        let lost = standing.lost();
        standing.note(&Event::Disconnected);
        tokio::time::timeout(std::time::Duration::from_secs(10), lost).await.expect("heard");
    }
}
