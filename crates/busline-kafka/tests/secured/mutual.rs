//! Clients that are known by their certificates.

use rcgen::ExtendedKeyUsagePurpose;

use crate::certificates::{Authority, ours};
use crate::place::{PASSWORD, bootstrap, file};
use crate::travel::{refused, travels};

fn url() -> String {
    let ca = ours().trusted("ours");
    format!("kafka://{}?security.protocol=SSL&ssl.ca.location={}", bootstrap("SSL"), ca.display())
}

fn with_certificate(of: &Authority, name: &str) -> String {
    let (certificate, key) = of.sign(name, ExtendedKeyUsagePurpose::ClientAuth).files(name);
    format!("{}&ssl.certificate.location={}&ssl.key.location={}", url(), certificate.display(), key.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_certificate_is_let_in() {
    travels(&with_certificate(ours(), "client"), "mutual").await;
}

/// A URL with an encrypted key and, if it is given, a file with this password for it.
fn with_encrypted_key(password: Option<&str>) -> String {
    let signed = ours().sign("locked", ExtendedKeyUsagePurpose::ClientAuth);
    let (certificate, key) = signed.files_with_password("locked", PASSWORD);
    let url =
        format!("{}&ssl.certificate.location={}&ssl.key.location={}", url(), certificate.display(), key.display());
    match password {
        Some(password) => format!("{url}&ssl.key.password.file={}", file("key-password", password).display()),
        None => url,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_encrypted_is_opened_by_its_password() {
    travels(&with_encrypted_key(Some(PASSWORD)), "locked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_without_its_password_is_an_error_that_shows_none() {
    let wrong = format!("{PASSWORD}-not");
    for password in [Some(wrong.as_str()), None] {
        let error = refused(&with_encrypted_key(password)).await;
        assert_eq!(error.code(), "Unavailable/Client", "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_one_and_one_of_a_stranger_are_refused() {
    let stranger = with_certificate(&Authority::new("strangers"), "stranger");
    for url in [url(), stranger] {
        let error = refused(&url).await;
        // The broker says why behind the handshake, where the client takes it for the end of a connection.
        let code = error.code();
        assert!(
            matches!(&*code, "Denied/Authentication" | "Unavailable/Connection" | "Unavailable/NoAnswer"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_certificates_are_named() {
    let nothing = file("nothing.pem", "this is no certificate\n");
    let url = format!("kafka://{}?security.protocol=SSL&ssl.ca.location={}", bootstrap("SSL"), nothing.display());
    let error = refused(&url).await;
    assert_eq!(error.code(), "Unavailable/Client", "{error}");
}
