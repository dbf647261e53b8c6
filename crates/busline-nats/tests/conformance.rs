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

/// The suite without the cases of subscribing: this driver has no groups yet, and `groups_are_offered_or_unsupported`
/// checks that it says so.
macro_rules! without_groups {
    (@pick $harness:expr; [$($kept:tt)*]) => {
        busline_conformance::case_tests! { $harness; $($kept)* }
    };
    (@pick $harness:expr; [$($kept:tt)*] consume_order { $($cases:tt)* } alone { $($lone:tt)* } $($rest:tt)*) => {
        without_groups! { @pick $harness; [$($kept)*] $($rest)* }
    };
    (@pick $harness:expr; [$($kept:tt)*] consume_handlers { $($cases:tt)* } alone { $($lone:tt)* } $($rest:tt)*) => {
        without_groups! { @pick $harness; [$($kept)*] $($rest)* }
    };
    (@pick $harness:expr; [$($kept:tt)*] consume_progress { $($cases:tt)* } alone { $($lone:tt)* } $($rest:tt)*) => {
        without_groups! { @pick $harness; [$($kept)*] $($rest)* }
    };
    (@pick $harness:expr; [$($kept:tt)*] consume_positions { $($cases:tt)* } alone { $($lone:tt)* } $($rest:tt)*) => {
        without_groups! { @pick $harness; [$($kept)*] $($rest)* }
    };
    (@pick $harness:expr; [$($kept:tt)*] consume_close { $($cases:tt)* } alone { $($lone:tt)* } $($rest:tt)*) => {
        without_groups! { @pick $harness; [$($kept)*] $($rest)* }
    };
    (@pick $harness:expr; [$($kept:tt)*] $group:ident { $($cases:tt)* } alone { $($lone:tt)* } $($rest:tt)*) => {
        without_groups! { @pick $harness; [$($kept)* $group { $($cases)* } alone { $($lone)* }] $($rest)* }
    };
    ($harness:expr; $($groups:tt)*) => {
        without_groups! { @pick $harness; [] $($groups)* }
    };
}

mod pipelined {
    use super::*;

    busline_conformance::case_list!(without_groups, OneNode::new(&Options::default(), "pipelined"));
}

mod fast {
    use super::*;

    busline_conformance::case_list!(without_groups, OneNode::new(&Options::default(), "fast"));
}

/// A server that has no fast ingest.
mod older {
    use super::*;

    fn options() -> Options {
        Options { version: "2.12.8".into(), ..Options::default() }
    }

    busline_conformance::case_list!(without_groups, OneNode::new(&options(), "best"));
}
