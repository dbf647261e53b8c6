//! SASL PLAIN without TLS.

use crate::place::{PASSWORD, USER, bootstrap, sasl};
use crate::travel::{refused, travels};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_its_password_is_let_in() {
    travels(&sasl("SASL_PLAINTEXT", "PLAIN", USER, PASSWORD), "plain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_user_are_denied() {
    let wrong = format!("{PASSWORD}-not");
    for (user, password) in [(USER, wrong.as_str()), ("nobody", PASSWORD)] {
        let error = refused(&sasl("SASL_PLAINTEXT", "PLAIN", user, password)).await;
        assert_eq!(error.code(), "Denied/Authentication", "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_introduce_itself_is_refused() {
    let error = refused(&format!("kafka://{}", bootstrap("SASL_PLAINTEXT"))).await;
    assert!(matches!(error.code().as_ref(), "Unavailable/Connection" | "Unavailable/NoAnswer"), "{error}");
}
