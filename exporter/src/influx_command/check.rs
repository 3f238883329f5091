//! `--test-influxdb`: one step after the other, up to the first that fails.

use std::process::ExitCode;
use std::time::SystemTime;

use backup_common::error_chain::ErrorChain;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::influxql;
use super::v2::{self, V2Error};
use crate::outputs::influx::line_protocol::{self, Field, Point};
use crate::push::api::{Api, ServerInfo};
use crate::push::client::{self, Answer, Client, ClientError};
use crate::push::config::{Access, InfluxConfig, Version};
use crate::push::payload::Payload;

/// Largest difference of the clocks that is no matter, in seconds.
const CLOCK_SECONDS: f64 = 60.0;

/// A measurement of its own, so that nothing else is touched.
const MEASUREMENT: &str = "backup_test";

/// What each step found.
pub struct Report {
    json: bool,
    steps: Vec<serde_json::Value>,
    failed: bool,
}

/// A step that failed, with what to do.
struct Failure {
    found: String,
    remedy: String,
}

type Step = Result<String, Failure>;

impl Report {
    /// Prints each step as it is done, or all of them as JSON at the end.
    pub fn new(json: bool) -> Self {
        Self { json, steps: Vec::new(), failed: false }
    }

    fn add(&mut self, check: &str, step: Step) -> Option<()> {
        let (found, remedy) = match step {
            Ok(found) => (found, None),
            Err(Failure { found, remedy }) => (found, Some(remedy)),
        };
        self.failed |= remedy.is_some();
        if self.json {
            self.steps
                .push(json!({"check": check, "ok": remedy.is_none(), "found": found, "remedy": remedy}));
        } else {
            println!("{:<4}  {check:<14}  {found}", if remedy.is_none() { "ok" } else { "FAIL" });
            if let Some(remedy) = &remedy {
                println!("      -> {remedy}");
            }
        }
        remedy.is_none().then_some(())
    }

    /// The exit code: 0 if every step was good, else 1.
    pub fn finish(self) -> ExitCode {
        if self.json {
            println!("{:#}", json!({"ok": !self.failed, "steps": self.steps}));
        }
        ExitCode::from(u8::from(self.failed))
    }
}

/// Runs the steps; the first failure ends it.
pub async fn run(config: InfluxConfig, report: &mut Report) {
    let _ = steps(config, report).await;
}

async fn steps(config: InfluxConfig, report: &mut Report) -> Option<()> {
    let mut client = Client::new(config.server.clone());
    connection(&client, report).await?;
    let mut api = Api::new(config);

    let (step, answer) = server(&mut client, &mut api).await;
    report.add("server", step)?;
    report.add("authentication", authentication(&mut client, &api).await)?;
    report.add(
        if api.version() == Version::V2 { "bucket" } else { "database" },
        target(&mut client, &api).await,
    )?;
    report.add("write", write(&mut client, &api).await)?;
    report.add("clock", clock(answer.as_ref(), SystemTime::now()))
}

async fn connection(client: &Client, report: &mut Report) -> Option<()> {
    let server = client.server();
    let deadline = Instant::now() + server.timeout;
    let addresses = match client.resolve(deadline).await {
        Ok(addresses) => addresses,
        Err(error) => return report.add("name", Err(no_connection(&error))),
    };
    let list: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report.add("name", Ok(format!("{} is {}", server.host, list.join(", "))))?;
    let stream = match client.open(&addresses, deadline).await {
        Ok(stream) => stream,
        Err(error) => return report.add("connect", Err(no_connection(&error))),
    };
    let peer = stream.peer_addr().map_or_else(|_| server.authority(), |peer| peer.to_string());
    report.add("connect", Ok(format!("{peer} answers")))?;
    if !server.tls {
        let found =
            "off (ssl: false): everybody on the way can read what is sent, a token or password included";
        return report.add("tls", Ok(found.to_owned()));
    }
    let step = match client.secure(stream, deadline).await {
        Ok(_) => Ok(format!("the certificate is good for {}", server.host)),
        Err(error) => Err(no_connection(&error)),
    };
    report.add("tls", step)
}

fn no_connection(error: &ClientError) -> Failure {
    let remedy = match error {
        ClientError::Resolve(..) => "correct host, or mend the name service of this machine",
        ClientError::Connect(..) => "start InfluxDB there, correct host or port, or open the firewall",
        ClientError::Certificates(..) => "correct ca_file; it is a file of PEM certificates",
        ClientError::Tls(..) => {
            "name the certificate of its authority in ca_file, correct host to the name in its certificate, or say ssl: \
             false if the server has no TLS"
        }
        ClientError::Timeout { .. } => {
            "see whether the server hangs, or a firewall drops what is sent; timeout raises the limit"
        }
        ClientError::Http(_) => "see whether InfluxDB listens there; if it wants TLS, say ssl: true",
    };
    Failure { found: ErrorChain(error).to_string(), remedy: remedy.to_owned() }
}

