//! What is asked of the brokers that coordinate groups, by a client that ends with a question nobody answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use busline_core::{Result, bus_closed};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;

use crate::clients::{Logging, create, end};
use crate::error;
use crate::native::Native;

/// The client of these questions, made when the first one is asked.
///
/// A question that the C library gives up by itself ends the whole process once the coordinator is found after all
/// (decision 16). So here the caller gives up, long before the library, and the client ends with its open question.
pub(crate) struct Coordinators {
    config: ClientConfig,
    client: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Open(Arc<BaseConsumer<Logging>>),
    Closed,
}

impl Coordinators {
    pub(crate) fn new(mut config: ClientConfig) -> Self {
        // Where a broker is not the coordinator any more, the library looks for that of the client's own group. It is
        // never joined and commits nothing.
        config.set("group.id", "busline-coordinators").set("enable.auto.commit", "false");
        Self { config, client: Mutex::default() }
    }

    /// Asks one question with this client, which may be asked several at a time.
    ///
    /// # Errors
    /// `Closed/Bus`, and those of the question.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Arc<dyn Native>) -> Result<T>) -> Result<T> {
        let client = self.client()?;
        let native: Arc<dyn Native> = Arc::<BaseConsumer<Logging>>::clone(&client);
        let answer = question(&native);
        if answer.as_ref().is_err_and(error::is_unanswered) {
            self.abandon(&client);
        }
        answer
    }

    fn client(&self) -> Result<Arc<BaseConsumer<Logging>>> {
        let mut state = self.lock();
        match &*state {
            State::Open(client) => Ok(Arc::clone(client)),
            State::Closed => Err(bus_closed()),
            State::None => {
                let made = create(&self.config, |config| config.create_with_context::<_, BaseConsumer<_>>(Logging))?;
                let client = Arc::new(made);
                *state = State::Open(Arc::clone(&client));
                Ok(client)
            }
        }
    }

    /// The next question gets another client. This one ends with the last question that is still asked with it.
    fn abandon(&self, client: &Arc<BaseConsumer<Logging>>) {
        let mut state = self.lock();
        if matches!(&*state, State::Open(open) if Arc::ptr_eq(open, client)) {
            *state = State::None;
        }
    }

    /// Ends the client; questions that are still asked keep it for as long as they need.
    pub(crate) fn close(&self, until: Instant) {
        let closed = std::mem::replace(&mut *self.lock(), State::Closed);
        if let State::Open(client) = closed {
            end(client, until);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
