//! The requests that the server is asked, and what it says of itself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::client::Answer;
use super::config::{Access, InfluxConfig, Version};
use super::credential::CredentialError;
use super::payload::Payload;

const AGENT: &str = concat!("backup-exporter/", env!("CARGO_PKG_VERSION"));

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the server says of itself in its answer to `/ping`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The major version, if it says one that we know.
    pub version: Option<Version>,
    /// Its version in its own words, cleaned.
    pub says: Option<String>,
    /// Its build, such as `OSS` or `Core`, cleaned.
    pub build: Option<String>,
}

impl ServerInfo {
    /// Reads the answer. 1.x and 2.x tell their version in header fields, 3.x does so there or in the body.
    pub fn from_ping(answer: &Answer) -> Self {
        let clean = |text: &str| backup_common::text::clean(text, 80);
        let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        let in_body = || Some(body.as_ref()?.get("version")?.as_str()?.to_owned());
        let says = answer.header("x-influxdb-version").map(str::to_owned).or_else(in_body);
        let number = says.as_deref().map(|text| text.trim_start_matches('v'));
        let version = match number.and_then(|number| number.split('.').next()) {
            Some("1") => Some(Version::V1),
            Some("2") => Some(Version::V2),
            Some("3") => Some(Version::V3),
            _ => None,
        };
        Self {
            version,
            says: says.as_deref().map(clean),
            build: answer.header("x-influxdb-build").map(clean),
        }
    }
}

/// What stands in the way of a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no secret.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A secret with a newline or the like.
    #[error("cannot send the secret: it holds characters that a header can not have")]
    Secret,
    /// The server is another than the configuration is for.
    #[error(
        "cannot write: the server is InfluxDB {0}, which knows databases and no tokens; give database, username and \
         password in place of token, organization and bucket"
    )]
    Mismatch(String),
}

/// Requests for one configuration and what is known of the server.
#[derive(Clone)]
pub struct Api {
    config: InfluxConfig,
    info: ServerInfo,
}

impl Api {
    /// Nothing is known of the server yet.
    pub fn new(config: InfluxConfig) -> Self {
        Self { config, info: ServerInfo::default() }
    }

    /// Takes over what the server said.
    pub fn learn(&mut self, info: ServerInfo) {
        self.info = info;
    }

    /// The configuration.
    pub fn config(&self) -> &InfluxConfig {
        &self.config
    }

    /// What is known of the server.
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// The version that is spoken: the one that is fixed, else the server's, else the one of the keys.
    pub fn version(&self) -> Version {
        let by_keys = || match self.config.access {
            Access::Bucket { organization: None, .. } => Version::V3,
            Access::Bucket { .. } => Version::V2,
            Access::Database { .. } => Version::V1,
        };
        self.config.version.or(self.info.version).unwrap_or_else(by_keys)
    }

    /// Asks what the server is.
    pub fn ping(&self) -> Result<Request<Full<Bytes>>, RequestError> {
        self.request(Method::GET, "/ping", Bytes::new())
    }

    /// Writes lines.
    pub fn write(&self, payload: &Payload) -> Result<Request<Full<Bytes>>, RequestError> {
        let target = match &self.config.access {
            Access::Bucket { .. } if self.version() == Version::V1 => {
                return Err(RequestError::Mismatch(
                    self.info.says.clone().unwrap_or_else(|| "1.x".to_owned()),
                ));
            }
            Access::Bucket { organization, bucket, .. } => {
                let organization = organization.as_deref().map(|name| format!("org={}&", encode(name)));
                format!(
                    "/api/v2/write?{}bucket={}&precision=ns",
                    organization.unwrap_or_default(),
                    encode(bucket)
                )
            }
            Access::Database { database, retention_policy, .. } => {
                let policy = retention_policy.as_deref().map(|name| format!("&rp={}", encode(name)));
                format!("/write?db={}{}&precision=ns", encode(database), policy.unwrap_or_default())
            }
        };
        let mut request = self.request(Method::POST, &target, payload.bytes())?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Ok(request)
    }

