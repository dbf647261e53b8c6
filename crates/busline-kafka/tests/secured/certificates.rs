//! Authorities and what they sign, made anew for each run.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::place::file;

/// Somebody who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, as PEM.
pub(crate) struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// For whoever is found under this name or address.
    pub(crate) fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a legal name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    /// Its certificate in a file, for those who trust it.
    pub(crate) fn trusted(&self, name: &str) -> PathBuf {
        file(&format!("{name}.pem"), &self.certificate)
    }
}

impl Signed {
    /// Its certificate and its key in files.
    pub(crate) fn files(&self, name: &str) -> (PathBuf, PathBuf) {
        (file(&format!("{name}.crt"), &self.certificate), file(&format!("{name}.key"), &self.key))
    }
}

impl Signed {
    /// The same with the key encrypted under a password, by OpenSSL's own program.
    pub(crate) fn files_with_password(&self, name: &str, password: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.files(name);
        let encrypted = file(&format!("{name}-encrypted.key"), "");
        let mut openssl = Command::new("openssl");
        openssl
            .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "env:KEY_PASSWORD"])
            .env("KEY_PASSWORD", password);
        let made = openssl.arg("-in").arg(key).arg("-out").arg(&encrypted).output();
        let made = made.expect("the program openssl is there: install openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let text = std::fs::read_to_string(&encrypted).expect("it wrote the key");
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "the key is not encrypted");
        (certificate, encrypted)
    }
}

/// Whom the broker and its clients trust.
pub(crate) fn ours() -> &'static Authority {
    static OURS: OnceLock<Authority> = OnceLock::new();
    OURS.get_or_init(|| Authority::new("ours"))
}

/// What the broker is told: who it is, whom it trusts, and that the listener `SSL` is for clients with a certificate.
pub(crate) fn of_the_broker() -> [String; 6] {
    let broker = ours().sign("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
    [
        "ssl.keystore.type=PEM".into(),
        format!("ssl.keystore.certificate.chain={}", one_line(&broker.certificate)),
        format!("ssl.keystore.key={}", one_line(&broker.key)),
        "ssl.truststore.type=PEM".into(),
        format!("ssl.truststore.certificates={}", one_line(&ours().certificate)),
        "listener.name.ssl.ssl.client.auth=required".into(),
    ]
}

/// As a value in a file of properties.
fn one_line(pem: &str) -> String {
    pem.lines().collect::<Vec<_>>().join("\\n")
}
