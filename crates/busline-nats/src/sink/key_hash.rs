//! A key as a number: sinks keep order by it without a copy of the key.
//!
//! Two keys with one number would wait for each other and share a failure. With 64 bits and a random seed that is rarer
//! than a damaged disk.

/// Hashes keys, under a seed of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }

    /// The number of a key.
    pub(crate) fn of(self, key: &[u8]) -> u64 {
        let mut words = key.chunks_exact(8);
        let mut hash = self.0 ^ key.len() as u64;
        for word in &mut words {
            hash = fold(hash ^ u64::from_le_bytes(word.try_into().unwrap_or_default()), K1);
        }
        let mut last = [0_u8; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        fold(fold(hash ^ u64::from_le_bytes(last), K2), self.0 | 1)
    }
}

// Odd constants without a pattern: the fractions of pi and of the golden ratio.
const K1: u64 = 0x243f_6a88_85a3_08d3;
const K2: u64 = 0x9e37_79b9_7f4a_7c15;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Takes a number that is a hash already as its own hash.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct AsIs(u64);

impl std::hash::Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A map by such numbers.
pub(crate) type ByKey<T> = std::collections::HashMap<u64, T, std::hash::BuildHasherDefault<AsIs>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_look_alike_have_different_numbers() {
        let hash = KeyHash::new();
        let keys =
            (0..50_000).flat_map(|n| [format!("order-{n}"), format!("order-{n}\0"), format!("{n}-order-number")]);
        let numbers: std::collections::HashSet<u64> = keys.map(|key| hash.of(key.as_bytes())).collect();
        assert_eq!(numbers.len(), 150_000);
    }
}
