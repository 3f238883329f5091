//! What editors and people see of the configuration: its schema, its example, and the whole written out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

use std::collections::BTreeSet;

use backup_common::config::Config;
use backup_common::config_schema::schema;
use backup_common::effective_config::effective;
use backup_common::problems::Problems;
use backup_common::yaml::{self, Node, Value as Yaml};
use serde_json::{Map, Value};

const OLDER: &str = include_str!("configs/older.yaml");
const OLDER_KEYS: &str = include_str!("configs/older-keys.yaml");
const EXAMPLE: &str = include_str!("../../backup.yaml.example");

/// Accepted by the program, in one file each.
const ACCEPTED: &[&str] = &[
    OLDER,
    OLDER_KEYS,
    EXAMPLE,
    "hosts: {h: {paths: [{path: /data}]}}",
    "{config: ~, hosts: {h: {paths: [{path: /data, exclude_file: ~}]}}}",
    "config: {rsync_options: -a, io_timeout: 5, max_delete: 10%, min_free: 5 GiB, parallel: '4'}\n\
     hosts: {h: {rsync_options: [--delete, '--exclude \"a b\"'], io_timeout: 1.5 h, retries: 3, paths: [{path: /, max_delete: 0, host_options: -z}]}}",
    "config: {rsync_options: []}\nhosts: {h: {paths: [{path: /data}]}}",
    "hosts: {h: {ssh_user: '', ignore_ping: yes, optional: Off, paths: [{path: /a, dest_subdir: 2024}]}}",
    "hosts:\n  büro:\n    ssh_user: DOMAIN\\user@fe80::1%eth0\n    ssh_port: 2222\n    ssh_key: /k\n    ssh_options: ['-J jump', 'ProxyCommand=nc %h %p']\n\
     \x20   preserve_ownership: on\n    enabled: false\n    rsync_path: sudo rsync\n    pre_script: a.sh\n    post_script_local: b\n\
     \x20   paths: [{path: '/we[i]rd* $(id) \"q\"', require: .here, path_timeout: 90}]\n\
     snapshots: {volume: /v, directory: s/t, when: before, schedules: [{type: a_b, interval: 0.5 s}]}",
];

/// Refused by the program for something that a schema can tell.
const REFUSED: &[&str] = &[
    "{}",
    "hosts: {}",
    "hosts: []",
    "hosts: {h: ~}",
    "hosts: {h: {paths: []}}",
    "hosts: {h: {paths: /a}}",
    "hosts: {h: {paths: [{}]}}",
    "hosts: {h: {paths: [{path: a}]}}",
    "hosts: {-h: {paths: [{path: /a}]}}",
    "hosts: {../h: {paths: [{path: /a}]}}",
    "hosts: {h: {paths: [{path: /a, dest_subdir: /b}]}}",
    "hosts: {h: {paths: [{path: /a, pre_script: ../x}]}}",
    "hosts: {h: {paths: [{path: /a, connect_timeout: 3}]}}",
    "hosts: {h: {ssh_prot: 22, paths: [{path: /a}]}}",
    "hosts: {h: {ssh_user: u, ssh_port: 70000, paths: [{path: /a}]}}",
    "hosts: {h: {ssh_user: u, ssh_key: id, paths: [{path: /a}]}}",
    "hosts: {h: {ssh_user: u, hostname: 'a;b', paths: [{path: /a}]}}",
    "hosts: {h: {ssh_user: u, hostname: -oProxyCommand=x, paths: [{path: /a}]}}",
    "hosts: {h: {ignore_ping: 2, paths: [{path: /a}]}}",
    "hosts: {h: {optional: maybe, paths: [{path: /a}]}}",
    "hosts: {h: {rsync_options: {a: b}, paths: [{path: /a}]}}",
    "hosts: {h: {rsync_path: --x, paths: [{path: /a}]}}",
    "{config: {parallel: 0}, hosts: {h: {paths: [{path: /a}]}}}",
    "{config: {parallel: many}, hosts: {h: {paths: [{path: /a}]}}}",
    "{config: {parallel: -1}, hosts: {h: {paths: [{path: /a}]}}}",
    "{config: {backup_bsae: /x}, hosts: {h: {paths: [{path: /a}]}}}",
    "{config: {backup_base: x}, hosts: {h: {paths: [{path: /a}]}}}",
    "{config: {io_timeout: 5 weeks}, hosts: {h: {paths: [{path: /a}]}}}",
    "{config: {max_delete: 101%}, hosts: {h: {paths: [{path: /a}]}}}",
    "{config: {min_free: 1.5 G}, hosts: {h: {paths: [{path: /a}]}}}",
    "{hosts: {h: {paths: [{path: /a}]}}, snapshots: {schedules: []}}",
    "{hosts: {h: {paths: [{path: /a}]}}, snapshots: {volume: /v, when: never}}",
    "{hosts: {h: {paths: [{path: /a}]}}, snapshots: {volume: /v, schedules: [{type: a/b, interval: 1}]}}",
    "{hosts: {h: {paths: [{path: /a}]}}, snapshots: {volume: /v, schedules: [{type: a, count: 1}]}}",
    "{hosts: {h: {paths: [{path: /a}]}}, snapshot: {}}",
];

