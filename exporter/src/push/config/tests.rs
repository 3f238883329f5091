use super::*;

const V2: &str = r#"
influxdb:
  host: "localhost"
  port: 8086
  ssl: false
  token: "your-influxdb-token"
  organization: "home"
  bucket: "backup"
"#;

const V1: &str = r#"
influxdb:
  host: "localhost"
  port: 8086
  ssl: false
  database: "backup_metrics"
  username: "backup_user"
  password: "backup_password"
"#;

fn problems(text: &str) -> Vec<String> {
    let problems = InfluxConfig::parse(text, None).err().expect("problems");
    problems.errors.iter().map(ToString::to_string).collect()
}

fn block(keys: &str) -> String {
    format!("influxdb: {{{keys}}}")
}

#[test]
fn the_two_forms_that_users_have() {
    let config = InfluxConfig::parse(V2, None).expect("the form of 2.x");
    assert_eq!(config.server.url(), "http://localhost:8086");
    assert_eq!((config.version, config.server.timeout), (None, Duration::from_secs(10)));
    assert!(config.holds_secret());
    let Access::Bucket { organization, bucket, token } = config.access else { panic!() };
    assert_eq!((organization.as_deref(), bucket.as_str()), (Some("home"), "backup"));
    assert_eq!(token.read().unwrap().expose(), "your-influxdb-token");

    let config = InfluxConfig::parse(V1, None).expect("the form of 1.x");
    let Access::Database { database, retention_policy: None, user: Some((name, password)) } = config.access
    else {
        panic!()
    };
    assert_eq!((database.as_str(), name.as_str()), ("backup_metrics", "backup_user"));
    assert_eq!(password.read().unwrap().expose(), "backup_password");
}

#[test]
fn the_example_is_good() {
    let example = include_str!("../../../../influxdb-config.yaml.example");
    assert!(InfluxConfig::parse(example, None).is_ok());
    // The other form stands in comments that begin with one `#` and two spaces.
    let other = example.split_once("# For InfluxDB 1.x").expect("the other form").1;
    let other: Vec<_> = other.lines().skip(1).filter_map(|line| line.strip_prefix("# ")).collect();
    assert!(InfluxConfig::parse(&other.join("\n"), None).is_ok(), "{other:?}");
}

#[test]
fn all_problems_are_reported_together() {
    let found =
        problems("influxdb:\n  hosst: x\n  port: 99999\n  version: 4\n  tokn: secret\n  timeout: 0\n");
    assert_eq!(
        found,
        [
            "line 2: influxdb.host: missing",
            "line 2: influxdb.hosst: unknown key; did you mean host?",
            "line 2: influxdb.database: missing; give token and bucket for 2.x or 3.x, or database for 1.x",
            "line 4: influxdb.version: expected auto, 1, 2 or 3, found \"4\"",
            "line 5: influxdb.tokn: unknown key; did you mean token?",
            "line 6: influxdb.timeout: no request is answered in no time; 10 s is the default",
        ]
    );
}

#[test]
fn what_does_not_go_together() {
    for (keys, part) in [
        ("host: x, token: t, organization: o", "bucket: missing"),
        ("host: x, bucket: b, organization: o", "token: missing"),
        ("host: x, token: t, bucket: b", "organization: missing"),
        ("host: x, token: t, bucket: b, database: d, organization: o", "bucket is given as well"),
        ("host: x, token: t, token_file: /t, bucket: b, organization: o", "give one of them"),
        ("host: x, token: t, bucket: b, organization: o, version: 1", "version is 1"),
        ("host: x, database: d, version: 2", "token: missing"),
        ("host: x, database: d, password: p", "username: missing"),
        ("host: x, token: t, database: d, username: u", "a token is given as well"),
        ("host: 'https://x', ssl: false, database: d", "scheme"),
        ("host: 'x:1', port: 2, database: d", "port"),
        ("host: x/y, database: d", "path"),
        ("host: x, port: 0, database: d", "no port"),
        ("host: x, database: d, username: u, password_file: p", "absolute"),
    ] {
        let found = problems(&block(keys));
        assert!(found.iter().any(|problem| problem.contains(part)), "{keys}: {found:?}");
    }
    for keys in
        ["host: x, token: t, bucket: b, version: 3", "host: x, token: t, database: d", "host: x, database: d"]
    {
        assert!(InfluxConfig::parse(&block(keys), None).is_ok(), "{keys}");
    }
}

#[test]
fn secrets_from_files_and_systemd() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("influxdb-token"), "from systemd\n").unwrap();
    std::fs::write(directory.path().join("other"), "by name\n").unwrap();
    let token = |keys: &str| {
        let config = InfluxConfig::parse(&block(keys), Some(directory.path())).expect("good");
        assert!(!config.holds_secret());
        let Access::Bucket { token, .. } = config.access else { panic!() };
        token.read().unwrap().expose().to_owned()
    };
    assert_eq!(token("host: x, bucket: b, version: 3"), "from systemd");
    assert_eq!(token("host: x, bucket: b, version: 3, token_file: other"), "by name");
}

#[test]
fn a_secret_is_in_no_message() {
    let text = V2.replace("port: 8086", "port: x").replace("bucket:", "bukket:");
    assert!(problems(&text).iter().all(|problem| !problem.contains("your-influxdb-token")));
    let text = V1.replace("password: \"backup_password\"", "password: [\"backup_password\"]");
    assert!(problems(&text).iter().all(|problem| !problem.contains("backup_password")));
}
