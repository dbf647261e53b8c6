//! Why the client library stays without a connection, as far as its events say it.
//!
//! The library tries again for ever and lets a question wait meanwhile. Somebody whose credentials were revoked would
//! only hear that nobody answers.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{ClientError, ConnectErrorKind, Event};
use busline_core::Error;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::error::from_connect_kind;

/// Refusals that another attempt does not mend.
const REFUSALS: [ConnectErrorKind; 3] =
    [ConnectErrorKind::AuthorizationViolation, ConnectErrorKind::Authentication, ConnectErrorKind::Tls];

/// Shared between the library's events and whoever asks through it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    refusal: Mutex<Option<ConnectErrorKind>>,
    lost: Notify,
}

impl Standing {
    /// Takes an event of the library.
    pub(crate) fn note(&self, event: &Event) {
        let refusal = match event {
            Event::Connected => None,
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

    /// The refusal that keeps the library from connecting now.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.0.refusal.lock().unwrap_or_else(PoisonError::into_inner).map(from_connect_kind)
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
