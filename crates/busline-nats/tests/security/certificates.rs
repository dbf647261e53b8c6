//! TLS: certificates of the server and of the client, made for each test.

use busline_brokers::nats::{Options, Server};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::door::{Files, assert_one_line, opens, refused};

/// Somebody who signs certificates.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM form.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a legal name");
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Signed { certificate, key: key.serialize_pem() }
    }
}

/// A server with a certificate of this authority.
fn server(authority: &Authority, files: &Files, name: &str, further: &str) -> Server {
    let own = authority.sign(name, ExtendedKeyUsagePurpose::ServerAuth);
    let certificate = files.file("server.pem", &own.certificate);
    let key = files.file("server.key", &own.key);
    let ca = files.file("ca.pem", &authority.certificate);
    let config = format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\", {further} }}");
    Server::start(&Options { config, ..Options::default() }).unwrap_or_else(|error| panic!("{error}"))
}

/// What a PEM file of a key keeps secret: a line of it.
fn inside(key: &str) -> String {
    key.lines().nth(1).expect("a line").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_trusted_by_its_certificate_alone() {
    let (authority, stranger, files) = (Authority::new(), Authority::new(), Files::new());
    let server = server(&authority, &files, "127.0.0.1", "");
    let ca = files.file("trusted.pem", &authority.certificate);
    let port = server.port();
    opens(&format!("tls://127.0.0.1:{port}?ca={ca}"), "told", &[]).await;
    // The server says that it wants TLS.
    opens(&format!("nats://127.0.0.1:{port}?ca={ca}"), "asked", &[]).await;
    let other = files.file("other.pem", &stranger.certificate);
    for url in [
        format!("tls://127.0.0.1:{port}?ca={other}"),
        format!("tls://127.0.0.1:{port}"),
        format!("nats://127.0.0.1:{port}"),
        // The certificate names an address, not this name.
        format!("tls://localhost:{port}?ca={ca}"),
    ] {
        let error = refused(&url, &[]).await;
        assert_eq!(error.code(), "Denied/Tls", "{url}: {error}");
    }
    let key = inside(&authority.sign("x", ExtendedKeyUsagePurpose::ClientAuth).key);
    let nonsense = files.file("nonsense.pem", &format!("-----BEGIN PRIVATE KEY-----\n{key}\n"));
    let error = refused(&format!("tls://127.0.0.1:{port}?ca={nonsense}"), &[&key]).await;
    assert_eq!(error.code(), "Invalid/Certificate", "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_was_asked_for_is_never_left_out() {
    let server = Server::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let url = format!("tls://shop:pw-in-the-clear@127.0.0.1:{}", server.port());
    let error = refused(&url, &["pw-in-the-clear"]).await;
    assert_eq!(error.code(), "Denied/Tls", "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_shows_its_certificate_to_a_server_that_asks() {
    let (authority, stranger, files) = (Authority::new(), Authority::new(), Files::new());
    let server = server(&authority, &files, "127.0.0.1", "verify: true");
    let ca = files.file("trusted.pem", &authority.certificate);
    let base = format!("tls://127.0.0.1:{}?ca={ca}", server.port());
    let shown = |name: &str, signed: &Signed| {
        let certificate = files.file(&format!("{name}.pem"), &signed.certificate);
        let key = files.file(&format!("{name}.key"), &signed.key);
        format!("{base}&cert={certificate}&key={key}")
    };
    let own = authority.sign("shop", ExtendedKeyUsagePurpose::ClientAuth);
    let others = stranger.sign("shop", ExtendedKeyUsagePurpose::ClientAuth);
    let secrets = [&*inside(&own.key), &inside(&others.key)];
    opens(&shown("own", &own), "mutual", &secrets).await;
    for url in [&base, &shown("others", &others)] {
        let error = refused(url, &secrets).await;
        assert_eq!(error.code(), "Denied/Tls", "{error}");
    }
    let mixed = Signed { certificate: own.certificate.clone(), key: others.key.clone() };
    let error = refused(&shown("mixed", &mixed), &secrets).await;
    assert_eq!(error.code(), "Invalid/Certificate", "{error}");
    assert_one_line(&error, &secrets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_can_be_who_the_client_is() {
    let (authority, files) = (Authority::new(), Files::new());
    let own = authority.sign("shop.example", ExtendedKeyUsagePurpose::ClientAuth);
    let others = authority.sign("thief.example", ExtendedKeyUsagePurpose::ClientAuth);
    let server = server(
        &authority,
        &files,
        "127.0.0.1",
        "verify_and_map: true }\nauthorization { users: [ { user: \"shop.example\" } ]",
    );
    let ca = files.file("trusted.pem", &authority.certificate);
    let url = |name: &str, signed: &Signed| {
        let certificate = files.file(&format!("{name}.pem"), &signed.certificate);
        let key = files.file(&format!("{name}.key"), &signed.key);
        format!("tls://127.0.0.1:{}?ca={ca}&cert={certificate}&key={key}", server.port())
    };
    let secrets = [&*inside(&own.key), &inside(&others.key)];
    opens(&url("own", &own), "mapped", &secrets).await;
    let error = refused(&url("others", &others), &secrets).await;
    assert_eq!(error.code(), "Denied/Credentials", "{error}");
}
