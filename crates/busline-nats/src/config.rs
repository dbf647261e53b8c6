//! Settings of the driver, as a struct and as a URL.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use busline_core::{Error, Result, escaped, percent_decoded};

use crate::secret::{Secret, SecretSource};

/// Most servers in one list.
pub const SERVERS_MAX: usize = 64;

/// The port of a server that names none.
const PORT: u16 = 4_222;

/// One server to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    /// From 1.
    pub port: u16,
}

impl ServerAddress {
    /// `host:port`, IPv6 in brackets.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Who the client says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// User and password.
    User {
        /// The user.
        name: String,
        /// The password.
        password: SecretSource,
    },
    /// A token.
    Token(SecretSource),
    /// The seed of an NKey, which signs the server's challenge.
    Nkey(SecretSource),
    /// A credentials file: a JWT and its seed.
    File(PathBuf),
}

/// TLS beyond the system's root certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Refuse to talk without TLS.
    pub required: bool,
    /// PEM file of certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's certificate chain.
    pub certificate: Option<PathBuf>,
    /// PEM file of the client's private key.
    pub key: Option<PathBuf>,
}

/// How a topic's records are sent, for the benchmark; the default chooses by what the server can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Fast ingest where the server has it and positions are not required, else pipelined.
    #[default]
    Best,
    /// Fast ingest (server 2.14 or later).
    Fast,
    /// One message for each record, each with an id, each answered.
    Pipelined,
}

/// Settings of a connection to NATS JetStream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// At least one server; others of the cluster are learned.
    pub servers: Vec<ServerAddress>,
    /// Who the client is.
    pub credentials: Credentials,
    /// TLS.
    pub tls: TlsConfig,
    /// Longest time of one attempt to connect. Range 10 ms to 1 min, default 5 s.
    pub connect_timeout: Duration,
    /// Longest wait of a call for servers that do not answer. Range 100 ms to 1 h, default 12 s, which is longer than
    /// an election took on real servers.
    pub patience: Duration,
    /// How records are sent.
    pub strategy: Strategy,
    /// `host:port` of each server's monitoring, asked at open whether it syncs before it acks; see
    /// [`Medium::Synced`](busline_core::Medium::Synced). Without it nothing is called synced.
    pub monitors: Vec<ServerAddress>,
}

impl NatsConfig {
    /// Most servers in one list.
    pub const SERVERS_MAX: usize = SERVERS_MAX;

    /// The defaults, on this server.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self::of(vec![ServerAddress { host: host.into(), port }])
    }

    fn of(servers: Vec<ServerAddress>) -> Self {
        Self {
            servers,
            credentials: Credentials::None,
            tls: TlsConfig::default(),
            connect_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(12),
            strategy: Strategy::Best,
            monitors: Vec::new(),
        }
    }

    /// Reads a URL: `nats://[user:password@|token@]host[:port][,host[:port]…][/][?key=value…]`, or `tls://…`.
    ///
    /// User, password and token are percent-encoded. Keys: `creds`, `nkey`, `token_file`, `password_file`, `ca`, `cert`,
    /// `key` name files; `token_env`, `password_env` name variables of the environment; `user` names the user;
    /// `monitor` lists `host:port` of the servers' monitoring; `strategy` is `best`, `fast` or `pipelined`.
    ///
    /// # Errors
    /// `Invalid/Url`, `Invalid/Port`, `Invalid/UnknownKey`, `Invalid/DuplicateKey`, `Invalid/Contradiction`,
    /// `TooLarge/ServerList`. None of them shows what may be a secret.
    pub fn from_url(url: &str) -> Result<Self> {
        parse(url).map_err(|error| error.at("connect", "to a NATS URL"))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// `Invalid/Range`, `Invalid/Contradiction`, `TooLarge/ServerList`.
    pub fn validate(&self) -> Result<()> {
        if self.servers.is_empty() {
            return Err(Error::invalid("Url").cause("no server").next("name at least one host"));
        }
        if self.servers.len() > SERVERS_MAX {
            return Err(too_many(self.servers.len()));
        }
        if self.servers.iter().any(|server| server.port == 0) {
            return Err(bad_port());
        }
        let mut wrong = Vec::new();
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&self.connect_timeout) {
            wrong.push(format!("connect_timeout = {:?} (10 ms to 1 min)", self.connect_timeout));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&self.patience) {
            wrong.push(format!("patience = {:?} (100 ms to 1 h)", self.patience));
        }
        if !wrong.is_empty() {
            return Err(Error::invalid("Range").cause(wrong.join(", ")).next("use values in the ranges given"));
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(contradiction("a client certificate needs its key, and a key its certificate"));
        }
        Ok(())
    }

    /// The servers, for messages.
    pub(crate) fn shown(&self) -> String {
        self.servers.iter().map(ServerAddress::authority).collect::<Vec<_>>().join(",")
    }
}

