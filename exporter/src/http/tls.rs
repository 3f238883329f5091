//! Builds what rustls needs from `tls_server_config`: certificate, versions, ciphers, and who may connect.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use tokio_rustls::rustls;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::web_config::{ClientAuth, Pem, TlsSettings, TlsVersion};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can not be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// A file or text holds no certificate or no key.
    #[error("cannot use {0}: {1}")]
    Pem(String, rustls::pki_types::pem::Error),
    /// It holds none at all.
    #[error("cannot use {0}: there is no certificate in it")]
    Empty(String),
    /// `cipher_suites` or `curve_preferences` names one that is not spoken.
    #[error("cannot honour {key}: {name} is not spoken here; known: {known}")]
    Unknown {
        /// The key.
        key: &'static str,
        /// The name that was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Certificate, key and versions do not fit together.
    #[error("cannot set up TLS")]
    Rustls(#[from] rustls::Error),
    /// The authority of the clients can not be used.
    #[error("cannot set up the check of client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Builds the configuration; files are relative to `directory`.
pub fn server_config(settings: &TlsSettings, directory: &Path) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(crypto(settings)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings.min_version, settings.max_version))?;
    let builder = match client_verifier(settings, directory, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = certificates(&settings.certificate, directory)?;
    let (text, name) = read(&settings.key, directory)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| TlsError::Pem(name, error))?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.ignore_client_order = settings.prefer_server_order;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The files that the settings name, for seeing when one of them changed.
pub fn files(settings: &TlsSettings, directory: &Path) -> Vec<PathBuf> {
    [Some(&settings.certificate), Some(&settings.key), settings.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|pem| match pem {
            Pem::File(file) => Some(directory.join(file)),
            Pem::Inline(_) => None,
        })
        .collect()
}

/// The text of a PEM; nothing if it can not be read.
pub fn text(pem: &Pem, directory: &Path) -> Option<Vec<u8>> {
    read(pem, directory).ok().map(|(text, _)| text)
}

fn read(pem: &Pem, directory: &Path) -> Result<(Vec<u8>, String), TlsError> {
    match pem {
        Pem::Inline(text) => {
            Ok((text.0.clone().into_bytes(), "the PEM text in the web configuration".to_owned()))
        }
        Pem::File(file) => {
            let path = directory.join(file);
            let text = fs::read(&path).map_err(|error| TlsError::Read(path.clone(), error))?;
            Ok((text, path.display().to_string()))
        }
    }
}

fn certificates(pem: &Pem, directory: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (text, name) = read(pem, directory)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::Empty(name)),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::Pem(name, error)),
    }
}

fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)];
    all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| version).collect()
}

/// The ciphers and curves that the settings ask for, in their order.
fn crypto(settings: &TlsSettings) -> Result<CryptoProvider, TlsError> {
    let mut crypto = provider::default_provider();
    if !settings.cipher_suites.is_empty() {
        crypto.cipher_suites = chosen_suites(&crypto.cipher_suites, &settings.cipher_suites)?;
    }
    if !settings.curves.is_empty() {
        crypto.kx_groups = chosen_curves(&crypto.kx_groups, &settings.curves)?;
    }
    Ok(crypto)
}

/// As in Go, the list is about TLS 1.2; those of TLS 1.3 are all safe and stay.
fn chosen_suites(
    all: &[SupportedCipherSuite],
    names: &[String],
) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let iana =
        |suite: &SupportedCipherSuite| suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_");
    let mut chosen: Vec<_> = all.iter().copied().filter(|suite| suite.tls13().is_some()).collect();
    for name in names {
        match all.iter().find(|suite| iana(suite) == *name) {
            Some(suite) if suite.tls13().is_some() => {}
            Some(suite) => chosen.push(*suite),
            None => return Err(unknown("cipher_suites", name, &all.iter().map(iana).collect::<Vec<_>>())),
        }
    }
    Ok(chosen)
}

/// The names of curves are Go's, <https://pkg.go.dev/crypto/tls#CurveID>.
const CURVES: [(&str, rustls::NamedGroup); 3] = [
    ("X25519", rustls::NamedGroup::X25519),
    ("CurveP256", rustls::NamedGroup::secp256r1),
    ("CurveP384", rustls::NamedGroup::secp384r1),
];

fn chosen_curves(
    all: &[&'static dyn SupportedKxGroup],
    names: &[String],
) -> Result<Vec<&'static dyn SupportedKxGroup>, TlsError> {
    let find = |name: &String| {
        let group = CURVES.iter().find(|(known, _)| known == name).map(|(_, group)| *group)?;
        all.iter().copied().find(|supported| supported.name() == group)
    };
    names
        .iter()
        .map(|name| {
            let known: Vec<_> = CURVES.iter().map(|(name, _)| (*name).to_owned()).collect();
            find(name).ok_or_else(|| unknown("curve_preferences", name, &known))
        })
        .collect()
}

fn unknown(key: &'static str, name: &str, known: &[String]) -> TlsError {
    TlsError::Unknown { key, name: name.to_owned(), known: known.join(", ") }
}

fn client_verifier(
    settings: &TlsSettings,
    directory: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let any = |mandatory| -> Arc<dyn ClientCertVerifier> {
        Arc::new(AnyCertificate { mandatory, provider: Arc::clone(provider) })
    };
    let verifier: Arc<dyn ClientCertVerifier> = match settings.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request => any(false),
        ClientAuth::RequireAny => any(true),
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {
            let mut roots = RootCertStore::empty();
            for certificate in settings.client_ca.iter().map(|pem| certificates(pem, directory)) {
                for certificate in certificate? {
                    roots.add(certificate)?;
                }
            }
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            match settings.client_auth {
                ClientAuth::VerifyIfGiven => builder.allow_unauthenticated().build()?,
                _ => builder.build()?,
            }
        }
    };
    Ok(Some(match &settings.client_allowed_sans {
        Some(allowed) => Arc::new(AllowedNames { inner: verifier, allowed: allowed.clone() }),
        None => verifier,
    }))
}

/// Takes a certificate of whoever signed it; that its owner has the key is checked all the same.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Lets through who was let through before and has one of the allowed names.
#[derive(Debug)]
struct AllowedNames {
    inner: Arc<dyn ClientCertVerifier>,
    allowed: Vec<String>,
}

impl ClientCertVerifier for AllowedNames {
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(certificate, intermediates, now)?;
        if alternative_names(certificate).iter().any(|name| self.allowed.contains(name)) {
            Ok(verified)
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The subject alternative names that exporter-toolkit compares: DNS names, mail addresses, IP addresses
/// and URIs (RFC 5280, section 4.2.1.6). None of a certificate that can not be read.
fn alternative_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
            16 => {
                <[u8; 16]>::try_from(*octets).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string())
            }
            _ => None,
        },
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}
