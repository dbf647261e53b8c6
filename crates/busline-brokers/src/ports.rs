//! Ports of the loopback that are free.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::Error;

/// Below the range from which Linux gives ports to outgoing connections: a server that is killed and started again
/// finds its port free.
const RANGE: Range<u16> = 12_000..32_000;

/// Tries before the machine counts as full.
const TRIES: usize = 200;

/// Given out in this process; never twice, for a server that is down still has its ports.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port nobody listens on and that this process has not given out before.
///
/// Another process may take it until the server does; who starts a server tries again with another port then.
///
/// # Errors
/// None was found.
pub(crate) fn free() -> Result<u16, Error> {
    for _ in 0..TRIES {
        let port = random();
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if unused && GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
    Err(Error::failed(format!("found no free port of 127.0.0.1 in {TRIES} tries in {RANGE:?}")))
}

/// Different in every process, so that two of them rarely try the same one.
fn random() -> u16 {
    let width = u64::from(RANGE.end - RANGE.start);
    let step = u16::try_from(RandomState::new().hash_one(0) % width).unwrap_or_default();
    RANGE.start + step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_and_never_one_in_use() {
        let ports: Vec<u16> = (0..50).map(|_| free().expect("there are free ports")).collect();
        let different: HashSet<&u16> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
