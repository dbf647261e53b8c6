//! SASL SCRAM, which the client has with OpenSSL only.

use busline_brokers::kafka::{Server, java};

use crate::place::{PASSWORD, USER, sasl};
use crate::travel::{refused, travels};

const MECHANISMS: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Tells the broker of the user, as its own tool does it: one hash at a time.
pub(crate) fn add_user(server: &Server) {
    for mechanism in MECHANISMS {
        let mut tool = java(&["-Xmx128m", "-XX:TieredStopAtLevel=1"], "kafka.admin.ConfigCommand").expect("installed");
        tool.args(["--bootstrap-server", &server.bootstrap(), "--entity-type", "users", "--entity-name", USER]);
        tool.args(["--alter", "--add-config", &format!("{mechanism}=[password={PASSWORD}]")]);
        let output = tool.output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_its_password_is_let_in_by_both_hashes() {
    for mechanism in MECHANISMS {
        travels(&sasl("SASL_PLAINTEXT", mechanism, USER, PASSWORD), mechanism).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_user_are_denied() {
    let wrong = format!("{PASSWORD}-not");
    for mechanism in MECHANISMS {
        for (user, password) in [(USER, wrong.as_str()), ("nobody", PASSWORD)] {
            let error = refused(&sasl("SASL_PLAINTEXT", mechanism, user, password)).await;
            assert_eq!(error.code(), "Denied/Authentication", "{error}");
        }
    }
}
