//! From a URL to a bus.

use std::sync::Arc;

use busline_core::{Bus, Error, MemoryDriver, Result, escaped};

/// What a URL may begin with, as errors list it.
const SCHEMES: &str = "memory:, sqlite:PATH, nats://HOST, tls://HOST, kafka://HOST:PORT";

/// Opens the backend that the URL names.
///
/// `memory:` lives and dies with the process; `sqlite:PATH` is a durable log in one file, such as `sqlite:shop.db`;
/// `nats://HOST[:PORT]` (or `tls://`) is a NATS JetStream server or cluster, with parameters as `NatsConfig::from_url` has
/// them, in a build with the feature `nats`; `kafka://HOST:PORT,HOST:PORT?setting=value` is a cluster of Kafka brokers, in a
/// build with the feature `kafka`.
///
/// # Errors
/// `Invalid/UrlScheme` with the list of schemes; `Invalid/Url` for a control character or what the scheme does not take;
/// `Invalid/UnknownKey` for a parameter; `Unsupported/Feature` for a backend that this build leaves out; what opening the
/// backend refuses. No error shows what may be a secret in the URL.
///
/// # Cancel safety
/// Dropping the future may leave a new, empty file behind.
pub async fn connect(url: &str) -> Result<Bus> {
    open(url, Facts::Unwanted).await.map(|found| found.bus)
}

/// A bus, with what its backend found out about the servers.
#[derive(Debug)]
pub struct Found {
    /// The bus.
    pub bus: Bus,
    /// For people: a name and a text each, in the backend's own words; empty where there is no server.
    pub facts: Vec<(&'static str, String)>,
}

impl Found {
    fn without_server(bus: Bus) -> Self {
        Self { bus, facts: Vec::new() }
    }
}

/// As [`connect`], and says what was found out about the servers: their version, what is used of it, and what acks attest.
///
/// # Errors
/// Those of [`connect`].
///
/// # Cancel safety
/// That of [`connect`].
pub async fn connect_with_facts(url: &str) -> Result<Found> {
    open(url, Facts::Wanted).await
}

/// Whether servers are asked for more than is needed to use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Facts {
    Wanted,
    Unwanted,
}

async fn open(url: &str, facts: Facts) -> Result<Found> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(unknown_scheme("").at("connect", "to a URL without a scheme"));
    };
    if let Some(at) = url.find(char::is_control) {
        return Err(Error::invalid("Url")
            .cause(format!("a control character at byte {at}"))
            .next("write the URL without control characters, on one line")
            .at("connect", format!("{}:", escaped(scheme))));
    }
    match scheme {
        "memory" if rest.is_empty() => Ok(Found::without_server(Bus::new(Arc::new(MemoryDriver::new())))),
        "memory" => {
            Err(Error::invalid("Url").cause("memory: takes no path").next("use memory:").at("connect", "memory:"))
        }
        "sqlite" => sqlite(rest).await.map(Found::without_server),
        "nats" | "tls" => nats(url).await,
        "kafka" => kafka(url, facts).await,
        _ => Err(unknown_scheme(scheme).at("connect", format!("{}:", escaped(scheme)))),
    }
}

fn unknown_scheme(scheme: &str) -> Error {
    let cause = if scheme.is_empty() { "no scheme".into() } else { format!("'{}' is no scheme", escaped(scheme)) };
    Error::invalid("UrlScheme").cause(cause).next(format!("begin the URL with one of {SCHEMES}"))
}

/// The error of a URL whose driver is not in this build.
#[cfg(not(all(feature = "sqlite", feature = "nats", feature = "kafka")))]
fn left_out(driver: &str, next: &'static str) -> Error {
    Error::new(busline_core::ErrorKind::Unsupported, "Feature")
        .cause(format!("this build leaves the {driver} driver out"))
        .next(next)
        .at("connect", format!("{driver}:"))
}

#[cfg(feature = "sqlite")]
async fn sqlite(path: &str) -> Result<Bus> {
    check_path(path).map_err(|error| error.at("connect", "sqlite:"))?;
    let driver = busline_sqlite::SqliteDriver::open(busline_sqlite::SqliteConfig::new(path)).await?;
    Ok(Bus::new(Arc::new(driver)))
}

/// A parameter's name is shown and its value is not, which may be a secret.
#[cfg(feature = "sqlite")]
fn check_path(path: &str) -> Result<()> {
    const PLAIN: &str = "write sqlite:shop.db or sqlite:/var/lib/shop.db";
    if path.is_empty() || path.starts_with("//") {
        return Err(Error::invalid("Url").cause("sqlite: takes a plain path, and no //").next(PLAIN));
    }
    let Some((_, parameters)) = path.split_once('?') else { return Ok(()) };
    let name = parameters.split(['=', '&']).next().unwrap_or_default();
    Err(Error::invalid("UnknownKey")
        .cause(format!("parameter '{}', and sqlite: takes none", escaped(name)))
        .next(PLAIN))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_path: &str) -> Result<Bus> {
    Err(left_out("sqlite", "build with the feature 'sqlite'"))
}

#[cfg(feature = "nats")]
async fn nats(url: &str) -> Result<Found> {
    let driver = busline_nats::NatsDriver::open(busline_nats::NatsConfig::from_url(url)?).await?;
    let facts = driver.facts();
    Ok(Found { bus: Bus::new(Arc::new(driver)), facts })
}

#[cfg(not(feature = "nats"))]
async fn nats(_url: &str) -> Result<Found> {
    Err(left_out("nats", "build with the feature 'nats'"))
}

#[cfg(feature = "kafka")]
async fn kafka(url: &str, facts: Facts) -> Result<Found> {
    let driver = busline_kafka::KafkaDriver::open(busline_kafka::KafkaConfig::parse(url)?).await?;
    let facts = if facts == Facts::Wanted { driver.facts().await } else { Vec::new() };
    Ok(Found { bus: Bus::new(Arc::new(driver)), facts })
}

#[cfg(not(feature = "kafka"))]
async fn kafka(_url: &str, _facts: Facts) -> Result<Found> {
    Err(left_out("kafka", "build with the feature 'kafka', which needs a C and a C++ compiler and make"))
}

#[cfg(test)]
mod kafka_tests {
    use super::connect;

    #[cfg(not(feature = "kafka"))]
    #[tokio::test]
    async fn a_build_without_kafka_says_how_to_build_with_it() {
        let error = connect("kafka://localhost:9092").await.expect_err("not in this build");
        assert_eq!(error.code(), "Unsupported/Feature");
        assert!(error.to_string().contains("feature 'kafka'"), "{error}");
    }

    #[cfg(feature = "kafka")]
    #[tokio::test]
    async fn a_url_with_a_secret_is_refused_without_showing_it() {
        let error = connect("kafka://user:geheim@localhost:9092").await.expect_err("a secret in a URL");
        assert_eq!(error.code(), "Invalid/Url");
        assert!(!error.to_string().contains("geheim"), "{error}");
    }
}

#[cfg(all(test, not(feature = "nats")))]
mod without_nats {
    #[tokio::test]
    async fn a_build_without_nats_names_the_feature() {
        for url in ["nats://localhost", "tls://localhost"] {
            let error = super::connect(url).await.expect_err("not in this build");
            assert_eq!(error.code(), "Unsupported/Feature");
            assert!(error.to_string().contains("feature 'nats'"), "{error}");
        }
    }
}
