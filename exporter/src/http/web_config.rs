//! Pure: the web configuration file that all Prometheus exporters share, as text into values.
//!
//! The format is that of exporter-toolkit,
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. Two things are
//! stricter here: TLS begins at 1.2, and what can not be honoured is refused by its name. `http2` is read
//! and without effect, because only HTTP/1.1 is spoken.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use backup_common::problems::Problems;
use backup_common::yaml::{self, Value};
use backup_common::yaml_table::{Located, Table};
use hyper::header::{HeaderName, HeaderValue};

/// The file, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// `tls_server_config`; without it plain HTTP is spoken.
    pub tls: Option<TlsSettings>,
    /// `http_server_config.headers`, in every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `basic_auth_users`: names with the bcrypt hashes of their passwords. Empty lets everybody in.
    pub users: BTreeMap<String, Secret>,
    /// `rate_limit`, unless its interval is 0.
    pub rate_limit: Option<RateLimit>,
}

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

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Time in which one request becomes possible.
    pub interval: Duration,
    /// Requests that may come at once.
    pub burst: u32,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<secret>")
    }
}

/// Headers that exporter-toolkit lets a user set, with the values it takes; none named takes any.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

impl WebConfig {
    /// Reads the text of the file; the error is all of its problems.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let config = Self::read(text, &mut problems);
        problems.sort();
        if problems.errors.is_empty() { Ok(config) } else { Err(problems) }
    }

    fn read(text: &str, problems: &mut Problems) -> Self {
        // An empty file is a file that asks for nothing.
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Self::default();
        }
        let Some(root) = yaml::parse(text, problems) else {
            return Self::default();
        };
        let mut table = Table::open(&root, String::new(), problems);
        let mut block =
            |key: &'static str| table.node(key).map(|node| Table::open(node, key.to_owned(), problems));
        let tls = block("tls_server_config");
        let http = block("http_server_config");
        let users = block("basic_auth_users");
        let rate = block("rate_limit");
        table.finish(problems);
        Self {
            tls: tls.and_then(|table| TlsSettings::read(table, problems)),
            headers: http.map(|table| headers(table, problems)).unwrap_or_default(),
            users: users.map(|table| user_hashes(&table, problems)).unwrap_or_default(),
            rate_limit: rate.and_then(|table| RateLimit::read(table, problems)),
        }
    }
}

impl TlsSettings {
    fn read(mut table: Table<'_>, problems: &mut Problems) -> Option<Self> {
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

fn headers(mut table: Table<'_>, problems: &mut Problems) -> Vec<(HeaderName, HeaderValue)> {
    // Without effect: see the head of this file.
    table.boolean("http2", problems);
    let Some(node) = table.node("headers") else {
        table.finish(problems);
        return Vec::new();
    };
    let mut block = Table::open(node, table.key_path("headers"), problems);
    table.finish(problems);
    let mut headers = Vec::new();
    for (name, allowed) in HEADERS {
        let Some(value) = block.text(name, problems).filter(|value| !value.value.is_empty()) else {
            continue;
        };
        let known = allowed.is_empty() || allowed.contains(&value.value.as_str());
        match (HeaderName::from_str(name), HeaderValue::from_str(&value.value)) {
            (Ok(name), Ok(value)) if known => headers.push((name, value)),
            _ if known => {
                problems.error(value.line, block.key_path(name), "holds a character that no header may hold");
            }
            _ => problems.error(
                value.line,
                block.key_path(name),
                format!("can only be {}", allowed.join(" or ")),
            ),
        }
    }
    block.finish(problems);
    headers
}

fn user_hashes(table: &Table<'_>, problems: &mut Problems) -> BTreeMap<String, Secret> {
    let mut users = BTreeMap::new();
    for (name, node) in table.entries() {
        let Value::Scalar { text, .. } = &node.value else {
            problems.error(
                node.line,
                table.key_path(&name.text),
                format!("expected a bcrypt hash, found {}", node.kind()),
            );
            continue;
        };
        // The value itself stays out of the message: it may be a password.
        if bcrypt::HashParts::from_str(text.as_str()).is_err() {
            let message = "is no bcrypt hash; htpasswd -nBC 10 \"\" | tr -d ':\\n' makes one";
            problems.error(node.line, table.key_path(&name.text), message);
        }
        users.insert(name.text.clone(), Secret(text.clone()));
    }
    users
}

impl RateLimit {
    fn read(mut table: Table<'_>, problems: &mut Problems) -> Option<Self> {
        let interval = table.text("interval", problems);
        let burst = table.number("burst", problems);
        let (line, burst_key, interval_key) =
            (table.line(), table.key_path("burst"), table.key_path("interval"));
        table.finish(problems);
        let interval = interval.map_or(Some(Duration::ZERO), |text| {
            let parsed = go_duration(&text.value);
            if parsed.is_none() {
                problems.error(text.line, interval_key, "expected a duration such as 1s, 500ms or 1m30s");
            }
            parsed
        })?;
        if interval.is_zero() {
            return None;
        }
        // A bucket that holds nothing lets nobody in, which nobody means.
        let burst = burst.map_or(0, |burst| burst.value).try_into().unwrap_or(u32::MAX);
        if burst == 0 {
            problems.error(
                line,
                burst_key,
                "set burst to the number of requests that may come at once, at least 1",
            );
        }
        Some(Self { interval, burst })
    }
}

/// A duration as Go writes it, <https://pkg.go.dev/time#ParseDuration>: `300ms`, `1.5h`, `1m30s`, `0`.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(())?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze";

    fn errors(text: &str) -> Vec<String> {
        WebConfig::parse(text).expect_err("has errors").errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_example_of_exporter_toolkit() {
        let text = format!(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n\
             basic_auth_users:\n  alice: {HASH}\nrate_limit:\n  interval: \"1s\"\n  burst: 20\n"
        );
        let config = WebConfig::parse(&text).expect("is right");
        let tls = config.tls.expect("there is TLS");
        assert_eq!(tls.certificate, Pem::File("server.crt".to_owned()));
        assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls12, TlsVersion::Tls13));
        assert!(tls.prefer_server_order);
        assert_eq!(config.users["alice"], Secret(HASH.to_owned()));
        assert_eq!(config.rate_limit, Some(RateLimit { interval: Duration::from_secs(1), burst: 20 }));
    }

