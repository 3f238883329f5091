//! `influxdb-config.yaml`: where the points go and how the server knows us.
//!
//! Two forms, the one of InfluxDB 2 and 3 with a token and the one of InfluxDB 1 with a database; see
//! `influxdb-config.yaml.example`.

mod host;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_common::problems::Problems;
use backup_common::yaml;
use backup_common::yaml_table::{Located, Table};

use super::credential::Credential;
use super::secret::Secret;

/// Where the file is if nothing else is said.
pub const DEFAULT_FILE: &str = "/etc/backup/influxdb-config.yaml";

/// The port of every version of InfluxDB up to 2, and the one that 3 is often given.
const DEFAULT_PORT: u16 = 8086;

/// The checked configuration. It has no `Debug`, because there can be a secret in it.
#[derive(Clone)]
pub struct InfluxConfig {
    /// The server.
    pub server: Server,
    /// Its version, unless it is to be found out.
    pub version: Option<Version>,
    /// Where the points go, and with what.
    pub access: Access,
}

/// How the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS.
    pub tls: bool,
    /// Further certificates that are trusted, PEM.
    pub ca_file: Option<PathBuf>,
    /// Longest time that one request takes, connecting included.
    pub timeout: Duration,
}

impl Server {
    /// The value of the header `Host`.
    pub fn authority(&self) -> String {
        let host = &self.host;
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }

    /// The URL of the server, without a final slash.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// Major versions of InfluxDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.x: `/write`, databases, `InfluxQL`.
    V1,
    /// 2.x: `/api/v2/write`, organizations, buckets, tokens, Flux.
    V2,
    /// 3.x: `/api/v2/write` with a database in place of the bucket, tokens, `InfluxQL`.
    V3,
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V1 => "1.x",
            Self::V2 => "2.x",
            Self::V3 => "3.x",
        })
    }
}

/// The two forms.
#[derive(Clone)]
pub enum Access {
    /// InfluxDB 2 and 3.
    Bucket {
        /// The organization; 3.x has none.
        organization: Option<String>,
        /// The bucket, or the database of 3.x.
        bucket: String,
        /// What opens it.
        token: Credential,
    },
    /// InfluxDB 1.
    Database {
        /// The database.
        database: String,
        /// The retention policy, if not the default one.
        retention_policy: Option<String>,
        /// Name and password, if the server wants them.
        user: Option<(String, Credential)>,
    },
}

