//! Pure: `tls_server_config` of the web configuration.

use backup_common::problems::Problems;
use backup_common::yaml_table::{Located, Table};

use super::Secret;

/// `tls_server_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// `cert` or `cert_file`: the server's certificate and those between it and its authority.
    pub certificate: Pem,
    /// `key` or `key_file`.
    pub key: Pem,
    /// `client_auth_type`.
    pub client_auth: ClientAuth,
    /// `client_ca` or `client_ca_file`: who signs the clients' certificates.
    pub client_ca: Option<Pem>,
    /// `client_allowed_sans`; `None` lets every certificate through that `client_auth` does.
    pub client_allowed_sans: Option<Vec<String>>,
    /// `min_version`.
    pub min_version: TlsVersion,
    /// `max_version`.
    pub max_version: TlsVersion,
    /// `cipher_suites` for TLS 1.2, by their names at IANA; empty for the default ones.
    pub cipher_suites: Vec<String>,
    /// `prefer_server_cipher_suites`.
    pub prefer_server_order: bool,
    /// `curve_preferences`; empty for the default ones.
    pub curves: Vec<String>,
}

/// A PEM text, or the file that holds it, relative to the directory of the web configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// `cert`, `key`, `client_ca`.
    Inline(Secret),
    /// `cert_file`, `key_file`, `client_ca_file`.
    File(String),
}

/// Who may connect, by certificate. The names are Go's, see
/// <https://pkg.go.dev/crypto/tls#ClientAuthType>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// `NoClientCert`.
    #[default]
    None,
    /// `RequestClientCert`: asked for, never checked.
    Request,
    /// `RequireAnyClientCert`: there must be one; who signed it does not matter.
    RequireAny,
    /// `VerifyClientCertIfGiven`.
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`.
    RequireAndVerify,
}

/// Versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsSettings {
    pub(super) fn read(mut table: Table<'_>, problems: &mut Problems) -> Option<Self> {
        let line = table.line();
        let certificate = pem(&mut table, "cert", "cert_file", problems);
        let key = pem(&mut table, "key", "key_file", problems);
        let client_ca = pem(&mut table, "client_ca", "client_ca_file", problems);
        let client_auth = named(&mut table, "client_auth_type", CLIENT_AUTH, problems).unwrap_or_default();
        let sans = table.texts("client_allowed_sans", problems);
        let min_version = named(&mut table, "min_version", VERSIONS, problems).unwrap_or(TlsVersion::Tls12);
        let max_version = named(&mut table, "max_version", VERSIONS, problems).unwrap_or(TlsVersion::Tls13);
        let cipher_suites = values(table.texts("cipher_suites", problems));
        let prefer = table.boolean("prefer_server_cipher_suites", problems).is_none_or(|prefer| prefer.value);
        let curves = values(table.texts("curve_preferences", problems));
        let empty = table.entries().is_empty();
        table.finish(problems);
        if empty {
            return None;
        }

        let mut error = |message: &str| problems.error(line, "tls_server_config", message);
        if certificate.is_none() {
            error("set cert_file (or cert) as well");
        }
        if key.is_none() {
            error("set key_file (or key) as well");
        }
        let verifies = matches!(client_auth, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify);
        if client_ca.is_some() && client_auth == ClientAuth::None {
            error("client_ca_file has no effect without client_auth_type: RequireAndVerifyClientCert");
        }
        if client_ca.is_none() && verifies {
            error(
                "client_auth_type needs client_ca_file (or client_ca): who signs the clients' certificates",
            );
        }
        if sans.is_some() && !matches!(client_auth, ClientAuth::RequireAny | ClientAuth::RequireAndVerify) {
            error("client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert");
        }
        if min_version > max_version {
            error("min_version is above max_version");
        }
        Some(Self {
            certificate: certificate?,
            key: key?,
            client_auth,
            client_ca,
            client_allowed_sans: sans.map(|sans| values(Some(sans))),
            min_version,
            max_version,
            cipher_suites,
            prefer_server_order: prefer,
            curves,
        })
    }
}

const CLIENT_AUTH: &[(&str, ClientAuth)] = &[
    ("NoClientCert", ClientAuth::None),
    ("RequestClientCert", ClientAuth::Request),
    ("RequireAnyClientCert", ClientAuth::RequireAny),
    // The older name in exporter-toolkit.
    ("RequireClientCert", ClientAuth::RequireAny),
    ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven),
    ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify),
];

const VERSIONS: &[(&str, TlsVersion)] = &[("TLS12", TlsVersion::Tls12), ("TLS13", TlsVersion::Tls13)];

/// A value out of a closed list of names.
fn named<T: Copy>(
    table: &mut Table<'_>,
    key: &'static str,
    names: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let found = table.text(key, problems)?;
    let value = names.iter().find(|(name, _)| *name == found.value).map(|(_, value)| *value);
    if value.is_none() {
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let message = format!("\"{}\" is not possible here; known: {}", found.value, known.join(", "));
        problems.error(found.line, table.key_path(key), message);
    }
    value
}

fn pem(
    table: &mut Table<'_>,
    text: &'static str,
    file: &'static str,
    problems: &mut Problems,
) -> Option<Pem> {
    let inline = table.text(text, problems);
    let named = table.text(file, problems);
    if let (Some(inline), Some(_)) = (&inline, &named) {
        problems.error(
            inline.line,
            table.key_path(text),
            format!("is set together with {file}; keep one of them"),
        );
    }
    inline.map(|text| Pem::Inline(Secret(text.value))).or(named.map(|file| Pem::File(file.value)))
}

fn values(texts: Option<Vec<Located<String>>>) -> Vec<String> {
    texts.into_iter().flatten().map(|text| text.value).collect()
}
