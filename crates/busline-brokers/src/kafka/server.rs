//! One broker, alone or as a node of a cluster.

use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::{Options, installed, wire};
use crate::ground::Ground;
use crate::node::{Node, Start};
use crate::wait::{Look, until};
use crate::{Error, Left, Member, ports, server, tool};

/// How long a broker may take until it serves, on a machine with much else to do.
const READY_MAX: Duration = Duration::from_secs(180);

/// How long a broker may take to end by itself: it hands its partitions over first.
const STOP_MAX: Duration = Duration::from_secs(60);

const HEAP_ALONE_MIB: u32 = 768;
const HEAP_OF_THREE_MIB: u32 = 320;

/// A Kafka broker that is its own controller.
pub type Server = server::Server<Kafka>;

/// Which broker of its cluster it is.
#[derive(Debug)]
pub struct Kafka {
    number: usize,
    peers: Peers,
}

/// The ports of all brokers of a cluster; a broker alone is a cluster of one.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    /// The cluster's id: 22 characters of base 64.
    id: String,
    clients: Vec<u16>,
    controllers: Vec<u16>,
    /// Security protocols with a port of each broker.
    further: Vec<(String, Vec<u16>)>,
}

impl Peers {
    pub(super) fn new(count: usize, options: &Options) -> Result<Self, Error> {
        let ports = || (0..count).map(|_| ports::free()).collect::<Result<Vec<u16>, Error>>();
        let further = options.listeners.iter().map(|protocol| Ok((protocol.clone(), ports()?)));
        let further = further.collect::<Result<_, Error>>()?;
        Ok(Self { id: random_id(), clients: ports()?, controllers: ports()?, further })
    }

    fn count(&self) -> usize {
        self.clients.len()
    }

    fn voters(&self) -> String {
        let voters = self.controllers.iter().enumerate();
        voters.map(|(number, port)| format!("{}@127.0.0.1:{port}", number + 1)).collect::<Vec<_>>().join(",")
    }

    /// Where clients of this broker find it, each behind its security protocol.
    fn advertised(&self, number: usize) -> String {
        let further = self.further.iter().map(|(protocol, ports)| format!(",{protocol}://127.0.0.1:{}", ports[number]));
        std::iter::once(format!("PLAINTEXT://127.0.0.1:{}", self.clients[number])).chain(further).collect()
    }
}

impl Member for Server {
    fn wait_until_ready(&self) -> Result<(), Error> {
        self.wait(|brokers| brokers.len() == self.kind.peers.count())
    }

    fn lost_its_port(&self) -> bool {
        self.node.log_says("Address already in use")
    }

    fn leave(self) -> Result<Left, Error> {
        self.leave()
    }
}