fn failure(found: impl Into<String>, remedy: &str) -> Failure {
    Failure { found: found.into(), remedy: remedy.to_owned() }
}

async fn ask(
    client: &mut Client,
    request: Result<hyper::Request<http_body_util::Full<hyper::body::Bytes>>, crate::push::api::RequestError>,
) -> Result<Answer, Failure> {
    let request = request.map_err(|error| {
        failure(ErrorChain(&error).to_string(), "correct influxdb-config.yaml or the file of the secret")
    })?;
    client.send(request, client::SHORT).await.map_err(|error| no_connection(&error))
}

async fn server(client: &mut Client, api: &mut Api) -> (Step, Option<Answer>) {
    let answer = match ask(client, api.ping()).await {
        Ok(answer) => answer,
        Err(failure) => return (Err(failure), None),
    };
    let info = ServerInfo::from_ping(&answer);
    let says = match (&info.says, &info.build) {
        (Some(says), Some(build)) => format!("InfluxDB {says} ({build})"),
        (Some(says), None) => format!("InfluxDB {says}"),
        (None, _) => "the server does not say what it is".to_owned(),
    };
    api.learn(info);
    (described(api, says, &answer).await, Some(answer))
}

async fn described(api: &Api, says: String, answer: &Answer) -> Step {
    if (300..400).contains(&answer.status) {
        let to = answer.header("location").unwrap_or("elsewhere");
        let found = format!("{}: it sends to {}", answer.status, backup_common::text::clean(to, 200));
        return Err(failure(
            found,
            "redirects are not followed; correct host, port and ssl to where it sends",
        ));
    }
    let said = api.info().version;
    let is_v1_with_token = said == Some(Version::V1) && matches!(api.config().access, Access::Bucket { .. });
    if is_v1_with_token {
        let remedy = "it knows databases and no tokens: give database, username and password in place of token, \
                      organization and bucket";
        return Err(failure(says, remedy));
    }
    if let (Some(fixed), Some(said)) = (api.config().version, said)
        && fixed != said
    {
        return Err(failure(says, &format!("the configuration says version {fixed}; say version: auto")));
    }
    if let (Version::V2, Access::Bucket { organization: Some(organization), token, .. }) =
        (api.version(), &api.config().access)
    {
        let trouble = match v2::client(api.config(), organization, token) {
            Ok(client) => v2::health(client).await,
            Err(error) => Err(error),
        };
        return match trouble {
            Ok(None) => Ok(format!("{says}, healthy, spoken to as {}", api.version())),
            Ok(Some(trouble)) => {
                Err(failure(format!("{says} is not healthy: {trouble}"), "see the log of InfluxDB"))
            }
            // Others that take the same writes have no /health of this form.
            Err(_) => Ok(format!("{says}, spoken to as {}", api.version())),
        };
    }
    Ok(format!("{says}, spoken to as {}", api.version()))
}

fn denied(found: String, access: &Access) -> Failure {
    match access {
        Access::Bucket { .. } => {
            failure(found, "correct token or token_file; the token must be able to write to the bucket")
        }
        Access::Database { user: None, .. } => {
            failure(found, "the server wants username and password; give both")
        }
        Access::Database { .. } => failure(found, "correct username and password"),
    }
}

async fn authentication(client: &mut Client, api: &Api) -> Step {
    let access = &api.config().access;
    if let (Version::V2, Access::Bucket { organization, token, .. }) = (api.version(), access) {
        // A bucket of any name: only the answer to the token matters here.
        let found = match v2::client(api.config(), organization.as_deref().unwrap_or_default(), token) {
            Ok(client) => v2::has_bucket(client, String::new()).await,
            Err(error) => Err(error),
        };
        return match found {
            Err(V2Error::Http(status @ (401 | 403), text)) => {
                Err(denied(format!("{status}: {text}"), access))
            }
            Err(V2Error::Build(text)) => {
                Err(failure(text, "correct influxdb-config.yaml or the file of the secret"))
            }
            // A token that may only write can not list buckets; the write tells.
            Err(_) => Ok("the server does not list buckets; the write will tell".to_owned()),
            Ok(_) => Ok("the token is good".to_owned()),
        };
    }
    let answer = ask(client, api.influxql("SHOW MEASUREMENTS LIMIT 1")).await?;
    match (answer.status, access) {
        (401 | 403, _) => Err(denied(format!("{}: {}", answer.status, answer.message()), access)),
        (_, Access::Database { user: None, .. }) => Ok("the server wants none".to_owned()),
        (_, Access::Database { user: Some((name, _)), .. }) => Ok(format!("the password of {name} is good")),
        _ => Ok("the token is good".to_owned()),
    }
}