impl InfluxConfig {
    /// Reads the text of the file; `credentials` is the directory that systemd gives
    /// (`$CREDENTIALS_DIRECTORY`), in which a relative `token_file` or `password_file` is looked for.
    ///
    /// # Errors
    /// All that is wrong, together.
    pub fn parse(text: &str, credentials: Option<&Path>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let config = yaml::parse(text, &mut problems).and_then(|root| {
            let mut file = Table::open(&root, String::new(), &mut problems);
            let block = file.node("influxdb");
            file.finish(&mut problems);
            let Some(node) = block else {
                problems.error(root.line, "influxdb", "missing; it is the block with host, port, token, …");
                return None;
            };
            read(Table::open(node, "influxdb".to_owned(), &mut problems), credentials, &mut problems)
        });
        problems.sort();
        match config {
            Some(config) if problems.errors.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }

    /// Whether a secret stands in the file itself.
    pub fn holds_secret(&self) -> bool {
        match &self.access {
            Access::Bucket { token, .. } => token.is_inline(),
            Access::Database { user, .. } => user.as_ref().is_some_and(|(_, password)| password.is_inline()),
        }
    }
}

fn read(mut table: Table<'_>, credentials: Option<&Path>, problems: &mut Problems) -> Option<InfluxConfig> {
    let line = table.line();
    let server = server(&mut table, problems);
    let version = version(&mut table, problems);
    let token = secret(&mut table, ("token", "token_file"), credentials, problems);
    let organization = table.text("organization", problems);
    let bucket = table.text("bucket", problems);
    let database = table.text("database", problems);
    let retention_policy = table.text("retention_policy", problems);
    let username = table.text("username", problems);
    let password = secret(&mut table, ("password", "password_file"), credentials, problems);
    table.finish(problems);

    let mut wrong =
        |at: usize, key: &str, message: &str| problems.error(at, format!("influxdb.{key}"), message);
    if let (Some(_), Some(database)) = (&bucket, &database) {
        wrong(
            database.line,
            "database",
            "bucket is given as well; 2.x has buckets, 1.x has databases, 3.x takes either",
        );
        return None;
    }
    let is_v1 = version == Some(Version::V1);
    let access = if let Some(token) = token {
        if let Some(Located { line, .. }) = &username {
            wrong(
                *line,
                "username",
                "a token is given as well; 1.x takes username and password, 2.x and 3.x a token",
            );
        }
        if is_v1 {
            wrong(token.line, "token", "version is 1, which takes username and password");
        }
        if organization.is_none()
            && (version == Some(Version::V2) || (version.is_none() && database.is_none()))
        {
            wrong(line, "organization", "missing; InfluxDB 2.x needs it (3.x has none: say version: 3)");
        }
        let Some(target) = bucket.or(database) else {
            wrong(line, "bucket", "missing; it says where the points go");
            return None;
        };
        Access::Bucket {
            organization: organization.map(|found| found.value),
            bucket: target.value,
            token: token.value,
        }
    } else {
        let Some(database) = database else {
            let form =
                bucket.as_ref().map_or("token and bucket for 2.x or 3.x, or database for 1.x", |_| "a token");
            wrong(
                line,
                if bucket.is_some() { "token" } else { "database" },
                &format!("missing; give {form}"),
            );
            return None;
        };
        if version.is_some_and(|version| version > Version::V1) {
            wrong(line, "token", "missing; InfluxDB 2.x and 3.x take one");
        }
        if let (None, Some(password)) = (&username, &password) {
            wrong(password.line, "username", "missing, and a password is given");
        }
        let user = match (username, password) {
            (Some(name), Some(password)) => Some((name.value, password.value)),
            (Some(name), None) => Some((name.value, Credential::Inline(Secret::new(String::new())))),
            (None, _) => None,
        };
        Access::Database {
            database: database.value,
            retention_policy: retention_policy.map(|found| found.value),
            user,
        }
    };
    Some(InfluxConfig { server: server?, version, access })
}

fn server(table: &mut Table<'_>, problems: &mut Problems) -> Option<Server> {
    let host = table.text("host", problems);
    let port = table.number("port", problems);
    let tls = table.boolean("ssl", problems);
    let ca_file = table.text("ca_file", problems).map(|found| PathBuf::from(found.value));
    let timeout = table.duration("timeout", problems);
    if let Some(Located { line, value }) = &timeout
        && value.is_zero()
    {
        problems.error(
            *line,
            table.key_path("timeout"),
            "no request is answered in no time; 10 s is the default",
        );
    }
    let Some(host) = host else {
        problems.error(table.line(), table.key_path("host"), "missing");
        return None;
    };
    let parts = match host::split(&host.value) {
        Ok(parts) => parts,
        Err(message) => {
            problems.error(host.line, table.key_path("host"), message);
            return None;
        }
    };
    if let (Some(ours), Some(theirs)) = (&tls, parts.tls)
        && ours.value != theirs
    {
        problems.error(
            ours.line,
            table.key_path("ssl"),
            format!("{} does not go with the scheme in host", ours.value),
        );
    }
    let given = match port {
        Some(Located { line, value }) => {
            let Ok(port @ 1..) = u16::try_from(value) else {
                problems.error(
                    line,
                    table.key_path("port"),
                    format!("{value} is no port; they go from 1 to 65535"),
                );
                return None;
            };
            Some((line, port))
        }
        None => None,
    };
    if let (Some((line, ours)), Some(theirs)) = (given, parts.port)
        && ours != theirs
    {
        problems.error(
            line,
            table.key_path("port"),
            format!("{ours} does not go with the port {theirs} in host"),
        );
    }
    Some(Server {
        host: parts.host,
        port: parts.port.or(given.map(|(_, port)| port)).unwrap_or(DEFAULT_PORT),
        tls: tls.map(|found| found.value).or(parts.tls).unwrap_or(false),
        ca_file,
        timeout: timeout.map_or(Duration::from_secs(10), |found| found.value),
    })
}

fn version(table: &mut Table<'_>, problems: &mut Problems) -> Option<Version> {
    let Located { line, value } = table.text("version", problems)?;
    match value.as_str() {
        "auto" => None,
        "1" => Some(Version::V1),
        "2" => Some(Version::V2),
        "3" => Some(Version::V3),
        _ => {
            problems.error(
                line,
                table.key_path("version"),
                format!("expected auto, 1, 2 or 3, found \"{value}\""),
            );
            None
        }
    }
}

/// The secret of a pair of keys, or the credential that systemd hands over under their name.
fn secret(
    table: &mut Table<'_>,
    (inline, file): (&'static str, &'static str),
    credentials: Option<&Path>,
    problems: &mut Problems,
) -> Option<Located<Credential>> {
    let text = table.text(inline, problems);
    let path = table.text(file, problems);
    match (text, path) {
        (Some(_), Some(path)) => {
            problems.error(
                path.line,
                table.key_path(file),
                format!("{inline} is given as well; give one of them"),
            );
            None
        }
        (Some(text), None) => {
            Some(Located { line: text.line, value: Credential::Inline(Secret::new(text.value)) })
        }
        (None, Some(Located { line, value })) => {
            let path = PathBuf::from(value);
            let Some(path) =
                (if path.is_absolute() { Some(path.clone()) } else { credentials.map(|d| d.join(&path)) })
            else {
                problems.error(
                    line,
                    table.key_path(file),
                    "give an absolute path; a name alone is that of a systemd credential, and there are none here",
                );
                return None;
            };
            Some(Located { line, value: Credential::File(path) })
        }
        (None, None) => {
            let path = credentials?.join(format!("influxdb-{inline}"));
            path.exists().then(|| Located { line: table.line(), value: Credential::File(path) })
        }
    }
}

#[cfg(test)]
mod tests;
