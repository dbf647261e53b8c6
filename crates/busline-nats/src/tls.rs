//! Certificates, loaded once for all connections of a driver.

use std::path::Path;
use std::sync::Arc;

use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, RootCertStore, crypto};
use busline_core::{Error, Result};

use crate::config::TlsConfig;
use crate::secret::read_text;

/// The client's side of TLS as the settings say; blocks for the time of reading files.
///
/// # Errors
/// `NotFound/File`, `Denied/File`, `Invalid/Certificate`.
pub(crate) fn load(config: &TlsConfig) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|_| bad(path, "a certificate that cannot be trusted"))?;
            }
        }
        // A system without certificates of its own is fine as long as no server asks for TLS.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(busline_core::ErrorKind::Internal, "Tls").because(error).next("report this"))?
        .with_root_certificates(roots);
    let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else {
        return Ok(builder.with_no_client_auth());
    };
    builder
        .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
        .map_err(|_| bad(key, "certificate and key do not belong together"))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = read_text(path)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| bad(path, "no certificate in PEM form"))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = read_text(path)?;
    let mut keys = PrivateKeyDer::pem_slice_iter(text.as_bytes());
    match (keys.next(), keys.next()) {
        (Some(Ok(key)), None) => Ok(key),
        (Some(_), Some(_)) => Err(bad(path, "more than one private key")),
        _ => Err(bad(path, "no private key in PEM form")),
    }
}

fn bad(path: &Path, cause: &str) -> Error {
    Error::invalid("Certificate").cause(cause).next("name a PEM file with what is asked for").at("read", path.display())
}