async fn target(client: &mut Client, api: &Api) -> Step {
    match &api.config().access {
        Access::Bucket { organization, bucket, token } if v2::is_spoken(api.version()) => {
            let organization = organization.as_deref().unwrap_or_default();
            let found = match v2::client(api.config(), organization, token) {
                Ok(client) => v2::has_bucket(client, bucket.clone()).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(true) => Ok(format!("{bucket} is there, in {organization}")),
                Ok(false) | Err(V2Error::Http(404, _)) => Err(failure(
                    format!("there is no {bucket} in {organization}, or the token can not see it"),
                    "make the bucket (influx bucket create), or correct bucket and organization",
                )),
                Err(error) => Ok(format!("not known: {error}")),
            }
        }
        Access::Bucket { bucket: database, .. } => {
            let answer = ask(client, api.influxql("SHOW MEASUREMENTS LIMIT 1")).await?;
            match influxql::error(&answer) {
                None => Ok(format!("{database} is there")),
                Some(error) if error.contains("not found") => Err(no_database(error, database)),
                Some(error) => Ok(format!("not known: {error}")),
            }
        }
        Access::Database { database, .. } => {
            // 1.x answers questions about measurements of a database that is not there, so the list is asked for.
            let answer = ask(client, api.influxql("SHOW DATABASES")).await?;
            match influxql::error(&answer) {
                None if influxql::first_column(&answer.body).any(|name| name == *database) => {
                    Ok(format!("{database} is there"))
                }
                None => Err(no_database(
                    format!("there is no {database}, or this user has no right to it"),
                    database,
                )),
                Some(error) => Ok(format!("not known: {error}")),
            }
        }
    }
}

fn no_database(found: String, database: &str) -> Failure {
    failure(found, &format!("make it (CREATE DATABASE \"{database}\"), or correct database"))
}

async fn write(client: &mut Client, api: &Api) -> Step {
    let point = Point {
        measurement: MEASUREMENT,
        tags: vec![("server", crate::push::server_name())],
        fields: vec![("value", Field::Number(1.0))],
        time: Timestamp::now(),
    };
    let lines: Vec<String> = line_protocol::line(&point).into_iter().collect();
    let answer = ask(client, api.write(&Payload::of(&lines))).await?;
    let found = format!("{}: {}", answer.status, answer.message());
    match answer.status {
        200..=299 => Ok(format!("a point in {MEASUREMENT} was taken")),
        401 | 403 => {
            Err(failure(found, "let this token or user write there (for 1.x: GRANT WRITE ON the database)"))
        }
        404 => Err(failure(
            found,
            "make the database or bucket, or correct its name; for 1.x also retention_policy",
        )),
        _ => Err(failure(found, "see the log of InfluxDB")),
    }
}

fn clock(answer: Option<&Answer>, now: SystemTime) -> Step {
    let there = answer.and_then(|answer| httpdate::parse_http_date(answer.header("date")?).ok());
    let Some(there) = there else { return Ok("the server does not say what time it has".to_owned()) };
    let (seconds, which) = match there.duration_since(now) {
        Ok(ahead) => (ahead.as_secs_f64(), "ahead of"),
        Err(behind) => (behind.duration().as_secs_f64(), "behind"),
    };
    // The header has whole seconds.
    if seconds < 2.0 {
        return Ok("the same as here".to_owned());
    }
    let found = format!("{} {which} this machine", backup_common::units::duration(seconds));
    if seconds > CLOCK_SECONDS {
        return Err(failure(found, "set both clocks by NTP: queries about the last hours would miss points"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn clocks() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let answer = |date: &str| Answer {
            status: 204,
            headers: [(hyper::header::DATE, date.parse().unwrap())].into_iter().collect(),
            body: Vec::new(),
        };
        let at = |shift: i64, date: &str| {
            let shift_by = Duration::from_secs(shift.unsigned_abs());
            clock(Some(&answer(date)), if shift < 0 { now - shift_by } else { now + shift_by })
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(at(0, date).ok().as_deref(), Some("the same as here"));
        assert_eq!(at(30, date).ok().as_deref(), Some("30 s behind this machine"));
        assert_eq!(at(-30, date).ok().as_deref(), Some("30 s ahead of this machine"));
        assert_eq!(
            at(3600, date).err().map(|failure| failure.found).as_deref(),
            Some("1 h behind this machine")
        );
        assert!(at(0, "yesterday").is_ok());
    }
}