impl Server {
    /// Starts a broker and waits until it serves.
    ///
    /// # Errors
    /// Java or `mvn` is missing, the archives cannot be had, the settings are wrong (the end of the broker's log is in
    /// the line), or it was not ready within 180 s.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let begin = || Self::begin(options, Arc::new(Ground::new("kafka")?), 0, Peers::new(1, options)?);
        ports::start(begin, Member::wait_until_ready, Self::lost_its_port)
    }

    /// A broker that runs and is perhaps not ready.
    pub(super) fn begin(options: &Options, ground: Arc<Ground>, number: usize, peers: Peers) -> Result<Self, Error> {
        let installed = installed::folder()?;
        let name = format!("kafka-{}", number + 1);
        let properties = ground.folder().join(format!("{name}.properties"));
        fs::write(&properties, text(options, ground.folder(), &name, number, &peers))
            .map_err(Error::about("write", &properties))?;
        format(&peers.id, &properties)?;
        let alone = if peers.count() == 1 { HEAP_ALONE_MIB } else { HEAP_OF_THREE_MIB };
        let heap = options.heap_mib.unwrap_or(alone);
        let java = [&format!("-Xms{heap}m"), &format!("-Xmx{heap}m"), "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"];
        let mut arguments: Vec<OsString> = installed::arguments(&installed, &java, "kafka.Kafka");
        arguments.push(properties.into_os_string());
        let start = Start {
            program: installed::java_program(),
            arguments,
            missing: installed::MISSING_JAVA,
            stop_max: STOP_MAX,
        };
        let server = Self { node: Node::new(&name, start, ground), kind: Kafka { number, peers } };
        server.node.start()?;
        Ok(server)
    }

    /// For clients: `kafka://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("kafka://{}", self.bootstrap())
    }

    /// For clients that want host and port: `127.0.0.1:PORT`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The port for clients, the same after each start.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.kind.peers.clients[self.kind.number]
    }

    /// For clients of a further listener: `127.0.0.1:PORT`, the same after each start. `None`: it was not asked for.
    #[must_use]
    pub fn bootstrap_of(&self, protocol: &str) -> Option<String> {
        let (_, ports) = self.kind.peers.further.iter().find(|(further, _)| further == protocol)?;
        Some(format!("127.0.0.1:{}", ports[self.kind.number]))
    }

    /// The numbers of the brokers that this one knows as alive, from 1.
    ///
    /// # Errors
    /// It does not answer within 3 s.
    pub fn brokers(&self) -> Result<Vec<i32>, Error> {
        let brokers = wire::brokers(self.port());
        brokers.map_err(|error| Error::failed(format!("no answer of {}: {error}", self.node.name())))
    }

    /// Starts a killed or stopped broker on the same log and ports, and waits until it serves.
    ///
    /// # Errors
    /// It runs already, or does not become ready.
    pub fn start_again(&self) -> Result<(), Error> {
        self.begin_again()?;
        self.wait_until_alive()
    }

    /// Waits until it serves and knows itself as alive; others of its cluster may be down.
    ///
    /// # Errors
    /// It ended, or was not ready within 180 s.
    pub fn wait_until_alive(&self) -> Result<(), Error> {
        let number = i32::try_from(self.kind.number + 1).unwrap_or(i32::MAX);
        self.wait(|brokers| brokers.contains(&number))
    }

    fn wait(&self, ready: impl Fn(&[i32]) -> bool) -> Result<(), Error> {
        until(&format!("the start of {}", self.node.name()), READY_MAX, || {
            self.node.must_run()?;
            Ok(match wire::brokers(self.port()) {
                Ok(brokers) if ready(&brokers) => Look::Done(()),
                Ok(brokers) => Look::NotYet(format!("it knows the brokers {brokers:?} as alive")),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
    }
}

/// Writes the cluster's id into an empty log, as every broker needs it.
fn format(id: &str, properties: &Path) -> Result<(), Error> {
    // A JVM that lives for a second: the simplest compiler and collector start it soonest.
    let java = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
    let mut format: Command = installed::java(&java, "kafka.tools.StorageTool")?;
    tool::run(format.args(["format", "-t", id, "-c"]).arg(properties), installed::MISSING_JAVA)
}

fn text(options: &Options, folder: &Path, name: &str, number: usize, peers: &Peers) -> String {
    let (id, logs) = (number + 1, folder.join(format!("{name}-log")).display().to_string());
    let (clients, controllers, voters) = (peers.advertised(number), peers.controllers[number], peers.voters());
    let (copies, in_sync) = if peers.count() == 1 { (1, 1) } else { (3, 2) };
    let extra = &options.properties;
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners={clients},CONTROLLER://127.0.0.1:{controllers}
advertised.listeners={clients}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,\
SASL_SSL:SASL_SSL
log.dirs={logs}
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=6000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=1000
group.consumer.heartbeat.interval.ms=1500
{extra}
"
    )
}

/// 22 characters of base 64, as a cluster's id has them.
fn random_id() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random = RandomState::new();
    // 16 bytes fill 21 characters and two bits of the last one, so that is one with four zero bits.
    let digit = |at: usize| {
        let six = usize::try_from(random.hash_one(at) % 64).unwrap_or_default();
        char::from(DIGITS[if at == 21 { six & 0b11_0000 } else { six }])
    };
    // A leading dash would be taken for an option of the tool.
    std::iter::once('B').chain((1..22).map(digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_a_uuid_and_differ() {
        let (one, other) = (random_id(), random_id());
        assert_eq!(one.len(), 22);
        assert!("AQgw".contains(one.chars().last().expect("it has characters")));
        assert_ne!(one, other);
    }
}
