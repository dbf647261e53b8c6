//! What the driver can be told, and the URL that says it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use busline_core::{Error, ErrorKind, Result, escaped, percent_decoded};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::properties;

/// The settings of the Kafka driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Brokers to begin with, each `host:port`; the others are found through them. 1 to 64.
    pub servers: Vec<String>,
    /// Properties of the client, by name. Only those may be set that break no promise.
    pub properties: BTreeMap<String, String>,
    /// How members of a group agree. Default [`GroupProtocol::Auto`].
    pub group_protocol: GroupProtocol,
    /// Longest wait of a call for brokers that do not answer. Range 100 ms to 1 h, default 15 s: a change of leaders
    /// takes 8 to 14 s.
    pub patience: Duration,
    /// The password of the SASL user.
    pub password: Option<Secret>,
    /// The password of the private key.
    pub key_password: Option<Secret>,
}

/// How members of a group agree on who reads which partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// The protocol of KIP-848 where the brokers have it, else the classic one.
    #[default]
    Auto,
    /// The classic protocol with the cooperative-sticky assignor.
    Classic,
    /// The protocol of KIP-848.
    Consumer,
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The first line of a file.
    ///
    /// # Errors
    /// `NotFound/File`, `Denied/File`, `TooLarge/File`, `Invalid/FileEncoding`.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = escaped(&path.display().to_string());
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Denied,
            };
            Error::new(kind, "File").because(error).next("name a file that this program may read").at("read", &shown)
        };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > SECRET_BYTES_MAX {
            return Err(Error::new(ErrorKind::TooLarge, "File")
                .cause(format!("{size} bytes where {SECRET_BYTES_MAX} are allowed"))
                .next("name the file that holds the password alone")
                .at("read", shown));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::invalid("FileEncoding").cause("not UTF-8").next("write the password as text").at("read", &shown)
        })?;
        warn_of_readers(path);
        Ok(Self(text.lines().next().unwrap_or_default().to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Says that others may read a secret, which is allowed and seldom meant.
fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS: u32 = 0o077;
    if std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS != 0) {
        tracing::warn!("{}: other users may read this secret; set its mode to 600", path.display());
    }
}

const SECRET_BYTES_MAX: u64 = 65_536;
const SERVERS_MAX: usize = 64;
const PORT_DEFAULT: u16 = 9_092;

/// Where secrets stand that are in no file.
const PASSWORD_VARIABLE: &str = "BUSLINE_KAFKA_PASSWORD";
const KEY_PASSWORD_VARIABLE: &str = "BUSLINE_KAFKA_KEY_PASSWORD";

impl KafkaConfig {
    /// Most brokers in one list.
    pub const SERVERS_MAX: usize = SERVERS_MAX;

