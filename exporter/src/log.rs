//! Messages on standard error: one line each, `logfmt` or JSON.
//!
//! No time is written: systemd's journal and every container runtime put their own before it.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::LogFormat;

/// Sends the messages of the program to standard error from now on.
pub fn start(level: Level, format: LogFormat) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .event_format(Lines(format))
        .init();
}

struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        match self.0 {
            LogFormat::Logfmt => writeln!(out, "{}", logfmt(&level, &fields.0)),
            LogFormat::Json => writeln!(out, "{}", json(&level, fields.0)),
        }
    }
}

/// Name and value of each field, the message as `msg`.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.push((name, value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn logfmt(level: &str, fields: &[(&str, String)]) -> String {
    let mut line = format!("level={level}");
    for (name, value) in fields {
        let bare = !value.is_empty()
            && value.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\'));
        // Debug of a text quotes it and escapes control characters.
        let _ = if bare { write!(line, " {name}={value}") } else { write!(line, " {name}={value:?}") };
    }
    line
}

fn json(level: &str, fields: Vec<(&str, String)>) -> Value {
    let level = [("level".to_owned(), Value::from(level))];
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::Object(level.into_iter().chain(fields).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_not_forge_a_line() {
        let fields =
            vec![("msg", "a message".to_owned()), ("path", "/x\nlevel=error \u{1b}[2J\"".to_owned())];
        assert_eq!(
            logfmt("info", &fields),
            r#"level=info msg="a message" path="/x\nlevel=error \u{1b}[2J\"""#
        );
        assert_eq!(json("info", fields).to_string().lines().count(), 1);
        assert_eq!(logfmt("warn", &[("port", "80".to_owned())]), "level=warn port=80");
    }
}
