//! The life of a server, whatever it is: killed, stopped, frozen, started again.

use std::path::Path;

use rustix::process::Signal;

use crate::node::Node;
use crate::{Error, Left};

/// A server on free loopback ports and an empty store. Dropping it kills it and removes its store.
#[derive(Debug)]
pub struct Server<K> {
    pub(crate) node: Node,
    /// What is known of a server of this kind.
    pub(crate) kind: K,
}

impl<K> Server<K> {
    /// The process number, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.node.pid()
    }

    /// What the server printed, in a file.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.node.log()
    }

    /// SIGKILL. The store stays.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn kill(&self) -> Result<(), Error> {
        self.node.kill()
    }

    /// SIGTERM, and the wait for its end. The store stays.
    ///
    /// # Errors
    /// It did not end within 30 s (NATS) or 60 s (Kafka); it was killed then.
    pub fn stop(&self) -> Result<(), Error> {
        self.node.stop()
    }

    /// As `start_again`, without the wait until it serves.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn begin_again(&self) -> Result<(), Error> {
        self.node.start()
    }

    /// SIGSTOP: it answers nothing and its connections stay open.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<(), Error> {
        self.node.pause()
    }

    /// SIGCONT after [`pause`](Self::pause).
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<(), Error> {
        self.node.signal(Signal::CONT)
    }

    /// Leaves the server running after this program.
    ///
    /// # Errors
    /// It does not run.
    pub fn leave(self) -> Result<Left, Error> {
        self.node.leave()
    }
}
