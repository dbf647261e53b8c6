//! The NATS driver keeps the promises, on a real server for each case.

use std::sync::Arc;

use busline_brokers::nats::{Options, Server};
use busline_conformance::{Harness, Interruption};
use busline_core::{Driver, Result};
use busline_nats::{NatsConfig, NatsDriver};

/// A server of its own for each case. Its interruption is a kill; it comes back on the same store.
struct OneNode {
    server: Arc<Server>,
    strategy: &'static str,
}

impl OneNode {
    fn new(options: &Options, strategy: &'static str) -> Self {
        Self { server: Arc::new(Server::start(options).expect("a server")), strategy }
    }
}

impl Harness for OneNode {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        let url = format!("{}?strategy={}", self.server.url(), self.strategy);
        Ok(Arc::new(NatsDriver::open(NatsConfig::from_url(&url)?).await?))
    }

    async fn interrupt(&self) -> Option<Interruption> {
        let server = Arc::clone(&self.server);
        server.kill().expect("it ran");
        let heal = move || server.start_again().expect("it starts on its store");
        Some(Interruption { what: "the server was killed", heal: Box::new(heal) })
    }
}

mod best {
    use super::*;

    busline_conformance::conformance!(OneNode::new(&Options::default(), "best"));
}

mod pipelined {
    use super::*;

    busline_conformance::conformance!(OneNode::new(&Options::default(), "pipelined"));
}

/// A server that has no fast ingest.
mod older {
    use super::*;

    fn options() -> Options {
        Options { version: "2.12.8".into(), ..Options::default() }
    }

    busline_conformance::conformance!(OneNode::new(&options(), "best"));
}
