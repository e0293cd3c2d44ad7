//! TLS by rustls, with the ring provider.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Tls;
use crate::error::Error;

/// The client's side of TLS, made once per cluster.
///
/// # Errors
/// When a file cannot be read or holds nothing that can be used.
pub(crate) fn client(settings: &Tls) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Config(error.to_string()))?
        .with_root_certificates(roots(settings)?);
    let config = match (&settings.cert_file, &settings.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
            builder
                .with_client_auth_cert(certificates(cert)?, key_der)
                .map_err(|error| unusable(cert, &error))?
        }
        _ => {
            return Err(Error::Config(
                "kafka.tls.cert_file and kafka.tls.key_file belong together: set both or none".to_owned(),
            ));
        }
    };
    Ok(Arc::new(config))
}

fn roots(settings: &Tls) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let authorities = match &settings.ca_file {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _ignored) = roots.add_parsable_certificates(authorities);
    if added == 0 {
        return Err(Error::Config(
            "there is no certificate authority to trust: set kafka.tls.ca_file".to_owned(),
        ));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .map_err(|error| unusable(file, &error))?
        .collect();
    let list = list.map_err(|error| unusable(file, &error))?;
    if list.is_empty() {
        return Err(Error::Config(format!(
            "{} holds no certificate in PEM form",
            file.display()
        )));
    }
    Ok(list)
}

fn unusable(file: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Config(format!("{} cannot be used: {error}", file.display()))
}

/// The reason for a failed handshake, with the fix.
pub(crate) fn explain(error: &std::io::Error) -> String {
    let fix = match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        )) => "; its authority is not among those trusted: check kafka.tls.ca_file",
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        )) => "; the certificate names another host: check kafka.brokers and the advertised address",
        Some(rustls::Error::InvalidCertificate(_)) => "; the broker's certificate cannot be accepted",
        Some(rustls::Error::AlertReceived(_)) => {
            "; the broker refused our certificate or protocol: check kafka.tls.cert_file and key_file"
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "; the listener may not speak TLS: check the port, or remove kafka.tls"
        }
        _ if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "; the listener may not speak TLS: check the port, or remove kafka.tls"
        }
        _ => "",
    };
    format!("{error}{fix}")
}