    #[test]
    fn nothing_asks_for_nothing() {
        for text in [
            "",
            "# only a comment\n",
            "tls_server_config:\n",
            "rate_limit: {interval: 0}",
            "http_server_config: {http2: false}",
        ] {
            assert_eq!(WebConfig::parse(text), Ok(WebConfig::default()), "{text}");
        }
    }

    #[test]
    fn all_problems_at_once_with_their_lines() {
        let text = "tls_server_config:\n  cert_file: a\n  cert: b\n  min_version: TLS10\n  client_allowed_sans: [x]\n\
                    http_server_config:\n  headers:\n    X-Frame-Options: maybe\n    Server: me\n\
                    basic_auth_users:\n  alice: plain\nrate_limit: {interval: 1 week}\ncolour: red\n";
        let found = errors(text);
        for part in [
            "line 3: tls_server_config.cert: is set together with cert_file",
            "tls_server_config: set key_file",
            "line 4: tls_server_config.min_version: \"TLS10\" is not possible here; known: TLS12, TLS13",
            "client_allowed_sans needs client_auth_type",
            "line 8: http_server_config.headers.X-Frame-Options: can only be deny or sameorigin",
            "line 9: http_server_config.headers.Server: unknown key",
            "line 11: basic_auth_users.alice: is no bcrypt hash",
            "line 12: rate_limit.interval: expected a duration",
            "line 13: colour: unknown key",
        ] {
            assert!(found.iter().any(|line| line.contains(part)), "{part}: {found:#?}");
        }
        assert!(!found.iter().any(|line| line.contains("plain")), "a password is not printed: {found:#?}");
    }

    #[test]
    fn certificates_of_clients() {
        let with = |rest: &str| format!("tls_server_config: {{cert_file: a, key_file: b, {rest}}}");
        for (rest, part) in [
            ("client_ca_file: c", "no effect without client_auth_type"),
            ("client_auth_type: RequireAndVerifyClientCert", "needs client_ca_file"),
            ("client_auth_type: Whatever", "known: NoClientCert"),
            ("min_version: TLS13, max_version: TLS12", "above max_version"),
        ] {
            assert!(errors(&with(rest))[0].contains(part), "{rest}");
        }
        let good = with(
            "client_auth_type: RequireAndVerifyClientCert, client_ca_file: c, client_allowed_sans: [prom.example]",
        );
        let tls = WebConfig::parse(&good).expect("is right").tls.expect("there is TLS");
        assert_eq!(tls.client_allowed_sans, Some(vec!["prom.example".to_owned()]));
    }

    #[test]
    fn durations_of_go() {
        for (text, expected) in [("1s", 1.0), ("500ms", 0.5), ("1m30s", 90.0), ("1.5h", 5400.0), ("0", 0.0)] {
            assert_eq!(go_duration(text), Some(Duration::from_secs_f64(expected)), "{text}");
        }
        for text in ["", "1", "s", "1d", "-1s", "1 s", "1e400h", "1..2s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = WebConfig::parse(&format!(
            "basic_auth_users: {{a: {HASH}}}\ntls_server_config: {{cert_file: a, key: secret}}"
        ));
        assert!(!format!("{config:?}").contains("$2y$") && !format!("{config:?}").contains("\"secret\""));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", duration in "[0-9.a-zµ -]{0,12}") {
            let _ = WebConfig::parse(&text);
            let _ = go_duration(&duration);
        }
    }
}
