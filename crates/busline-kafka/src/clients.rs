//! The clients that a driver's calls share, and the threads that they may block.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busline_core::{Error, ErrorKind, Fresh, Result, TopicName, bus_closed};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult};
use tokio::runtime::Handle;

use crate::config::KafkaConfig;
use crate::coordinators::Coordinators;
use crate::error;
use crate::native::Native;
use crate::readers::Readers;

/// Sends what a client has to say to the program's own log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Logging;

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("kafka client: {error}: {reason}");
    }
}

impl ConsumerContext for Logging {}

/// One line of a client in the program's log.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
            tracing::debug!("kafka client: {facility} {text}");
        }
        _ => tracing::warn!("kafka client: {facility} {text}"),
    }
}

type Admin = AdminClient<Logging>;

/// What the calls of one driver share.
pub(crate) struct Clients {
    pub(crate) config: KafkaConfig,
    pub(crate) readers: Readers,
    pub(crate) coordinators: Coordinators,
    pub(crate) fresh: Fresh,
    admin: Mutex<Option<Arc<Admin>>>,
}

/// Pause between two tries of what may succeed a moment later.
pub(crate) const TRY_AGAIN: Duration = Duration::from_millis(20);

impl Clients {
    pub(crate) fn new(config: KafkaConfig) -> Result<Self> {
        let mut quiet = config.client("busline-admin");
        // Nobody polls the queue of this client, so nothing may be put there.
        quiet.set_log_level(RDKafkaLogLevel::Emerg);
        let admin: Admin = create(&quiet, |client| client.create_with_context(Logging))?;
        Ok(Self {
            readers: Readers::new(config.client("busline-reader")),
            coordinators: Coordinators::new(config.client("busline-groups")),
            fresh: Fresh::default(),
            admin: Mutex::new(Some(Arc::new(admin))),
            config,
        })
    }

    /// The client for requests about topics, and for the list of all groups.
    ///
    /// # Errors
    /// `Closed/Bus`.
    pub(crate) fn admin(&self) -> Result<Arc<Admin>> {
        self.lock().clone().ok_or_else(bus_closed)
    }

    pub(crate) fn native(&self) -> Result<Arc<dyn Native>> {
        Ok(self.admin()?)
    }

    pub(crate) fn patience(&self) -> Duration {
        self.config.patience
    }

    /// How requests are to be made: with the driver's patience.
    pub(crate) fn options(&self) -> AdminOptions {
        options_within(self.patience())
    }

    /// Waits for a request of the admin client, on a thread that may block.
    pub(crate) fn wait<T>(&self, request: impl Future<Output = KafkaResult<T>>) -> Result<T> {
        Handle::current().block_on(request).map_err(|error| error::of(&error))
    }

    /// Tries again what the brokers refuse for a moment only, for as long as the driver is patient.
    pub(crate) fn patiently<T>(&self, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        self.while_it_passes(error::is_transient, attempt)
    }

    /// The same of a topic: while it is fresh, a broker that does not know it is behind.
    pub(crate) fn patiently_of<T>(&self, topic: &TopicName, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let is_behind = |error: &Error| error.kind() == ErrorKind::NotFound && self.fresh.holds(topic.as_str());
        self.while_it_passes(|error| error::is_transient(error) || is_behind(error), attempt)
    }

    /// Tries again while the error is one that passes, for as long as the driver is patient.
    pub(crate) fn while_it_passes<T>(
        &self,
        passes: impl Fn(&Error) -> bool,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let until = Instant::now() + self.patience();
        loop {
            match attempt() {
                Err(error) if passes(&error) && Instant::now() < until => pause(TRY_AGAIN),
                outcome => return outcome,
            }
        }
    }

    /// Waits until something holds, for as long as the driver is patient; gives whether it does.
    pub(crate) fn await_that(&self, mut holds: impl FnMut() -> Result<bool>) -> Result<bool> {
        let until = Instant::now() + self.patience();
        while !holds()? {
            if Instant::now() >= until {
                return Ok(false);
            }
            pause(TRY_AGAIN);
        }
        Ok(true)
    }

    /// Ends the clients; what calls still hold of them ends with those.
    pub(crate) fn close(&self, until: Instant) {
        self.readers.close();
        self.coordinators.close(until);
        let admin = self.lock().take();
        if let Some(admin) = admin {
            end(admin, until);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Admin>>> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("servers", &self.config.servers).finish_non_exhaustive()
    }
}

/// How a request is to be made that must be answered within this time.
pub(crate) fn options_within(limit: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit))
}

/// Makes a client of this configuration.
///
/// # Errors
/// `Invalid/Value` for a value that the client refuses; `Unavailable/Client`.
pub(crate) fn create<T>(config: &ClientConfig, create: impl FnOnce(&ClientConfig) -> KafkaResult<T>) -> Result<T> {
    create(config).map_err(|error| match error {
        // The value may be a secret, so only the name is shown.
        KafkaError::ClientConfig(_, _, name, _) => Error::invalid("Value")
            .cause(format!("the client refuses the value of {name}"))
            .next("see the client's manual"),
        other => Error::new(ErrorKind::Unavailable, "Client")
            .cause(other.to_string())
            .next("check the settings, certificates and limits of this process"),
    })
}

/// Ends a client once no call holds it any more, or leaves that to the last call.
pub(crate) fn end<T>(mut client: Arc<T>, until: Instant) {
    while let Err(held) = Arc::try_unwrap(client) {
        if Instant::now() >= until {
            return;
        }
        client = held;
        pause(TRY_AGAIN);
    }
}

/// Waits on a thread that may block.
pub(crate) fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use busline_core::topic_not_found;

    #[test]
    fn a_broker_that_is_behind_is_asked_again_while_a_topic_is_fresh() {
        let clients = Clients::new(KafkaConfig::new(["127.0.0.1:1"])).expect("nobody needs to be there");
        let name = TopicName::new("orders").expect("legal");
        let ask = || {
            let mut asked = 0;
            clients.patiently_of(&name, || {
                asked += 1;
                if asked < 3 { Err(topic_not_found(&name)) } else { Ok(asked) }
            })
        };
        assert_eq!(ask().expect_err("nobody says that it is there").kind(), ErrorKind::NotFound);
        clients.fresh.note(name.as_str(), Duration::from_secs(3_600));
        assert_eq!(ask().expect("the third broker knows it"), 3);
        clients.fresh.forget(name.as_str());
        assert_eq!(ask().expect_err("it was deleted").kind(), ErrorKind::NotFound);
    }
}
