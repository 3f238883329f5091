//! What `--verify-hosts` shows: a line for each host, then what was seen of those that are not whole.

use std::fmt::Write;

use backup_common::reason::Reason;
use backup_common::units;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::checks::Finding;
use crate::report::paint;

/// Renders all findings in their order.
pub fn render(findings: &[Finding], colours: bool) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["host", "state", "reason", "what"]);
    for finding in findings {
        table.add_row([finding.host.as_str(), finding.status.name(), finding.reason.name(), &what(finding)]);
    }
    let mut out = String::new();
    // No cell holds a line break, so that each row is one line, behind that of the header.
    let statuses = std::iter::once(None).chain(findings.iter().map(|finding| Some(finding.status)));
    for (line, status) in table.lines().zip(statuses) {
        let _ = writeln!(out, "{}", paint(status.filter(|_| colours), line.trim_end()));
    }
    for finding in findings {
        out.push_str(&details(finding));
    }
    out
}

/// The line of one host, for a check that was made again.
pub fn line(finding: &Finding) -> String {
    format!("{}  {}  {}  {}", finding.host, finding.status.name(), finding.reason.name(), what(finding))
}

fn what(finding: &Finding) -> String {
    if finding.reason != Reason::Ok {
        let path = finding.paths.iter().find(|(_, found)| found.reason == finding.reason);
        let place = path.map_or(finding.place.as_str(), |(path, _)| path);
        return format!("{place}: {} {}", finding.reason.cause(), finding.reason.remedy());
    }
    let rsync = finding.rsync.map_or_else(|| "rsync".to_owned(), |version| format!("rsync {version}"));
    let paths = units::counted(finding.paths.len().try_into().unwrap_or(u64::MAX), "path");
    let key = match finding.restricted {
        Some(true) => ", restricted key",
        Some(false) => ", the key runs any command",
        None => "",
    };
    format!("{}, {rsync}, {paths} readable{key}", finding.place)
}

/// Messages, other paths and notes, indented below the host's name; nothing where there are none.
pub fn details(finding: &Finding) -> String {
    let mut lines: Vec<String> = finding.messages.clone();
    for (path, found) in finding.paths.iter().filter(|(_, found)| found.reason != Reason::Ok) {
        lines.push(format!("{path}: {} ({})", found.reason.cause(), found.reason));
        lines.extend(found.messages.iter().map(|message| format!("    {message}")));
    }
    lines.extend(finding.notes.iter().map(|note| format!("note: {note}")));
    if lines.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}:\n", finding.host);
    for line in lines {
        let _ = writeln!(out, "    {line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use backup_common::status::Status;

    use super::super::Obstacle;
    use super::*;
    use crate::rsync::version::Version;

    fn finding(host: &str, status: Status, reason: Reason) -> Finding {
        Finding {
            host: host.to_owned(),
            place: format!("backup@{host}:22"),
            status,
            reason,
            messages: Vec::new(),
            notes: Vec::new(),
            rsync: Some(Version(3, 2, 7)),
            restricted: None,
            paths: vec![("/etc".to_owned(), Obstacle { reason, messages: vec!["seen".to_owned()] })],
        }
    }

    #[test]
    fn each_host_has_one_line() {
        let findings = [
            finding("web", Status::Success, Reason::Ok),
            finding("database", Status::Failed, Reason::SourceMissing),
        ];
        let text = render(&findings, false);
        assert_eq!(
            text,
            " host      state    reason          what\n \
             web       success  ok              backup@web:22, rsync 3.2.7, 1 path readable\n \
             database  failed   source_missing  /etc: The source directory is not there. Check path in the config, and that the file system it is on is mounted.\n\n\
             database:\n    /etc: The source directory is not there. (source_missing)\n        seen\n"
        );
        assert!(!text.contains('\u{1b}') && render(&findings, true).contains("\u{1b}[31m"));
    }
}
