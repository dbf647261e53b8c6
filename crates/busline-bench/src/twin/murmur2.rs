//! MurmurHash2 with Kafka's seed, as a native client has its own. Source: Apache Kafka, `Utils.murmur2`.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;

/// The partition that Kafka's own clients choose for this key.
pub(super) fn partition_of(key: &[u8], partitions: usize) -> usize {
    (hash(key) & 0x7fff_ffff) as usize % partitions
}

fn hash(key: &[u8]) -> u32 {
    let (words, tail) = key.as_chunks::<4>();
    let mut hash = SEED ^ key.len() as u32;
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_test() {
        for (key, wanted) in [("21", -973_932_308), ("foobar", -790_332_482), ("abc", 479_470_107)] {
            assert_eq!(hash(key.as_bytes()) as i32, wanted, "{key}");
        }
        assert_eq!(hash(b"a-little-bit-long-string") as i32, -985_981_536);
    }
}
