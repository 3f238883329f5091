//! `InfluxQL`: the questions, and the answers as samples; pure.

use jiff::Timestamp;
use serde_json::Value;

use super::samples::{Sample, Scalar, WANTED};
use crate::push::client::Answer;

/// The questions about the last hours, with the measurement that each is about.
///
/// Names are constants of this program and the hours are a number, so no text of a user is in them.
pub fn questions(hours: u32) -> impl Iterator<Item = (&'static str, String)> {
    WANTED.into_iter().map(move |(measurement, fields)| {
        let tags = if measurement == "backup_run" { "" } else { r#""host", "path", "# };
        let fields: Vec<_> = fields.iter().map(|field| format!("\"{field}\"")).collect();
        (
            measurement,
            format!(
                "SELECT {tags}{} FROM \"{measurement}\" WHERE time > now() - {hours}h",
                fields.join(", ")
            ),
        )
    })
}

/// What the server complains about; it does so with status 200 as well.
pub fn error(answer: &Answer) -> Option<String> {
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let told = json
        .as_ref()
        .and_then(|json| json["error"].as_str().or_else(|| json["results"][0]["error"].as_str()));
    match told {
        Some(error) => Some(backup_common::text::clean(error, 200)),
        None if (200..300).contains(&answer.status) && json.is_some() => None,
        None => Some(format!("{}: {}", answer.status, answer.message())),
    }
}

/// The first column of an answer.
pub fn first_column(body: &[u8]) -> impl Iterator<Item = String> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let rows = json["results"][0]["series"][0]["values"].as_array().cloned().unwrap_or_default();
    rows.into_iter().filter_map(|row| row[0].as_str().map(str::to_owned))
}

/// The samples of an answer; what has another form is passed over.
pub fn samples(measurement: &str, body: &[u8]) -> Vec<Sample> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut samples = Vec::new();
    for series in json["results"][0]["series"].as_array().into_iter().flatten() {
        let names: Vec<_> = series["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap_or_default())
            .collect();
        for row in series["values"].as_array().into_iter().flatten() {
            row_samples(measurement, &names, row, &mut samples);
        }
    }
    samples
}

fn row_samples(measurement: &str, names: &[&str], row: &Value, samples: &mut Vec<Sample>) {
    let cells = || names.iter().copied().zip(row.as_array().into_iter().flatten());
    let cell = |wanted: &str| cells().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let tag = |name: &str| cell(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(time) = cell("time").and_then(time) else { return };
    for (name, value) in cells().filter(|(name, _)| !matches!(*name, "time" | "host" | "path")) {
        let value = match value {
            Value::Number(number) => number.as_f64().map(Scalar::Number),
            Value::String(text) => Some(Scalar::Text(text.clone())),
            _ => None,
        };
        let Some(value) = value else { continue };
        samples.push(Sample {
            measurement: measurement.to_owned(),
            host: tag("host"),
            path: tag("path"),
            time,
            field: name.to_owned(),
            value,
        });
    }
}

/// Nanoseconds as asked for with `epoch=ns`, or a text, which 3.x gives.
fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => Timestamp::from_nanosecond(number.as_i64()?.into()).ok(),
        Value::String(text) => text.parse().or_else(|_| format!("{text}Z").parse()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_samples() {
        let body = br#"{"results":[{"statement_id":0,"series":[{"name":"backup_path",
            "columns":["time","host","path","status","error_count"],
            "values":[[1767323045500000000,"h","/p","failed",2],["2026-01-02T03:04:06","h","/p",null,0.5],["x","h","/p","a",1]]}]}]}"#;
        let found = samples("backup_path", body);
        let short: Vec<_> =
            found.iter().map(|one| (one.time.to_string(), one.field.as_str(), &one.value)).collect();
        assert_eq!(
            short,
            [
                ("2026-01-02T03:04:05.5Z".to_owned(), "status", &Scalar::Text("failed".to_owned())),
                ("2026-01-02T03:04:05.5Z".to_owned(), "error_count", &Scalar::Number(2.0)),
                ("2026-01-02T03:04:06Z".to_owned(), "error_count", &Scalar::Number(0.5)),
            ]
        );
        for rubbish in ["", "[]", "{\"results\":7}", "{\"results\":[{\"series\":[{\"values\":[1]}]}]}"] {
            assert!(samples("m", rubbish.as_bytes()).is_empty(), "{rubbish}");
        }
    }
}
