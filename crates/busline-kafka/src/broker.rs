//! What a broker says of itself.

use std::collections::HashMap;
use std::time::Duration;

use busline_core::Result;

use crate::clients::Clients;
use crate::error;
use crate::native::{self, Resource};

/// The brokers that are known, and the configuration of one of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Broker {
    pub(crate) count: usize,
    /// `None` if this user may not ask for it.
    settings: Option<HashMap<String, String>>,
}

/// Asks the first broker that is known.
///
/// # Errors
/// `Unavailable/…` if no broker answers.
pub(crate) fn ask(clients: &Clients) -> Result<Broker> {
    let admin = clients.admin()?;
    let metadata = admin.inner().fetch_metadata(Some("busline-probe"), clients.patience());
    let metadata = metadata.map_err(|error| error::of(&error).at("ask", "brokers"))?;
    let count = metadata.brokers().len();
    let Some(first) = metadata.brokers().first() else { return Ok(Broker { count, settings: None }) };
    let told = native::describe_configs(&clients.native()?, &[Resource::Broker(first.id())], clients.patience());
    let settings = told.ok().and_then(|told| told.into_iter().next()?.ok()).map(|settings| {
        settings.into_iter().filter_map(|setting| Some((setting.name, setting.value?))).collect::<HashMap<_, _>>()
    });
    Ok(Broker { count, settings })
}

impl Broker {
    /// Whether its configuration could be read.
    pub(crate) fn is_open(&self) -> bool {
        self.settings.is_some()
    }

    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.as_ref()?.get(name).map(String::as_str)
    }

    /// The session of the group protocol of KIP-848; `None` if it does not have that, or does not say so.
    pub(crate) fn consumer_session(&self) -> Option<Duration> {
        self.setting("group.consumer.session.timeout.ms")?.parse().ok().map(Duration::from_millis)
    }

    #[cfg(test)]
    pub(crate) fn with(count: usize, settings: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { count, settings: Some(settings.iter().map(owned).collect()) }
    }
}
