//! Opening links: which server, TLS, and the handshake.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::rustls::ClientConfig;
use async_nats::rustls::pki_types::ServerName;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use busline_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::auth::{Auth, key_pair};
use crate::config::ServerAddress;
use crate::denial::Denial;
use crate::error::{denied, ended_early, protocol, tls_failed, unreachable};
use crate::link::{Heard, Io, Link, ServerInfo};

/// Opens connections to the servers of one bus.
pub(crate) struct Dialer {
    servers: Mutex<Vec<ServerAddress>>,
    auth: Auth,
    tls: Arc<ClientConfig>,
    tls_required: bool,
    connect_timeout: Duration,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Dialer {
    pub(crate) fn new(
        servers: Vec<ServerAddress>,
        auth: Auth,
        tls: Arc<ClientConfig>,
        tls_required: bool,
        connect_timeout: Duration,
    ) -> Self {
        Self { servers: Mutex::new(servers), auth, tls, tls_required, connect_timeout }
    }

    /// A connection to the first server that takes one, beginning anywhere in the list.
    ///
    /// # Errors
    /// `Denied/Credentials`, `Denied/Tls`, `Unavailable/Server`: of the last server tried.
    pub(crate) async fn dial(&self) -> Result<Link> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let first = rand::random_range(0..servers.len());
        let mut last = unreachable("no server");
        for server in servers.iter().cycle().skip(first).take(servers.len()) {
            match timeout(self.connect_timeout, self.open(server)).await {
                Ok(Ok(link)) => {
                    self.learn(&link.info().connect_urls);
                    return Ok(link);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = unreachable(format!("no answer within {:?}", self.connect_timeout)),
            }
            last = last.at("connect", server.authority());
        }
        Err(last)
    }

    /// Adds the servers of the cluster that the server names.
    fn learn(&self, urls: &[String]) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        for url in urls {
            let Some((host, port)) = url.rsplit_once(':') else { continue };
            let Ok(port) = port.parse() else { continue };
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let learned = ServerAddress { host, port };
            if servers.len() < crate::config::SERVERS_MAX && !servers.contains(&learned) {
                servers.push(learned);
            }
        }
    }

    async fn open(&self, server: &ServerAddress) -> Result<Link> {
        let refused = |error: std::io::Error| unreachable("the connection failed").because(error);
        let mut socket = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(refused)?;
        socket.set_nodelay(true).map_err(refused)?;
        let info = read_info(&mut socket).await?;
        let io: Box<dyn Io> = if self.tls_required || info.tls_required {
            let name = ServerName::try_from(server.host.clone())
                .map_err(|_| Error::invalid("Url").cause("a host that TLS cannot name").next("use a DNS name"))?;
            let connector = TlsConnector::from(Arc::clone(&self.tls));
            Box::new(
                connector
                    .connect(name, socket)
                    .await
                    .map_err(|error| tls_failed(format!("the TLS handshake failed: {error}")))?,
            )
        } else {
            Box::new(socket)
        };
        let hello = self.hello(&info)?;
        let mut link = Link::new(io, info);
        link.push(hello.as_bytes());
        shake_hands(&mut link).await?;
        Ok(link)
    }

    /// The client's first words, with a PING whose answer says that they were accepted.
    fn hello(&self, info: &ServerInfo) -> Result<String> {
        let mut hello = json!({
            "verbose": false, "pedantic": false, "tls_required": self.tls_required, "lang": "rust", "name": "busline",
            "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "echo": false, "headers": true, "no_responders": true,
        });
        self.present(&mut hello, info.nonce.as_deref().unwrap_or(""))?;
        Ok(format!("CONNECT {hello}\r\nPING\r\n"))
    }

    fn present(&self, hello: &mut Value, nonce: &str) -> Result<()> {
        match &self.auth {
            Auth::None => {}
            Auth::User(name, password) => {
                hello["user"] = json!(name);
                hello["pass"] = json!(password.reveal());
            }
            Auth::Token(token) => hello["auth_token"] = json!(token.reveal()),
            Auth::Nkey(seed) => {
                hello["nkey"] = json!(key_pair(seed)?.public_key());
                hello["sig"] = json!(sign(seed, nonce)?);
            }
            Auth::Jwt { jwt, seed } => {
                hello["jwt"] = json!(jwt.reveal());
                hello["sig"] = json!(sign(seed, nonce)?);
            }
        }
        Ok(())
    }
}

fn sign(seed: &crate::secret::Secret, nonce: &str) -> Result<String> {
    let signature = key_pair(seed)?
        .sign(nonce.as_bytes())
        .map_err(|_| Error::invalid("Credentials").cause("the key cannot sign").next("use a user's seed"))?;
    Ok(URL_SAFE_NO_PAD.encode(signature))
}

/// The server's first line, byte by byte: what follows may be TLS and is not ours to read.
async fn read_info(socket: &mut TcpStream) -> Result<ServerInfo> {
    const INFO_BYTES_MAX: usize = 1 << 20;
    let mut line = Vec::with_capacity(1_024);
    let mut reader = tokio::io::BufReader::with_capacity(1, socket);
    loop {
        let byte = reader.read_u8().await.map_err(|error| unreachable("the connection failed").because(error))?;
        if byte == b'\n' {
            break;
        }
        line.push(byte);
        if line.len() > INFO_BYTES_MAX {
            return Err(protocol("a first line without an end"));
        }
    }
    let json = line.strip_prefix(b"INFO ").ok_or_else(|| protocol("the first line is no INFO"))?;
    serde_json::from_slice(json).map_err(|error| protocol("an INFO that cannot be read").because(error))
}

async fn shake_hands(link: &mut Link) -> Result<()> {
    loop {
        if let Some(Heard::Complaint(text)) = link.next()? {
            return Err(complaint(text));
        }
        if link.has_heard_pong() {
            return Ok(());
        }
        link.drive().await.map_err(ended_early)?;
    }
}

/// Why a server complains, or ends a connection. It gives no code, so its text decides; unknown ones are "unavailable".
pub(crate) fn complaint(text: &str) -> Error {
    if let Some(denial) = Denial::read(text) {
        return denial.error();
    }
    let text = text.trim().trim_matches('\'');
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("authorization violation") || lower.starts_with("authentication") {
        return denied();
    }
    if lower.starts_with("user authentication expired") {
        return Error::new(ErrorKind::Denied, "CredentialsExpired")
            .cause("the credentials have expired")
            .next("renew the credentials file");
    }
    unreachable(format!("the server says: {}", busline_core::escaped(text)))
}
