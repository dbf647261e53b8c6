//! What the command says of Kafka when it is built without it.

#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "each test target needs another part of it")]
mod harness;

use crate::harness::{Ran, Shop};

#[test]
fn a_kafka_url_is_refused_with_the_feature_that_it_needs() {
    let shop = Shop::new();
    for line in ["topic list", "sub orders", "pub orders --key k --type T"] {
        let output = shop.command(line).env("BUSLINE_URL", "kafka://shop:hunter2@localhost").output().expect("runs");
        let ran = Ran::of(output);
        assert_eq!(ran.code, Some(1), "{line}: {}", ran.stderr);
        for part in ["Unsupported/Feature", "leaves the kafka driver out", "build with the feature 'kafka'"] {
            assert!(ran.stderr.contains(part), "{line}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("hunter2"), "{line}: {}", ran.stderr);
    }
}
