//! How a member and its group agree, and how long either may be silent.

use std::time::Duration;

use busline_core::SourceRequest;

use crate::broker;
use crate::clients::Clients;
use crate::config::GroupProtocol;

/// The protocol of a member, and after which time without a sign of life others take its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreement {
    pub(super) is_classic: bool,
    session: Duration,
}

/// What brokers allow under the protocol of KIP-848 unless they are told otherwise.
const SESSION_DEFAULT: Duration = Duration::from_secs(45);

impl Agreement {
    /// What holds for this member: under KIP-848 the session belongs to the brokers, and they are asked.
    pub(super) fn find(clients: &Clients, request: &SourceRequest) -> Self {
        let classic = Self { is_classic: true, session: classic_session(request.lease) };
        match clients.config.group_protocol {
            GroupProtocol::Classic => classic,
            GroupProtocol::Consumer => {
                Self { is_classic: false, session: broker_session(clients).unwrap_or(SESSION_DEFAULT) }
            }
            GroupProtocol::Auto => match broker_session(clients) {
                Some(session) => Self { is_classic: false, session },
                None => classic,
            },
        }
    }

    /// Time without an answer of the group after which no handler is started: well before others take over.
    pub(super) fn silence_max(&self) -> Duration {
        self.session / 2
    }
}

/// Brokers take no shorter session than 6 s by default.
pub(super) fn classic_session(lease: Duration) -> Duration {
    lease.clamp(Duration::from_secs(6), Duration::from_secs(300))
}

/// The session of KIP-848 at the brokers; `None` if they do not have that protocol.
fn broker_session(clients: &Clients) -> Option<Duration> {
    let broker = broker::ask(clients).ok()?;
    // Not permitted to ask: the default then, and a broker without the protocol says so when the group is joined.
    if broker.is_open() { broker.consumer_session() } else { Some(SESSION_DEFAULT) }
}
