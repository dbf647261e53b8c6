//! Real NATS and Kafka servers for tests and benchmarks, installed and started on the spot.
//!
//! A test asks for a server and gets one of its own: an empty store, free loopback ports, ready to be used. It can be
//! killed, started again on the same store and ports, frozen and thawed. It ends with the value that stands for it, and
//! with the process that started it, however that one ends.
//!
//! It is not a client, links none and depends on nothing of ours. All calls block; those that start a server take some
//! 0.1 s (NATS) or 5 to 20 s (Kafka), and longer the first time, when the server is installed.
//!
//! ```text
//! nats::Server   nats::Cluster     one server, three that replicate
//! kafka::Server  kafka::Cluster
//!    ├─ server   what both can do: kill, stop, pause, resume, leave
//!    ├─ Node     one process
//!    ├─ Ground   the folder of a run; a watcher outside of this process ends what is left and removes it
//!    └─ install  once for all processes of a target folder, behind a file lock
//! ```
//!
//! # Where things lie
//! In `brokers` in the target folder of the running program, or in the folder that the variable `BUSLINE_BROKERS`
//! names: `nats-VERSION` and `kafka-VERSION` hold the installed servers, `python-NAME` the packages of a test's Python
//! program, `run` the stores of running servers.
//!
//! # What must be there
//! `pip` for NATS and for Python programs, which also need `python3`; a Java runtime (17 or later) and `mvn` for Kafka. If
//! one is missing, the error says what to install, and [`Error::is_missing_tool`] tells it from a failure. Linux only.
//!
//! ```no_run
//! use busline_brokers::nats;
//!
//! let server = nats::Server::start(&nats::Options::default())?;
//! println!("{}", server.url());
//! server.kill()?;
//! server.start_again()?;
//! # Ok::<(), busline_brokers::Error>(())
//! ```

mod cluster;
mod error;
mod ground;
mod install;
pub mod kafka;
mod left;
pub mod nats;
mod node;
mod place;
mod ports;
mod python;
mod server;
mod tool;
mod wait;

pub use cluster::{Cluster, Member};
pub use error::Error;
pub use left::Left;
pub use python::python;
pub use server::Server;