/// YAML as an editor hands it to a schema: the core schema of YAML 1.2.
fn json(node: &Node) -> Value {
    match &node.value {
        Yaml::Scalar { text, plain: false } => Value::from(text.as_str()),
        Yaml::Scalar { text, plain: true } => match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            text if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
            }
            text => Value::from(text),
        },
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), json(node))).collect())
        }
    }
}

fn document(text: &str) -> Value {
    let mut problems = Problems::default();
    let node = yaml::parse(text, &mut problems);
    json(&node.unwrap_or_else(|| panic!("{problems:?}: {text}")))
}

/// A comment that begins without a space is a key.
fn with_everything(text: &str) -> String {
    let without_mark = |line: &str| {
        let key = line.trim_start();
        match key.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '\n']) || rest.starts_with("  ")) {
            Some(rest) => format!("{}{rest}", &line[..line.len() - key.len()]),
            None => line.to_owned(),
        }
    };
    text.split_inclusive('\n').map(without_mark).collect()
}

#[test]
fn the_schema_accepts_what_the_program_accepts() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let everything = with_everything(EXAMPLE);
    for text in ACCEPTED.iter().copied().chain([everything.as_str()]) {
        if let Err(problems) = Config::parse(text) {
            panic!("{problems:#?}: {text}");
        }
        let errors: Vec<String> = validator
            .iter_errors(&document(text))
            .map(|error| format!("{} at {}", error, error.instance_path))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}: {text}");
    }
}

#[test]
fn the_schema_refuses_what_is_wrong_in_itself() {
    let schema = schema();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for text in REFUSED {
        assert!(Config::parse(text).is_err(), "the program accepts {text}");
        assert!(!validator.is_valid(&document(text)), "the schema accepts {text}");
    }
}

/// Every key of the schema, with the path of its block: `hosts.*.paths[].path`.
fn schema_keys(schema: &Value, at: &str, out: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}{name}");
        schema_keys(inner, &format!("{at}."), out);
        schema_keys(&inner["items"], &format!("{at}[]."), out);
        schema_keys(&inner["additionalProperties"], &format!("{at}.*."), out);
        out.insert(at);
    }
}

fn document_keys(value: &Value, at: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (name, inner) in entries {
                // The names of hosts are the user's own.
                let name = if at == "hosts." { "*" } else { name };
                let at = format!("{at}{name}");
                document_keys(inner, &format!("{at}."), out);
                out.insert(at);
            }
        }
        Value::Array(items) => {
            let at = format!("{}[].", at.trim_end_matches('.'));
            for item in items {
                document_keys(item, &at, out);
            }
        }
        _ => {}
    }
}

