//! What a script is told, and how it gets there.

use std::collections::BTreeMap;

use backup_common::reason::Reason;
use backup_common::status::Status;

/// The variables of one script.
pub type Variables = BTreeMap<&'static str, String>;

/// The variables that every script sees; those that make no sense for it are empty.
///
/// `end` is how it went, for a script that runs afterwards.
pub fn variables(
    run_id: &str,
    host: &str,
    path: &str,
    destination: &str,
    end: Option<(Status, Reason)>,
) -> Variables {
    let (status, reason) = end.map_or(("", ""), |(status, reason)| (status.name(), reason.name()));
    [
        ("BACKUP_HOST", host),
        ("BACKUP_PATH", path),
        ("BACKUP_DEST", destination),
        ("BACKUP_RUN_ID", run_id),
        ("BACKUP_STATUS", status),
        ("BACKUP_REASON", reason),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// The variables as a shell reads them, to stand before the first line of a script on another host.
///
/// They end without a newline, so that the line numbers in the shell's messages are those of the file.
pub fn assignments(variables: &Variables) -> String {
    let mut out = String::from("export");
    for (name, value) in variables {
        for piece in [" ", name, "=", &quoted(value)] {
            out.push_str(piece);
        }
    }
    out + "; "
}

/// Between single quotes nothing is special to a shell but the single quote itself (POSIX, 2.2.2).
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_script_before_knows_no_end() {
        let before = variables("r", "h", "/p", "/b/h/p", None);
        assert_eq!((before["BACKUP_STATUS"].as_str(), before["BACKUP_DEST"].as_str()), ("", "/b/h/p"));
        let after = variables("r", "h", "/p", "/b/h/p", Some((Status::Failed, Reason::Timeout)));
        assert_eq!((after["BACKUP_STATUS"].as_str(), after["BACKUP_REASON"].as_str()), ("failed", "timeout"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_real_shell_reads_every_value_as_it_is(value in "[ -~\n]{0,40}|[^\0]{0,10}|'*\"*\\\\*\\$\\(id\\)`id`") {
            let variables = Variables::from([("BACKUP_PATH", value.clone())]);
            let script = assignments(&variables) + "printf %s \"$BACKUP_PATH\"";
            let output = Command::new("bash").arg("-c").arg(script).output().expect("bash runs");
            prop_assert_eq!(output.stdout, value.as_bytes());
        }
    }
}
