//! The keys of `backup.yaml` as a JSON Schema (draft 2020-12), for editors.
//!
//! The schema knows what can be told from a value alone: names, types, ranges, forms. What needs the whole
//! file (destinations inside of each other, options that are refused) is told by `--check-config`.

use serde_json::{Map, Value, json};

use crate::config_file::{
    GlobalBlock, HostBlock, PathBlock, ScheduleBlock, ScriptKeys, SharedKeys, SnapshotsBlock,
};
use crate::config_keys::{KeySpec, Kind, Level};

/// A text, as [`crate::yaml_table`] takes it: a number or a boolean as written.
const SCALAR: [&str; 4] = ["string", "number", "boolean", "null"];

/// The whole schema.
pub fn schema() -> Value {
    let schedule = block("One kind of snapshot.", &[ScheduleBlock::KEYS], Level::Own, []);
    let snapshots = block(
        "Read-only btrfs snapshots of the volume.",
        &[SnapshotsBlock::KEYS],
        Level::Own,
        [("schedules", list("The kinds of snapshots.", &schedule, 0))],
    );
    let path = block(
        "A directory that is backed up.",
        &[PathBlock::KEYS, SharedKeys::KEYS, ScriptKeys::KEYS],
        Level::Path,
        [],
    );
    let mut host = block(
        "A host: its name is its directory below backup_base and its label in the metrics.",
        &[HostBlock::KEYS, SharedKeys::KEYS, ScriptKeys::KEYS],
        Level::Host,
        [("paths", list("What is backed up, one after the other.", &path, 1))],
    );
    host["required"] = json!(["paths"]);
    host["type"] = json!("object");
    let hosts = json!({
        "description": "The hosts, each under the name of your choice.",
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "pattern": r"^[\p{L}\p{N}_][\p{L}\p{N}._-]*$", "maxLength": 255 },
        "additionalProperties": host,
    });
    let global =
        block("What holds for all hosts.", &[GlobalBlock::KEYS, SharedKeys::KEYS], Level::Global, []);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "backup.yaml",
        "description": "Configuration of backup-runner and backup-exporter.",
        "type": "object",
        "properties": { "config": global, "hosts": hosts, "snapshots": snapshots },
        "required": ["hosts"],
        "additionalProperties": false,
    })
}

/// A block with these keys and these inner blocks, and no others. An empty block (`config:`) is null.
fn block<const N: usize>(
    about: &str,
    tables: &[&[KeySpec]],
    level: Level,
    inner: [(&str, Value); N],
) -> Value {
    let known = || tables.iter().copied().flatten().filter(|spec| spec.is_known_at(level));
    let mut properties: Map<String, Value> =
        known().map(|spec| (spec.name.to_owned(), property(spec))).collect();
    properties.extend(inner.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let required: Vec<_> = known().filter(|spec| spec.required).map(|spec| spec.name).collect();
    let mut out = json!({
        "description": about,
        "type": if required.is_empty() { json!(["object", "null"]) } else { json!("object") },
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

fn list(about: &str, items: &Value, least: u64) -> Value {
    let mut out = json!({ "description": about, "type": ["array", "null"], "items": items });
    if least > 0 {
        out["type"] = json!("array");
        out["minItems"] = json!(least);
    }
    out
}

fn property(spec: &KeySpec) -> Value {
    let mut out = shape(spec);
    if spec.required {
        forbid_null(&mut out);
    }
    let about: Vec<&str> = spec.about.iter().map(|line| line.trim()).collect();
    out["description"] = json!(about.join(" "));
    if let Some(default) = spec.default {
        out["default"] = written(spec.kind, default);
    }
    out
}

fn shape(spec: &KeySpec) -> Value {
    match spec.kind {
        Kind::Text if !spec.choices.is_empty() => {
            let choices: Vec<Value> =
                spec.choices.iter().map(|choice| json!(choice)).chain([Value::Null]).collect();
            json!({ "enum": choices })
        }
        Kind::Text => {
            let mut out = json!({ "type": SCALAR });
            if let Some(pattern) = spec.pattern {
                out["pattern"] = json!(pattern);
                // A number or a boolean never has the form of a path or a name with a slash.
                if pattern.contains('/') && !pattern.contains("[^/") {
                    out["type"] = json!(["string", "null"]);
                }
            }
            out
        }
        Kind::Number => {
            let mut out = json!({ "type": ["integer", "string", "null"], "minimum": spec.range.0, "pattern": r"^\s*\+?[0-9]+\s*$" });
            if spec.range.1 != u64::MAX {
                out["maximum"] = json!(spec.range.1);
            }
            out
        }
        Kind::Boolean => json!({
            "type": ["boolean", "string", "null"],
            "pattern": r"^\s*([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff])\s*$",
        }),
        Kind::Duration => json!({
            "type": ["number", "string", "null"],
            "minimum": 0,
            "maximum": 3_200_000_000_u64,
            "pattern": r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(s|sec|seconds|m|min|minutes|h|hours|d|days)?\s*$",
            "examples": ["90", "10 min", "2 h", "1 d"],
        }),
        Kind::Amount => json!({
            "type": ["integer", "string", "null"],
            "minimum": 0,
            "pattern": r"^\s*([0-9]+\s*([kKMGT]?(iB)*B*)|0*(100|[0-9]{1,2})\s*%)\s*$",
            "examples": ["5368709120", "5 GiB", "5%"],
        }),
        Kind::Texts => json!({
            "type": ["array", "string", "number", "boolean", "null"],
            "items": { "type": SCALAR },
        }),
    }
}

fn forbid_null(out: &mut Value) {
    if let Some(types) = out.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
    }
}

/// A default as an editor would insert it.
fn written(kind: Kind, default: &str) -> Value {
    match kind {
        Kind::Number | Kind::Boolean | Kind::Duration | Kind::Amount => {
            serde_json::from_str(default).unwrap_or_else(|_| json!(default))
        }
        Kind::Text | Kind::Texts => json!(default),
    }
}