    /// Asks in `InfluxQL`, which 1.x and 3.x speak; times come back as nanoseconds.
    pub fn influxql(&self, query: &str) -> Result<Request<Full<Bytes>>, RequestError> {
        let database = match &self.config.access {
            Access::Bucket { bucket: database, .. } | Access::Database { database, .. } => database,
        };
        let target = format!("/query?db={}&epoch=ns&q={}", encode(database), encode(query));
        self.request(Method::GET, &target, Bytes::new())
    }

    fn request(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, RequestError> {
        let host =
            HeaderValue::from_str(&self.config.server.authority()).map_err(|_| RequestError::Secret)?;
        let mut builder = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, host)
            .header(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(authorization) = self.authorization()? {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        // Target and header fields are checked above: nothing but percent-encoded text is in them.
        builder.body(Full::new(body)).map_err(|_| RequestError::Secret)
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, RequestError> {
        let text = match &self.config.access {
            Access::Bucket { token, .. } => {
                let scheme = if self.version() == Version::V3 { "Bearer" } else { "Token" };
                let token = token.read()?;
                Zeroizing::new(format!("{scheme} {}", token.expose()))
            }
            Access::Database { user: None, .. } => return Ok(None),
            Access::Database { user: Some((name, password)), .. } => {
                let password = password.read()?;
                let pair = Zeroizing::new(format!("{name}:{}", password.expose()));
                let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
                Zeroizing::new(format!("Basic {}", *encoded))
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| RequestError::Secret)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(keys: &str) -> Api {
        Api::new(InfluxConfig::parse(&format!("influxdb: {{host: h, {keys}}}"), None).expect("good"))
    }

    fn answer(headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Answer { status: 200, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn the_server_says_what_it_is() {
        for (headers, body, version, says) in [
            (
                &[("x-influxdb-version", "1.6.7~rc0"), ("x-influxdb-build", "OSS")][..],
                "",
                Some(Version::V1),
                "1.6.7~rc0",
            ),
            (&[("x-influxdb-version", "v2.7.11")], "", Some(Version::V2), "v2.7.11"),
            (
                &[("x-influxdb-version", "3.0.1"), ("x-influxdb-build", "Core")],
                "",
                Some(Version::V3),
                "3.0.1",
            ),
            (&[], r#"{"version":"3.2.0","revision":"abc"}"#, Some(Version::V3), "3.2.0"),
            (&[("x-influxdb-version", "unknown")], "", None, "unknown"),
        ] {
            let info = ServerInfo::from_ping(&answer(headers, body));
            assert_eq!((info.version, info.says.as_deref()), (version, Some(says)));
        }
        assert_eq!(ServerInfo::from_ping(&answer(&[], "<html>")), ServerInfo::default());
    }

    #[test]
    fn writes_by_version() {
        let payload = Payload::of(&["m f=1 1".to_owned()]);
        let target = |api: &Api| api.write(&payload).unwrap().uri().to_string();
        let header = |api: &Api| {
            let request = api.write(&payload).unwrap();
            request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned())
        };
        let first = api("database: 'a b', username: u, password: p, retention_policy: 'x&y'");
        assert_eq!(target(&first), "/write?db=a%20b&rp=x%26y&precision=ns");
        assert_eq!(header(&first).as_deref(), Some("Basic dTpw"));
        assert_eq!(header(&api("database: d")), None);

        let mut second = api("token: t, organization: 'o/1', bucket: b");
        assert_eq!(target(&second), "/api/v2/write?org=o%2F1&bucket=b&precision=ns");
        assert_eq!(header(&second).as_deref(), Some("Token t"));
        second.learn(ServerInfo { version: Some(Version::V3), ..ServerInfo::default() });
        assert_eq!(header(&second).as_deref(), Some("Bearer t"));
        second.learn(ServerInfo { version: Some(Version::V1), says: Some("1.6.7".to_owned()), build: None });
        assert!(matches!(second.write(&payload), Err(RequestError::Mismatch(says)) if says == "1.6.7"));

        let third = api("token: t, database: d");
        assert_eq!(target(&third), "/api/v2/write?bucket=d&precision=ns");
        assert!(matches!(api("token: \"a\\nb\", database: d").write(&payload), Err(RequestError::Secret)));
    }
}