    /// The defaults, with these brokers, each `host` or `host:port`.
    pub fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            properties: BTreeMap::new(),
            group_protocol: GroupProtocol::Auto,
            patience: Duration::from_secs(15),
            password: None,
            key_password: None,
        }
    }

    /// Reads `kafka://host:port,host:port?property=value&…`, and secrets from the files it names or from the variables
    /// `BUSLINE_KAFKA_PASSWORD` and `BUSLINE_KAFKA_KEY_PASSWORD`.
    ///
    /// Keys are the client's properties, `sasl.password.file`, `ssl.key.password.file`, `group.protocol`
    /// (`auto`, `classic` or `consumer`) and `patience.ms`. Values are percent-decoded.
    ///
    /// # Errors
    /// `Invalid/Url`, `Invalid/Port`, `Invalid/UnknownKey`, `Invalid/RefusedKey`, `Invalid/DuplicateKey`,
    /// `Invalid/Value`, `TooLarge/ServerList`; what [`Secret::read`] refuses. No error shows what may be a secret.
    pub fn parse(url: &str) -> Result<Self> {
        parse(url).map_err(|error| error.at("connect", "kafka://"))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// `Invalid/Range`, `Invalid/Port`, `Invalid/Url`, `Invalid/UnknownKey`, `Invalid/RefusedKey`,
    /// `TooLarge/ServerList`, `Unsupported/Feature` for TLS in a build without it.
    pub fn validate(&self) -> Result<()> {
        if self.servers.is_empty() {
            return Err(url_error("no broker is named"));
        }
        if self.servers.len() > SERVERS_MAX {
            return Err(Error::new(ErrorKind::TooLarge, "ServerList")
                .cause(format!("{} brokers where {SERVERS_MAX} are allowed", self.servers.len()))
                .next("name two or three: the others are found through them"));
        }
        self.servers.iter().try_for_each(|server| check_server(server).map(drop))?;
        self.properties.keys().try_for_each(|name| properties::check(name))?;
        if !(Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&self.patience) {
            return Err(Error::invalid("Range")
                .cause(format!("patience = {:?} (100 ms to 1 h)", self.patience))
                .next("use a value in the range given"));
        }
        self.check_features(cfg!(feature = "tls"))
    }

    fn check_features(&self, has_tls: bool) -> Result<()> {
        let property = |name: &str| self.properties.get(name).map(|value| value.to_ascii_lowercase());
        let protocol = property("security.protocol").unwrap_or_default();
        let mechanism = property("sasl.mechanism").unwrap_or_default();
        if has_tls || !(protocol.ends_with("ssl") || mechanism.starts_with("scram")) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "Feature")
            .cause("this build leaves TLS and SCRAM out")
            .next("build with the feature 'kafka-tls'"))
    }

    /// What every client of this driver is told.
    pub(crate) fn client(&self, client_id: &str) -> ClientConfig {
        let mut client = ClientConfig::new();
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
            .set("bootstrap.servers", self.servers.join(","))
            .set("client.id", client_id)
            .set("allow.auto.create.topics", "false")
            // A client that may push waits up to a second for its last push when it ends.
            .set("enable.metrics.push", "false")
            .set("socket.timeout.ms", "10000")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "500")
            .set_log_level(RDKafkaLogLevel::Warning);
        if let Some(Secret(password)) = &self.password {
            client.set("sasl.password", password);
        }
        if let Some(Secret(password)) = &self.key_password {
            client.set("ssl.key.password", password);
        }
        client
    }
}

fn parse(url: &str) -> Result<KafkaConfig> {
    let rest = url.strip_prefix("kafka://").ok_or_else(|| url_error("it does not begin with kafka://"))?;
    if rest.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err(url_error("a space or control character stands in it"));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if place.contains('@') {
        return Err(url_error("a user or password stands in front of the brokers")
            .next("use ?sasl.username=NAME and sasl.password.file=PATH"));
    }
    let place = place.strip_suffix('/').unwrap_or(place);
    let mut config = KafkaConfig::new(Vec::<String>::new());
    for server in place.split(',').take(SERVERS_MAX + 1) {
        config.servers.push(check_server(server)?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| url_error("a setting has no '='"))?;
        set(&mut config, name, &decoded(value)?)?;
    }
    let variable = |name: &str| std::env::var(name).ok().map(Secret);
    config.password = config.password.or_else(|| variable(PASSWORD_VARIABLE));
    config.key_password = config.key_password.or_else(|| variable(KEY_PASSWORD_VARIABLE));
    config.validate()?;
    Ok(config)
}

fn set(config: &mut KafkaConfig, name: &str, value: &str) -> Result<()> {
    properties::check(name)?;
    let bad_value =
        |accepted: &'static str| Error::invalid("Value").cause(format!("{name} = '{}'", escaped(value))).next(accepted);
    match name {
        properties::PASSWORD_FILE => config.password = Some(Secret::read(Path::new(value))?),
        properties::KEY_PASSWORD_FILE => config.key_password = Some(Secret::read(Path::new(value))?),
        properties::GROUP_PROTOCOL => {
            config.group_protocol = match value {
                "auto" => GroupProtocol::Auto,
                "classic" => GroupProtocol::Classic,
                "consumer" => GroupProtocol::Consumer,
                _ => return Err(bad_value("use auto, classic or consumer")),
            }
        }
        properties::PATIENCE => {
            let millis = value.parse().map_err(|_| bad_value("use a number of milliseconds"))?;
            config.patience = Duration::from_millis(millis);
        }
        _ => {
            if config.properties.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(Error::invalid("DuplicateKey").cause(format!("{name} stands twice")).next("set it once"));
            }
        }
    }
    Ok(())
}

