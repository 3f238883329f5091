//! Pure: what a reason means, and what to do.

use backup_common::reason::Reason;
use serde_json::{Value, json};

use super::text::Style;

/// One reason, or all of them.
pub fn text(reasons: &[Reason], style: Style) -> String {
    let one = |reason: &Reason| {
        let name = format!("{} ({})\n", reason.name(), reason.status());
        let cause = style.wrapped("    ", "    ", reason.cause());
        let remedy = style.wrapped("    -> ", "       ", reason.remedy());
        format!("{name}{cause}{remedy}")
    };
    reasons.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// The same for programs.
pub fn json(reasons: &[Reason]) -> Value {
    let one = |reason: &Reason| {
        json!({
            "name": reason.name(),
            "status": reason.status().name(),
            "cause": reason.cause(),
            "remedy": reason.remedy(),
        })
    };
    reasons.iter().map(one).collect()
}

/// The reason of a name.
///
/// # Errors
/// That there is none.
pub fn parse(name: &str) -> Result<Reason, String> {
    Reason::from_name(&name.replace('-', "_"))
        .ok_or_else(|| "no such reason; backup-metrics explain lists all of them".to_owned())
}
