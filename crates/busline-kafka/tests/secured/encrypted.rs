//! SASL over TLS.

use crate::certificates::{Authority, ours};
use crate::place::{PASSWORD, USER, bootstrap, sasl};
use crate::travel::{refused, travels};

fn url(mechanism: &str, password: &str) -> String {
    let ca = ours().trusted("ours");
    format!("{}&ssl.ca.location={}", sasl("SASL_SSL", mechanism, USER, password), ca.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_let_in_over_tls() {
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        travels(&url(mechanism, PASSWORD), &format!("tls-{mechanism}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_denied_over_tls() {
    let error = refused(&url("PLAIN", &format!("{PASSWORD}-not"))).await;
    assert_eq!(error.code(), "Denied/Authentication", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_an_authority_that_is_not_trusted_gets_no_password() {
    let other = Authority::new("other").trusted("other");
    let url = format!("{}&ssl.ca.location={}", sasl("SASL_SSL", "PLAIN", USER, PASSWORD), other.display());
    let error = refused(&url).await;
    assert_eq!(error.code(), "Denied/Authentication", "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_another_name_than_its_certificates_gets_no_password() {
    let url = url("PLAIN", PASSWORD).replace("127.0.0.1", "localhost");
    let error = refused(&url).await;
    assert_eq!(error.code(), "Denied/Authentication", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_tls_is_refused() {
    let error = refused(&format!("kafka://{}", bootstrap("SASL_SSL"))).await;
    assert!(matches!(error.code().as_ref(), "Unavailable/Connection" | "Unavailable/NoAnswer"), "{error}");
}
