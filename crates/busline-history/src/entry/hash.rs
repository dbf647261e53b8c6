use std::fmt;

use serde::{Deserialize, Serialize};

/// Fingerprint of a payload and its headers, the same for whoever publishes, handles or dumps.
///
/// # Examples
/// ```
/// use busline_history::ContentHash;
///
/// let sent = ContentHash::of(b"{}", [("trace", b"1".as_slice()), ("trace", b"2".as_slice())]);
/// let swapped = ContentHash::of(b"{}", [("trace", b"2".as_slice()), ("trace", b"1".as_slice())]);
/// assert_ne!(sent, swapped, "the order of headers is content");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentHash(pub u64);

impl ContentHash {
    /// Hashes a payload and its headers; order and repetition of headers count.
    ///
    /// # Source
    /// FNV-1a with 64 bits. It meets accidents, not attackers.
    pub fn of<'a>(payload: &[u8], headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut state = framed(OFFSET_BASIS, payload);
        for (name, value) in headers {
            state = framed(framed(state, name.as_bytes()), value);
        }
        Self(state)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The length goes in first: without it `ab` + `c` and `a` + `bc` would be one content.
fn framed(state: u64, bytes: &[u8]) -> u64 {
    fnv(fnv(state, &(bytes.len() as u64).to_le_bytes()), bytes)
}

fn fnv(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::ContentHash;

    #[test]
    fn a_byte_moved_between_payload_and_header_changes_the_hash() {
        let one = ContentHash::of(b"ab", [("c", b"d".as_slice())]);
        for other in [
            ContentHash::of(b"a", [("bc", b"d".as_slice())]),
            ContentHash::of(b"ab", [("cd", b"".as_slice())]),
            ContentHash::of(b"ab", [("c", b"d".as_slice()), ("c", b"d".as_slice())]),
            ContentHash::of(b"ab", []),
        ] {
            assert_ne!(one, other);
        }
    }
}
