//! Pure: the web configuration file that all Prometheus exporters share, as text into values.
//!
//! The format is that of exporter-toolkit,
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. Two things are
//! stricter here: TLS begins at 1.2, and what can not be honoured is refused by its name. `http2` is read
//! and without effect, because only HTTP/1.1 is spoken.

mod rate;
mod tls_settings;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use backup_common::problems::Problems;
use backup_common::yaml::{self, Value};
use backup_common::yaml_table::Table;
use hyper::header::{HeaderName, HeaderValue};

pub use rate::RateLimit;
pub use tls_settings::{ClientAuth, Pem, TlsSettings, TlsVersion};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::time::Duration;

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
    fn secrets_are_not_printed() {
        let config = WebConfig::parse(&format!(
            "basic_auth_users: {{a: {HASH}}}\ntls_server_config: {{cert_file: a, key: secret}}"
        ));
        assert!(!format!("{config:?}").contains("$2y$") && !format!("{config:?}").contains("\"secret\""));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = WebConfig::parse(&text);
        }
    }
}
