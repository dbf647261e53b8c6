//! Clients that are known by their certificates.

use rcgen::ExtendedKeyUsagePurpose;

use crate::certificates::{Authority, ours};
use crate::place::bootstrap;
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
    let nothing = crate::place::file("nothing.pem", "this is no certificate\n");
    let url = format!("kafka://{}?security.protocol=SSL&ssl.ca.location={}", bootstrap("SSL"), nothing.display());
    let error = refused(&url).await;
    assert_eq!(error.code(), "Unavailable/Client", "{error}");
}