#[test]
fn the_example_has_every_key_of_the_schema_and_no_other() {
    let mut known = BTreeSet::new();
    schema_keys(&schema(), "", &mut known);
    assert!(known.contains("hosts.*.paths[].path") && known.contains("snapshots.schedules[].type"));
    let mut shown = BTreeSet::new();
    document_keys(&document(&with_everything(EXAMPLE)), "", &mut shown);
    shown.remove("hosts.*");
    // What the example shows at one level need not be shown again at the next.
    let own_names = |keys: &BTreeSet<String>| -> BTreeSet<String> {
        keys.iter().map(|key| key.rsplit('.').next().unwrap().to_owned()).collect()
    };
    assert_eq!(shown.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(own_names(&shown), own_names(&known));
}

#[test]
fn the_schema_knows_the_keys_that_the_reader_knows() {
    let schema = schema();
    let host = &schema["properties"]["hosts"]["additionalProperties"];
    let blocks = [
        ("zzzzzzzzzzzzzzzzzzzz: 1\nhosts: {h: {paths: [{path: /a}]}}", &schema),
        (
            "config: {zzzzzzzzzzzzzzzzzzzz: 1}\nhosts: {h: {paths: [{path: /a}]}}",
            &schema["properties"]["config"],
        ),
        ("hosts: {h: {zzzzzzzzzzzzzzzzzzzz: 1, paths: [{path: /a}]}}", host),
        ("hosts: {h: {paths: [{path: /a, zzzzzzzzzzzzzzzzzzzz: 1}]}}", &host["properties"]["paths"]["items"]),
        (
            "hosts: {h: {paths: [{path: /a}]}}\nsnapshots: {volume: /v, zzzzzzzzzzzzzzzzzzzz: 1}",
            &schema["properties"]["snapshots"],
        ),
        (
            "hosts: {h: {paths: [{path: /a}]}}\nsnapshots: {volume: /v, schedules: [{type: a, interval: 1, zzzzzzzzzzzzzzzzzzzz: 1}]}",
            &schema["properties"]["snapshots"]["properties"]["schedules"]["items"],
        ),
    ];
    for (text, block) in blocks {
        let problems = Config::parse(text).expect_err("an unknown key");
        let message = &problems.errors[0].message;
        let known: BTreeSet<&str> =
            message.split_once("known here: ").expect(message).1.split(", ").collect();
        let in_schema: BTreeSet<&str> =
            block["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(in_schema, known, "{text}");
    }
}

/// Writes each default of a block out, as the user would.
fn defaults(block: &Value) -> Map<String, Value> {
    let properties = block["properties"].as_object().unwrap();
    properties.iter().filter_map(|(key, spec)| Some((key.clone(), spec.get("default")?.clone()))).collect()
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_program() {
    let schema = schema();
    let host_block = &schema["properties"]["hosts"]["additionalProperties"];
    let mut global = defaults(&schema["properties"]["config"]);
    let mut host = defaults(host_block);
    let mut path = defaults(&host_block["properties"]["paths"]["items"]);
    let mut snapshots = defaults(&schema["properties"]["snapshots"]);
    assert!(global.len() > 8 && host.len() > 4 && path.len() > 2 && snapshots.len() == 2);
    // The options of all three levels add up.
    host.remove("rsync_options");
    path.remove("rsync_options");
    path.insert("path".to_owned(), "/a".into());
    host.insert("paths".to_owned(), Value::Array(vec![path.into()]));
    snapshots.insert("volume".to_owned(), "/v".into());
    // Set by the volume.
    global.insert("require_mount".to_owned(), true.into());
    let written = serde_json::json!({ "config": global, "hosts": { "h": host }, "snapshots": snapshots });
    let whole = |text: &str| effective(&Config::parse(text).unwrap().config).to_yaml();
    assert_eq!(
        whole(&written.to_string()),
        whole("{hosts: {h: {paths: [{path: /a}]}}, snapshots: {volume: /v}}")
    );
}

/// Everything that a checked configuration holds, but for the lines.
fn content(text: &str) -> String {
    let mut config = Config::parse(text).unwrap_or_else(|problems| panic!("{problems:#?}: {text}")).config;
    config.hosts.iter_mut().flat_map(|host| &mut host.paths).for_each(|job| job.line = 0);
    format!("{config:#?}")
}

#[test]
fn the_effective_configuration_is_read_back_as_the_same() {
    let everything = with_everything(EXAMPLE);
    for text in ACCEPTED.iter().copied().chain([everything.as_str()]) {
        let part = effective(&Config::parse(text).unwrap().config);
        let (yaml, json) = (part.to_yaml(), serde_json::to_string_pretty(&part).unwrap());
        let expected = content(text);
        assert_eq!(content(&yaml), expected, "{yaml}");
        assert_eq!(content(&json), expected, "{json}");
    }
}

#[test]
fn the_effective_configuration_is_as_recorded() {
    let found = effective(&Config::parse(OLDER).unwrap().config).to_yaml();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configs/older.effective.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(golden).unwrap());
}
