//! Brokers that want to know who is there: SASL and TLS, right and wrong, and no secret in anything that is printed.
//!
//! A build without the feature `tls` has PLAIN without TLS only, and shows that it refuses the rest. The rest runs with
//! `cargo test -p busline-kafka --features tls --test secured`.

#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "tls")]
mod encrypted;
#[cfg(feature = "tls")]
mod mutual;
mod overheard;
mod place;
mod plain;
#[cfg(feature = "tls")]
mod scram;
mod travel;

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_refuses_what_needs_it_and_says_so() {
    for setting in ["security.protocol=SASL_SSL", "security.protocol=SSL", "sasl.mechanism=SCRAM-SHA-512"] {
        let error = busline_kafka::KafkaConfig::parse(&format!("kafka://a:1?{setting}")).expect_err(setting);
        assert_eq!(error.code(), "Unsupported/Feature", "{error}");
        assert!(error.to_string().contains("kafka-tls"), "{error}");
    }
    println!("TLS and SCRAM: run again with --features tls");
}
