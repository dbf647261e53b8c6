//! The broker of these tests, with a listener of each kind, and files for its clients.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use busline_brokers::kafka::{Options, Server};

/// The one user, and its password, which is never printed.
pub(crate) const USER: &str = "shop";
pub(crate) const PASSWORD: &str = "hunter2-never-shown";

#[cfg(feature = "tls")]
const LISTENERS: &[&str] = &["SASL_PLAINTEXT", "SASL_SSL", "SSL"];
#[cfg(not(feature = "tls"))]
const LISTENERS: &[&str] = &["SASL_PLAINTEXT"];

/// The broker that all tests of this process share.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listeners = LISTENERS.iter().map(ToString::to_string).collect();
        let server = Server::start(&Options { properties: properties(), listeners, ..Options::default() });
        let server = server.expect("a broker starts");
        #[cfg(feature = "tls")]
        crate::scram::add_user(&server);
        server
    })
}

/// Host and port of a listener.
pub(crate) fn bootstrap(protocol: &str) -> String {
    server().bootstrap_of(protocol).expect("it was asked for")
}

/// A new file in the broker's own folder, which goes with it.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = server().log().with_file_name(format!("{number}-{name}"));
    std::fs::write(&path, text).expect("written");
    path
}

/// A URL for a user of SASL whose password stands in a file.
pub(crate) fn sasl(protocol: &str, mechanism: &str, user: &str, password: &str) -> String {
    let file = file("password", password);
    format!(
        "kafka://{}?security.protocol={protocol}&sasl.mechanism={mechanism}&sasl.username={user}&sasl.password.file={}",
        bootstrap(protocol),
        file.display(),
    )
}

fn properties() -> String {
    let mut lines = vec![
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
        // Whoever is let in may do what nothing forbids; who comes over the plain listener may forbid it.
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        "allow.everyone.if.no.acl.found=true".to_owned(),
        "super.users=User:ANONYMOUS".to_owned(),
    ];
    for listener in LISTENERS.iter().filter(|listener| listener.starts_with("SASL")) {
        let listener = listener.to_lowercase();
        lines.push(format!(
            "listener.name.{listener}.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
        ));
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            lines.push(format!(
                "listener.name.{listener}.{mechanism}.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ));
        }
    }
    #[cfg(feature = "tls")]
    lines.extend(crate::certificates::of_the_broker());
    lines.join("\n")
}
