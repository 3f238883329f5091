//! Flux: the question, and the records as samples; pure.

use influxdb2::api::query::FluxRecord;
use influxdb2_structmap::value::Value;
use jiff::Timestamp;

use super::samples::{Sample, Scalar, WANTED};

/// The question about the last hours. The bucket comes from the configuration and is quoted.
pub fn question(bucket: &str, hours: u32) -> String {
    let measurements: Vec<_> =
        WANTED.iter().map(|(name, _)| format!("r._measurement == \"{name}\"")).collect();
    format!(
        "from(bucket: \"{}\") |> range(start: -{hours}h) |> filter(fn: (r) => {})",
        quoted(bucket),
        measurements.join(" or ")
    )
}

/// The inside of a string literal, by the Flux specification: `\"`, `\\`, and `\${` against interpolation.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${")
}

/// A record as a sample, if it is one of the fields that are wanted.
pub fn sample(record: &FluxRecord) -> Option<Sample> {
    let text = |name: &str| match record.values.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let field = text("_field")?;
    let measurement = text("_measurement")?;
    let (_, fields) = WANTED.iter().find(|(name, _)| *name == measurement)?;
    if !fields.contains(&field.as_str()) {
        return None;
    }
    let time = match record.values.get("_time")? {
        Value::TimeRFC(time) => Timestamp::from_nanosecond(time.timestamp_nanos_opt()?.into()).ok()?,
        _ => return None,
    };
    let value = match record.values.get("_value")? {
        Value::Double(number) => Scalar::Number(number.0),
        Value::Long(number) => Scalar::Number(*number as f64),
        Value::String(text) => Scalar::Text(text.clone()),
        _ => return None,
    };
    Some(Sample {
        measurement,
        host: text("host").unwrap_or_default(),
        path: text("path").unwrap_or_default(),
        time,
        field,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_can_not_leave_its_quotes() {
        let question = question("a\") |> drop() ${x} \\", 48);
        assert!(
            question
                .starts_with(r#"from(bucket: "a\") |> drop() \${x} \\") |> range(start: -48h) |> filter"#),
            "{question}"
        );
    }
}