fn parse(url: &str) -> Result<NatsConfig> {
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad_url("a space or control character"));
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad_url("no '://'"))?;
    // Further servers may repeat the scheme, as NATS tools write them.
    let rest = rest.replace(&format!(",{scheme}://"), ",");
    let (authority, query) = rest.split_once('?').unwrap_or((&rest, ""));
    let (authority, path) = authority.split_once('/').unwrap_or((authority, ""));
    if !path.is_empty() {
        // Also where an unescaped '/' of a password ends up, so the text is not shown.
        return Err(bad_url("something behind the servers' '/'"));
    }
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    let servers = servers(hosts)?;
    let mut config = NatsConfig::of(servers);
    config.tls.required = match scheme {
        "tls" => true,
        "nats" => false,
        _ => {
            return Err(Error::invalid("UrlScheme").cause("neither nats nor tls").next("begin with nats:// or tls://"));
        }
    };
    let mut identities = Vec::new();
    if let Some(user) = user {
        identities.push(inline(user)?);
    }
    parameters(query, &mut config, &mut identities)?;
    if identities.len() > 1 {
        return Err(contradiction("two ways to say who the client is"));
    }
    config.credentials = identities.pop().unwrap_or_default();
    config.validate()?;
    Ok(config)
}

/// What stands before `@`: user and password, or a token.
fn inline(text: &str) -> Result<Credentials> {
    if text.contains(['@', '/']) || text.matches(':').count() > 1 {
        return Err(bad_url("an unescaped character before '@'"));
    }
    Ok(match text.split_once(':') {
        Some((name, password)) => {
            Credentials::User { name: decoded(name)?, password: SecretSource::Text(Secret::new(decoded(password)?)) }
        }
        None => Credentials::Token(SecretSource::Text(Secret::new(decoded(text)?))),
    })
}

fn parameters(query: &str, config: &mut NatsConfig, identities: &mut Vec<Credentials>) -> Result<()> {
    let mut seen = HashSet::new();
    let mut user = None;
    let mut password = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| bad_url("a parameter without '='"))?;
        if !seen.insert(key) {
            return Err(Error::invalid("DuplicateKey").cause(format!("'{}' twice", escaped(key))).next("give it once"));
        }
        let value = decoded(value)?;
        match key {
            "creds" => identities.push(Credentials::File(value.into())),
            "nkey" => identities.push(Credentials::Nkey(SecretSource::File(value.into()))),
            "token_file" => identities.push(Credentials::Token(SecretSource::File(value.into()))),
            "token_env" => identities.push(Credentials::Token(SecretSource::Variable(value))),
            "user" => user = Some(value),
            "password_file" => password = Some(SecretSource::File(value.into())),
            "password_env" => password = Some(SecretSource::Variable(value)),
            "ca" => config.tls.ca = Some(value.into()),
            "cert" => config.tls.certificate = Some(value.into()),
            "key" => config.tls.key = Some(value.into()),
            "monitor" => config.monitors = servers(&value)?,
            "strategy" => config.strategy = strategy(&value)?,
            _ => return Err(unknown_key(key)),
        }
    }
    if seen.contains("password_file") && seen.contains("password_env") {
        return Err(contradiction("password_file and password_env"));
    }
    match (user, password) {
        (None, None) => {}
        (Some(name), Some(password)) => identities.push(Credentials::User { name, password }),
        _ => return Err(contradiction("a user needs password_file or password_env, and a password its user")),
    }
    Ok(())
}

const KEYS: &str =
    "creds, nkey, token_file, token_env, user, password_file, password_env, ca, cert, key, monitor, strategy";

fn unknown_key(key: &str) -> Error {
    Error::invalid("UnknownKey").cause(format!("no parameter '{}'", escaped(key))).next(format!("use one of {KEYS}"))
}

fn strategy(value: &str) -> Result<Strategy> {
    match value {
        "best" => Ok(Strategy::Best),
        "fast" => Ok(Strategy::Fast),
        "pipelined" => Ok(Strategy::Pipelined),
        _ => Err(Error::invalid("Value").cause("an unknown strategy").next("use best, fast or pipelined")),
    }
}

