//! One server, alone or as a node of a cluster.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::{Options, installed, monitor};
use crate::ground::Ground;
use crate::node::{Node, Start};
use crate::wait::{Look, until};
use crate::{Error, Left, Member, ports, server};

/// How long a server may take until it serves: a big store is read, three nodes choose a leader.
const READY_MAX: Duration = Duration::from_secs(60);

/// How long a server may take to end by itself.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A NATS server with JetStream.
pub type Server = server::Server<Nats>;

/// Where a NATS server is found.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    monitor_port: u16,
    config: PathBuf,
    place: Place,
}

/// Where a server stands in its cluster.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Alone,
    /// Ports of all routes; this node listens on the one of its number.
    Cluster {
        number: usize,
        routes: Vec<u16>,
    },
}

impl Member for Server {
    fn wait_until_ready(&self) -> Result<(), Error> {
        self.wait_until_ready()
    }

    fn lost_its_port(&self) -> bool {
        self.node.log_says("address already in use")
    }

    fn leave(self) -> Result<Left, Error> {
        self.leave()
    }
}

impl Server {
    /// Starts a server and waits until JetStream serves.
    ///
    /// # Errors
    /// `pip` is missing, the package cannot be had, the settings are wrong (the end of the server's log is in the
    /// line), or it was not ready within 60 s.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let begin = || Self::begin(options, Arc::new(Ground::new("nats")?), "nats", Place::Alone);
        ports::start(begin, Self::wait_until_ready, Self::lost_its_port)
    }

    /// A server that runs and is perhaps not ready.
    pub(super) fn begin(options: &Options, ground: Arc<Ground>, name: &str, place: Place) -> Result<Self, Error> {
        let program = installed::program(&options.version)?;
        let config = ground.folder().join(format!("{name}.conf"));
        let arguments = vec!["--config".into(), config.clone().into_os_string()];
        let start = Start {
            program,
            arguments,
            missing: "the installed NATS server is gone: run it once more",
            stop_max: STOP_MAX,
        };
        let node = Node::new(name, start, ground);
        let kind = Nats { port: ports::free()?, monitor_port: ports::free()?, config, place };
        let server = Self { node, kind };
        server.configure(options)?;
        server.node.start()?;
        Ok(server)
    }

    /// For clients: `nats://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.kind.port)
    }

    /// The port for clients, the same after each start.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.kind.port
    }

    /// The server's own HTTP pages, as `/varz`: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.kind.monitor_port)
    }

    /// The line `INFO {…}` that a client hears first.
    ///
    /// # Errors
    /// Nobody answers within 2 s.
    pub fn info(&self) -> Result<String, Error> {
        monitor::info(self.kind.port)
            .map_err(|error| Error::failed(format!("no INFO of {}: {error}", self.node.name())))
    }

    /// Starts a killed or stopped server on the same store and ports, and waits until JetStream serves.
    ///
    /// # Errors
    /// It runs already, or does not become ready.
    pub fn start_again(&self) -> Result<(), Error> {
        self.begin_again()?;
        self.wait_until_ready()
    }

    /// Writes other settings for the next start or [`reload`](Self::reload); the version stays.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&self, options: &Options) -> Result<(), Error> {
        fs::write(&self.kind.config, self.text(options)).map_err(Error::about("write", &self.kind.config))
    }

    /// SIGHUP, and the wait until the server has read its settings again.
    ///
    /// # Errors
    /// It refuses them (its log says why), or did not read them within 60 s.
    pub fn reload(&self) -> Result<(), Error> {
        let before = self.loaded_at().map_err(Error::failed)?;
        self.node.signal(Signal::HUP)?;
        until(&format!("the reload of {}, see {}", self.node.name(), self.log().display()), READY_MAX, || {
            self.node.must_run()?;
            Ok(match self.loaded_at() {
                Ok(at) if at != before => Look::Done(()),
                Ok(at) => Look::NotYet(format!("its settings are those of {at}")),
                Err(why) => Look::NotYet(why),
            })
        })
    }

    /// Waits until it takes clients and JetStream serves; in a cluster also until there is a leader.
    ///
    /// # Errors
    /// It ended, or was not ready within 60 s.
    pub fn wait_until_ready(&self) -> Result<(), Error> {
        until(&format!("the start of {}", self.node.name()), READY_MAX, || {
            self.node.must_run()?;
            let ready = monitor::get(self.kind.monitor_port, "/healthz")
                .and_then(|_| monitor::info(self.kind.port).map_err(|error| error.to_string()));
            Ok(match ready {
                Ok(_) => Look::Done(()),
                Err(why) => Look::NotYet(why),
            })
        })
    }

    fn loaded_at(&self) -> Result<String, String> {
        let varz = monitor::get(self.kind.monitor_port, "/varz")?;
        let behind = varz.split_once("\"config_load_time\":").map(|(_, behind)| behind);
        let at = behind.and_then(|behind| behind.split('"').nth(1));
        at.map(str::to_owned).ok_or_else(|| "/varz has no config_load_time".into())
    }

    fn text(&self, options: &Options) -> String {
        let name = self.node.name();
        let (port, monitor) = (self.kind.port, self.kind.monitor_port);
        let mut text = format!("server_name: {name}\nhost: 127.0.0.1\nport: {port}\nhttp: 127.0.0.1:{monitor}\n");
        let _ = writeln!(text, "jetstream {{\nstore_dir: \"{name}-store\"\n{}\n}}", options.jetstream);
        if let Place::Cluster { number, routes } = &self.kind.place {
            let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
            let (own, all) = (routes[*number], all.join(", "));
            let _ = writeln!(text, "cluster {{\nname: busline\nlisten: 127.0.0.1:{own}\nroutes: [{all}]\n}}");
        }
        text + &options.config + "\n"
    }
}
