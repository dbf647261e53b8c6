//! The client library's connection, for administration: it finds its way back to the cluster by itself.

use std::time::Duration;

use async_nats::rustls::ClientConfig;
use async_nats::{Client, ConnectOptions, ServerAddr};
use busline_core::{Error, Result};

use crate::auth::{Auth, key_pair};
use crate::config::NatsConfig;
use crate::error::from_connect;
use crate::standing::Standing;

/// Connects; the client's tasks run on the runtime of the caller. `standing` learns why it cannot connect again later.
///
/// # Errors
/// `Denied/Credentials`, `Denied/Tls`, `Unavailable/Server`.
pub(crate) async fn connect(config: NatsConfig, auth: Auth, tls: ClientConfig, standing: Standing) -> Result<Client> {
    let scheme = if config.tls.required { "tls" } else { "nats" };
    let addresses = config.servers.iter().map(|server| format!("{scheme}://{}", server.authority()).parse());
    let addresses: Vec<ServerAddr> = addresses
        .collect::<std::io::Result<_>>()
        .map_err(|_| Error::invalid("Url").cause("a host that is none").next("write nats://host:4222"))?;
    let options = presenting(auth)?
        .name("busline")
        .tls_client_config(tls)
        .require_tls(config.tls.required)
        .connection_timeout(config.connect_timeout)
        .ping_interval(Duration::from_secs(5))
        .request_timeout(None)
        .event_callback(move |event| {
            standing.note(&event);
            std::future::ready(())
        })
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(20) * u32::try_from(attempts.saturating_sub(1).min(25)).unwrap_or(25)
        });
    options.connect(addresses).await.map_err(|error| from_connect(&error))
}

fn presenting(auth: Auth) -> Result<ConnectOptions> {
    Ok(match auth {
        Auth::None => ConnectOptions::new(),
        Auth::User(name, password) => ConnectOptions::with_user_and_password(name, password.reveal().into()),
        Auth::Token(token) => ConnectOptions::with_token(token.reveal().into()),
        Auth::Nkey(seed) => ConnectOptions::with_nkey(seed.reveal().into()),
        Auth::Jwt { jwt, seed } => {
            let pair = std::sync::Arc::new(key_pair(&seed)?);
            ConnectOptions::with_jwt(jwt.reveal().into(), move |nonce| {
                let pair = std::sync::Arc::clone(&pair);
                async move { pair.sign(&nonce).map_err(async_nats::AuthError::new) }
            })
        }
    })
}