fn servers(list: &str) -> Result<Vec<ServerAddress>> {
    let count = list.split(',').count();
    if count > SERVERS_MAX {
        return Err(too_many(count));
    }
    list.split(',').map(server).collect()
}

fn server(text: &str) -> Result<ServerAddress> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(|| bad_url("a '[' without ']'"))?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad_url("no IPv6 address between '[' and ']'"))?;
            (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("")).ok_or_else(bad_port)?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.len() > 253 || !host.chars().all(legal) || (host.contains(':') && !text.starts_with('['))
    {
        return Err(bad_url("no host, or a character that no host has"));
    }
    let bare = !text.trim_start_matches(['[', ']']).contains(':') || (text.ends_with(']'));
    let port = match port {
        "" if bare => PORT,
        digits => digits.parse().ok().filter(|port| *port != 0).ok_or_else(bad_port)?,
    };
    Ok(ServerAddress { host: host.into(), port })
}

fn decoded(text: &str) -> Result<String> {
    let text = percent_decoded(text).map_err(|error| error.next(URL_NEXT))?;
    if text.chars().any(char::is_control) { Err(bad_url("a control character")) } else { Ok(text) }
}

const URL_NEXT: &str = "write nats://host:4222; percent-encode ':', '@' and '/' in user, password and token";

fn bad_url(cause: &str) -> Error {
    Error::invalid("Url").cause(cause).next(URL_NEXT)
}

fn bad_port() -> Error {
    Error::invalid("Port").cause("no number from 1 to 65535").next("write host:port")
}

fn too_many(count: usize) -> Error {
    Error::new(busline_core::ErrorKind::TooLarge, "ServerList")
        .cause(format!("{count} servers where {SERVERS_MAX} are allowed"))
        .next("name some: the others of a cluster are learned")
}

fn contradiction(cause: &str) -> Error {
    Error::invalid("Contradiction").cause(cause).next("give one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> Error {
        let error = NatsConfig::from_url(url).expect_err(url);
        for secret in ["hunter2", "p@ss", "s3cret"] {
            assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
        }
        error
    }

    #[test]
    fn a_url_names_servers_and_their_ports() {
        let config = NatsConfig::from_url("nats://a,b:4333,[::1]:5000/").expect("legal");
        assert_eq!(config.shown(), "a:4222,b:4333,[::1]:5000");
        assert!(!config.tls.required);
        assert!(NatsConfig::from_url("tls://a").expect("legal").tls.required);
        assert_eq!(NatsConfig::from_url("nats://a:1,nats://b:2").expect("legal").shown(), "a:1,b:2");
    }

    #[test]
    fn a_secret_is_kept_and_never_printed() {
        let config = NatsConfig::from_url("nats://shop:hunter2%40@a").expect("legal");
        let Credentials::User { name, password } = &config.credentials else { panic!("a user") };
        assert_eq!((name.as_str(), password.load().expect("a text").reveal()), ("shop", "hunter2@"));
        assert!(!format!("{config:?}").contains("hunter2"));
        let config = NatsConfig::from_url("nats://s3cret@a").expect("legal");
        assert!(matches!(config.credentials, Credentials::Token(_)) && !format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_wrong_in_a_url_is_named() {
        for (url, code) in [
            ("nats://user:p@ss:w/rd@a", "Invalid/Url"),
            ("nats://user:p@ss:wrd@a", "Invalid/Url"),
            ("nats://a\nb", "Invalid/Url"),
            ("nats://[fe80::1%25eth0]:4222", "Invalid/Url"),
            ("nats://", "Invalid/Url"),
            ("nats://a,,b", "Invalid/Url"),
            ("nats://a:0", "Invalid/Port"),
            ("nats://a:65536", "Invalid/Port"),
            ("nats://a:", "Invalid/Port"),
            ("nats://a?colour=red", "Invalid/UnknownKey"),
            ("nats://a?creds=x&creds=y", "Invalid/DuplicateKey"),
            ("nats://a?creds=x&token_env=Y", "Invalid/Contradiction"),
            ("nats://s3cret@a?creds=x", "Invalid/Contradiction"),
            ("nats://a?cert=x", "Invalid/Contradiction"),
            ("nats://a?user=x", "Invalid/Contradiction"),
            ("nats://a,tls://b", "Invalid/Url"),
            ("ftp://a", "Invalid/UrlScheme"),
        ] {
            assert_eq!(refused(url).code(), code, "{url}");
        }
        assert_eq!(refused(&format!("nats://{}", vec!["a"; 1_000].join(","))).code(), "TooLarge/ServerList");
    }
}
