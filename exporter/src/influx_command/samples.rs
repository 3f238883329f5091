//! What a query gave, put together as runs and paths; pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

/// One value of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The measurement.
    pub measurement: String,
    /// The tag `host`, if there is one.
    pub host: String,
    /// The tag `path`, if there is one.
    pub path: String,
    /// When.
    pub time: Timestamp,
    /// Name of the field.
    pub field: String,
    /// Its value.
    pub value: Scalar,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// The measurements and fields that are asked for.
pub const WANTED: [(&str, &[&str]); 3] = [
    (
        "backup_run",
        &[
            "status",
            "reason",
            "duration_seconds",
            "paths_success",
            "paths_warning",
            "paths_failed",
            "refused",
        ],
    ),
    ("backup_path", &["status", "reason", "error_count", "duration_seconds", "transferred_size_bytes"]),
    ("backup_size", &["total_size_bytes"]),
];

/// The fields of one point.
pub type Fields = BTreeMap<String, Scalar>;

/// What the database holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Runs by time.
    pub runs: BTreeMap<Timestamp, Fields>,
    /// Paths by host and path.
    pub paths: BTreeMap<(String, String), PathHeld>,
}

/// What is held of a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathHeld {
    /// Every end of it, by time.
    pub ends: BTreeMap<Timestamp, Fields>,
    /// The stored size, by time.
    pub sizes: BTreeMap<Timestamp, f64>,
}

impl Held {
    /// Puts samples together; with a host only what is about it.
    pub fn collect(samples: impl IntoIterator<Item = Sample>, host: Option<&str>) -> Self {
        let mut held = Self::default();
        for Sample { measurement, host: of, path, time, field, value } in samples {
            match measurement.as_str() {
                "backup_run" => {
                    held.runs.entry(time).or_default().insert(field, value);
                }
                "backup_path" | "backup_size" if host.is_some_and(|wanted| wanted != of) => {}
                "backup_path" => {
                    let ends = &mut held.paths.entry((of, path)).or_default().ends;
                    ends.entry(time).or_default().insert(field, value);
                }
                "backup_size" => {
                    if let Scalar::Number(bytes) = value {
                        held.paths.entry((of, path)).or_default().sizes.insert(time, bytes);
                    }
                }
                _ => {}
            }
        }
        held
    }

    /// `{"hours", "runs": [{"time", FIELD: value}], "paths": [{"host", "path", "total_size_bytes", "ends": […]}]}`
    pub fn to_json(&self, hours: u32) -> Value {
        let point = |time: &Timestamp, fields: &Fields| {
            let mut object = json!({"time": time.to_string()});
            for (name, value) in fields {
                object[name] = match value {
                    Scalar::Number(number) => json!(number),
                    Scalar::Text(text) => json!(text),
                };
            }
            object
        };
        let points = |points: &BTreeMap<_, _>| {
            points.iter().map(|(time, fields)| point(time, fields)).collect::<Vec<_>>()
        };
        let paths: Vec<_> = self
            .paths
            .iter()
            .map(|((host, path), held)| {
                let size = held.sizes.values().next_back();
                json!({"host": host, "path": path, "total_size_bytes": size, "ends": points(&held.ends)})
            })
            .collect();
        json!({"hours": hours, "runs": points(&self.runs), "paths": paths})
    }
}

/// A number among the fields.
pub fn number(fields: &Fields, name: &str) -> Option<f64> {
    match fields.get(name)? {
        Scalar::Number(number) => Some(*number),
        Scalar::Text(_) => None,
    }
}

/// A text among the fields, cleaned: what is in a database can come from anywhere.
pub fn text(fields: &Fields, name: &str) -> Option<String> {
    match fields.get(name)? {
        Scalar::Text(text) => Some(backup_common::text::clean(text, 80)),
        Scalar::Number(_) => None,
    }
}