/// Checks `host`, `host:port` or `[v6]:port`; gives it with its port.
fn check_server(server: &str) -> Result<String> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (server, None),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_legal = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    if !is_legal {
        return Err(url_error("a broker is no host:port").next("write kafka://host:port,host:port"));
    }
    let port = match port {
        None => PORT_DEFAULT,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            Error::invalid("Port").cause(format!("'{}' is no port", escaped(port))).next("use 1 to 65535")
        })?,
    };
    Ok(format!("{host}:{port}"))
}

fn decoded(value: &str) -> Result<String> {
    percent_decoded(value).map_err(|error| error.next(URL_NEXT))
}

const URL_NEXT: &str = "write kafka://host:port,host:port?setting=value";

/// The URL itself is never shown: a part of it may be a secret.
fn url_error(cause: &'static str) -> Error {
    Error::invalid("Url").cause(cause).next(URL_NEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, code: &str) -> String {
        let error = KafkaConfig::parse(url).expect_err(url);
        assert_eq!(error.code(), code, "{url}");
        error.to_string()
    }

    #[test]
    fn a_url_names_brokers_and_settings() {
        let config = KafkaConfig::parse("kafka://a:1,b,[::1]:3/?linger.ms=5&client.rack=r%201&patience.ms=500");
        let config = config.expect("legal");
        assert_eq!(config.servers, ["a:1", "b:9092", "[::1]:3"]);
        assert_eq!(config.properties["client.rack"], "r 1");
        assert_eq!(config.patience, Duration::from_millis(500));
        assert_eq!(config.client("x").get("linger.ms"), Some("5"));
        assert!(KafkaConfig::parse("kafka://a/?group.protocol=classic").is_ok());
    }

    #[test]
    fn each_bad_url_gives_its_reason() {
        for url in ["kafka:a", "kafka://", "kafka:///x", "kafka://a b", "kafka://a\n", "kafka://[fe80::1%1]:1"] {
            check(url, "Invalid/Url");
        }
        for url in ["kafka://a:0", "kafka://a:65536", "kafka://a:", "kafka://a:x"] {
            check(url, "Invalid/Port");
        }
        check("kafka://a?linger.ms=1&linger.ms=2", "Invalid/DuplicateKey");
        check("kafka://a?group.protocol=x", "Invalid/Value");
        check("kafka://a?nothing=1", "Invalid/UnknownKey");
        check("kafka://a?acks=1", "Invalid/RefusedKey");
        check("kafka://a?patience.ms=1", "Invalid/Range");
        check("kafka://a?client.rack=%f", "Invalid/Url");
        check(&format!("kafka://{}", vec!["a:1"; 1_000].join(",")), "TooLarge/ServerList");
        check("kafka://a?sasl.password.file=/nothing/here", "NotFound/File");
    }

    #[test]
    fn no_secret_is_shown() {
        let text = check("kafka://user:p@ss:w/rd@a:1", "Invalid/Url");
        assert!(!text.contains("ss:w") && !text.contains("rd@"), "{text}");
        let text = check("kafka://a?sasl.password=geheim", "Invalid/RefusedKey");
        assert!(!text.contains("geheim"), "{text}");
        let mut config = KafkaConfig::new(["a:1"]);
        config.password = Some(Secret::new("geheim"));
        assert!(!format!("{config:?}").contains("geheim"));
        assert!(!format!("{:?}", config.client("x")).contains("geheim"));
    }

    #[test]
    fn a_build_without_tls_says_so() {
        for (name, value) in [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "scram-sha-256")] {
            let mut config = KafkaConfig::new(["a:1"]);
            config.properties.insert(name.into(), value.into());
            let error = config.check_features(false).expect_err(value);
            assert_eq!(error.code(), "Unsupported/Feature", "{error}");
            assert!(error.to_string().contains("kafka-tls"), "{error}");
            config.check_features(true).expect("a build with TLS takes it");
        }
        KafkaConfig::new(["a:1"]).check_features(false).expect("nothing needs TLS");
    }
}
