//! Edge: TLS by the system's library, with the system's certificates and those of `ca_file`.

use std::path::Path;

use native_tls::{Certificate, Protocol, TlsConnector};

use super::ClientError;

/// A connector that checks names and certificates; there is no way to switch that off.
pub fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, ClientError> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    for certificate in certificates(ca_file)? {
        builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| unusable(ca_file, error))
}

fn certificates(ca_file: Option<&Path>) -> Result<Vec<Certificate>, ClientError> {
    pem_blocks(ca_file)?
        .iter()
        .map(|block| Certificate::from_pem(block.as_bytes()).map_err(|error| unusable(ca_file, error)))
        .collect()
}

/// The certificates of the file, each as PEM; none without a file.
pub fn pem_blocks(ca_file: Option<&Path>) -> Result<Vec<String>, ClientError> {
    const END: &str = "-----END CERTIFICATE-----";
    let Some(path) = ca_file else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(ca_file, error))?;
    let blocks: Vec<_> = text
        .split_inclusive(END)
        .filter_map(|part| part.find("-----BEGIN CERTIFICATE-----").map(|begin| part[begin..].to_owned()))
        .collect();
    if blocks.is_empty() { Err(unusable(ca_file, "there is no certificate in it")) } else { Ok(blocks) }
}

fn unusable(
    ca_file: Option<&Path>,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ClientError {
    let file = ca_file.map_or_else(|| "the system".to_owned(), |path| path.display().to_string());
    ClientError::Certificates(file, error.into())
}
