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

/// Starts with other ports, if another process took one of them.
const STARTS: usize = 5;

/// Begins something on free ports and waits until it is ready; anew, if another process was faster on one of them.
///
/// # Errors
/// Those of `begin` and `wait`.
pub(crate) fn start<T>(
    begin: impl Fn() -> Result<T, Error>,
    wait: impl Fn(&T) -> Result<(), Error>,
    lost_its_port: impl Fn(&T) -> bool,
) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        let begun = begin()?;
        match wait(&begun) {
            Ok(()) => return Ok(begun),
            Err(_) if tries < STARTS && lost_its_port(&begun) => tries += 1,
            Err(error) => return Err(error),
        }
    }
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
    fn what_has_lost_its_port_begins_anew_a_few_times() {
        let tries = |ready: usize, lost: bool| {
            let begun = std::cell::Cell::new(0);
            let begin = || Ok(begun.replace(begun.get() + 1) + 1);
            let wait = |at: &usize| if *at == ready { Ok(()) } else { Err(Error::failed("not ready")) };
            (start(begin, wait, |_| lost).ok(), begun.get())
        };
        assert_eq!(tries(1, false), (Some(1), 1));
        assert_eq!(tries(2, false), (None, 1), "it failed for another reason");
        assert_eq!(tries(STARTS, true), (Some(STARTS), STARTS));
        assert_eq!(tries(STARTS + 1, true), (None, STARTS));
    }

    #[test]
    fn a_port_is_given_once_and_never_one_in_use() {
        let ports: Vec<u16> = (0..50).map(|_| free().expect("there are free ports")).collect();
        let different: HashSet<&u16> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
