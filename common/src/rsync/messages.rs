//! Reads what rsync and ssh print to standard error: kinds to count, hints for the reason, and the
//! first lines for people.
//!
//! A remote host can print whatever it likes here. So the text never decides *whether* something
//! failed; it only helps to say *why*.

use std::collections::BTreeSet;

use crate::error_kind::{ErrorCounts, ErrorKind};
use crate::reason::Reason;
use crate::text;

/// Messages that are kept.
const KEPT_MESSAGES: usize = 10;
/// Lines that are looked at; a host that prints more is not worth more.
const READ_LINES: u64 = 10_000;
/// Longest line that is looked at.
const LINE_BYTES: usize = 4096;

/// What was found in the lines so far.
#[derive(Debug, Default)]
pub struct Messages {
    line: Vec<u8>,
    lines: u64,
    /// Lines about something that is not in the backup.
    pub error_count: u64,
    /// Lines about something that a backup can live with.
    pub warning_count: u64,
    /// Both by kind.
    pub kinds: ErrorCounts,
    /// The first ones, cleaned.
    pub kept: Vec<String>,
    /// Reasons that the lines speak for.
    pub hints: BTreeSet<Reason>,
    /// An error that is about the source or the transfer as a whole, not about single files below it.
    pub whole_source: bool,
    /// How many deletions rsync has left out because of `--max-delete`, once it has said so.
    pub left_out: Option<u64>,
    /// That deletions are left out is intended, and no warning.
    pub leaves_out: bool,
}

/// What one line means.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    kind: ErrorKind,
    warning: bool,
    hint: Option<Reason>,
}

impl Messages {
    /// Takes a piece of standard error; `source` is the directory that is backed up.
    pub fn push(&mut self, bytes: &[u8], source: &str) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                self.end_line(source);
            } else if self.line.len() < LINE_BYTES {
                self.line.push(byte);
            }
        }
    }

    /// Takes what is left of a line without its end.
    pub fn finish(&mut self, source: &str) {
        self.end_line(source);
    }

    /// Adds an error that the runner itself has to report.
    pub fn add(&mut self, kind: ErrorKind, message: &str) {
        self.error_count += 1;
        self.whole_source = true;
        self.count(kind, message);
    }

    /// Adds what a script has to say, before all else, because something on the host may stand still.
    pub fn lead(&mut self, lines: &[String]) {
        self.error_count += 1;
        *self.kinds.entry(ErrorKind::Other).or_insert(0) += 1;
        self.kept.splice(0..0, lines.iter().map(|line| text::clean(line, text::MESSAGE_BYTES)));
        self.kept.truncate(KEPT_MESSAGES);
    }

    fn end_line(&mut self, source: &str) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if let Some(count) = deletions_left_out(&line) {
            // The last one counts: the local rsync says it at its end.
            self.left_out = Some(count);
            if self.leaves_out {
                return;
            }
        }
        if line.trim().is_empty() || self.lines >= READ_LINES {
            return;
        }
        self.lines += 1;
        let Some(meaning) = read_line(&line) else { return };
        self.hints.extend(meaning.hint);
        if meaning.warning {
            self.warning_count += 1;
        } else {
            self.error_count += 1;
            self.whole_source |= !names_single_file(&line, source);
        }
        self.count(meaning.kind, &line);
    }

    fn count(&mut self, kind: ErrorKind, line: &str) {
        *self.kinds.entry(kind).or_insert(0) += 1;
        if self.kept.len() < KEPT_MESSAGES {
            self.kept.push(text::clean(line.trim_end(), text::MESSAGE_BYTES));
        }
    }
}

/// Phrases of rsync and ssh, of their sources and of strerror(3), from the most telling to the least.
const PHRASES: &[(&str, ErrorKind, Option<Reason>)] = &[
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", ErrorKind::Connection, Some(Reason::HostKeyChanged)),
    ("host key is known for", ErrorKind::Connection, Some(Reason::HostKeyUnknown)),
    ("Host key verification failed", ErrorKind::Connection, Some(Reason::HostKeyUnknown)),
    ("Could not resolve hostname", ErrorKind::Connection, Some(Reason::NameNotFound)),
    // rsync shows the number of the error, ssh the methods that it tried.
    ("Permission denied (13)", ErrorKind::Permission, Some(Reason::PermissionDenied)),
    ("Permission denied (", ErrorKind::Connection, Some(Reason::AuthFailed)),
    ("Too many authentication failures", ErrorKind::Connection, Some(Reason::AuthFailed)),
    ("Connection refused", ErrorKind::Connection, Some(Reason::ConnectionRefused)),
    ("No route to host", ErrorKind::Connection, Some(Reason::Unreachable)),
    ("Network is unreachable", ErrorKind::Connection, Some(Reason::Unreachable)),
    ("Connection timed out", ErrorKind::Connection, Some(Reason::Unreachable)),
    ("Operation timed out", ErrorKind::Connection, Some(Reason::Unreachable)),
    ("timed out during banner exchange", ErrorKind::Connection, Some(Reason::Unreachable)),
    ("Timeout, server", ErrorKind::Connection, Some(Reason::ConnectionLost)),
    ("Connection reset by", ErrorKind::Connection, Some(Reason::ConnectionLost)),
    ("Connection closed by", ErrorKind::Connection, Some(Reason::ConnectionLost)),
    ("closed by remote host", ErrorKind::Connection, Some(Reason::ConnectionLost)),
    ("connection unexpectedly closed", ErrorKind::Connection, Some(Reason::ConnectionLost)),
    ("Broken pipe", ErrorKind::Connection, Some(Reason::ConnectionLost)),
    ("timeout in data send/receive", ErrorKind::Connection, Some(Reason::Timeout)),
    ("command not found", ErrorKind::Protocol, Some(Reason::RsyncMissing)),
    ("is your shell clean", ErrorKind::Protocol, Some(Reason::Protocol)),
    ("protocol version mismatch", ErrorKind::Protocol, Some(Reason::Protocol)),
    ("protocol incompatibility", ErrorKind::Protocol, Some(Reason::Protocol)),
    ("No space left on device", ErrorKind::Space, Some(Reason::NoSpace)),
    ("Disk quota exceeded", ErrorKind::Space, Some(Reason::NoSpace)),
    ("Read-only file system", ErrorKind::Io, Some(Reason::ReadOnly)),
    ("Input/output error", ErrorKind::Io, None),
    ("read errors mapping", ErrorKind::Io, None),
    ("Permission denied", ErrorKind::Permission, Some(Reason::PermissionDenied)),
    ("Operation not permitted", ErrorKind::Permission, Some(Reason::PermissionDenied)),
    ("change_dir", ErrorKind::Other, Some(Reason::SourceMissing)),
];

/// `None` for lines that only repeat what the exit code says, or are no error at all.
fn read_line(line: &str) -> Option<Meaning> {
    if line.starts_with("rsync error: ")
        || line.starts_with("rsync warning: ")
        || line.starts_with("Warning: Permanently added")
    {
        return None;
    }
    if line.contains("has vanished") {
        return Some(Meaning { kind: ErrorKind::Vanished, warning: true, hint: None });
    }
    // A consequence of other errors that are counted themselves.
    if line.contains("skipping file deletion") || line.contains("Deletions stopped due to --max-delete") {
        return Some(Meaning { kind: ErrorKind::Other, warning: true, hint: None });
    }
    // ssh frames its warning with lines of @ and explains it at length.
    if line.starts_with("@@@") {
        return None;
    }
    if is_shell_without_rsync(line) {
        return Some(Meaning { kind: ErrorKind::Protocol, warning: false, hint: Some(Reason::RsyncMissing) });
    }
    let found = PHRASES.iter().find(|(phrase, _, _)| line.contains(phrase));
    let (kind, hint) = found.map_or((ErrorKind::Other, None), |(_, kind, hint)| (*kind, *hint));
    let from_tool = line.starts_with("rsync: ") || line.starts_with("ssh: ");
    if found.is_none() && !from_tool {
        // A login banner, or the rest of an explanation: shown, and no error by itself.
        return Some(Meaning { kind: ErrorKind::Other, warning: true, hint: None });
    }
    Some(Meaning { kind, warning: false, hint })
}

/// The number in `Deletions stopped due to --max-delete limit (5 skipped)` (`main.c` of rsync 3.0 and later).
///
/// Directories that are not empty are not among them.
fn deletions_left_out(line: &str) -> Option<u64> {
    let rest = line.trim_end().strip_prefix("Deletions stopped due to --max-delete limit (")?;
    rest.strip_suffix(" skipped)")?.parse().ok()
}

/// Whether a message says nothing about something that is missing in the backup.
pub fn is_warning(message: &str) -> bool {
    read_line(message).is_none_or(|meaning| meaning.warning)
}

/// Whether a login shell complains that it can not start rsync: `bash: line 1: rsync: command not found`.
///
/// The exit code alone does not tell, because rsync may notice the broken pipe (12) before ssh's end (127).
fn is_shell_without_rsync(line: &str) -> bool {
    let from_shell = line.split_once(": ").is_some_and(|(name, _)| name.ends_with("sh"));
    from_shell && (line.ends_with("No such file or directory") || line.ends_with("not found"))
}

/// Whether rsync names one file or directory *below* the source, in quotes, as it does for what it left out.
fn names_single_file(line: &str, source: &str) -> bool {
    let Some(named) = line.strip_prefix("rsync: ").and_then(|line| line.split('"').nth(1)) else {
        return false;
    };
    let source = source.trim_end_matches('/');
    let named = named.trim_end_matches("/.").trim_end_matches('/');
    !line.contains("change_dir") && named != source && !named.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Messages {
        let mut messages = Messages::default();
        messages.push(text.as_bytes(), "/data");
        messages.finish("/data");
        messages
    }

    /// Captured from rsync 3.5.0 and OpenSSH 9.2.
    #[test]
    fn real_lines_give_their_reason() {
        for (line, kind, reason) in [
            (
                "ssh: connect to host 127.0.0.1 port 1: Connection refused",
                ErrorKind::Connection,
                Reason::ConnectionRefused,
            ),
            (
                "ssh: Could not resolve hostname x.invalid: Name or service not known",
                ErrorKind::Connection,
                Reason::NameNotFound,
            ),
            (
                "root@127.0.0.1: Permission denied (publickey,password).",
                ErrorKind::Connection,
                Reason::AuthFailed,
            ),
            (
                "No ED25519 host key is known for [127.0.0.1]:22 and you have requested strict checking.",
                ErrorKind::Connection,
                Reason::HostKeyUnknown,
            ),
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @",
                ErrorKind::Connection,
                Reason::HostKeyChanged,
            ),
            ("bash: line 1: rsync: command not found", ErrorKind::Protocol, Reason::RsyncMissing),
            (
                "rsync: [sender] change_dir \"/data\" failed: No such file or directory (2)",
                ErrorKind::Other,
                Reason::SourceMissing,
            ),
            (
                "rsync: [receiver] write failed on \"/b/x\": No space left on device (28)",
                ErrorKind::Space,
                Reason::NoSpace,
            ),
            (
                "rsync: [generator] recv_generator: mkdir \"/b/x\" failed: Read-only file system (30)",
                ErrorKind::Io,
                Reason::ReadOnly,
            ),
        ] {
            let messages = read(line);
            assert_eq!(messages.kinds.keys().copied().collect::<Vec<_>>(), [kind], "{line}");
            assert!(messages.hints.contains(&reason), "{line}: {:?}", messages.hints);
            assert_eq!((messages.error_count, messages.warning_count), (1, 0), "{line}");
        }
    }

    #[test]
    fn a_changed_host_key_is_not_an_unknown_one() {
        let messages = read(
            "@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@\nHost key verification failed.\n",
        );
        assert_eq!(messages.hints.first(), Some(&Reason::HostKeyChanged));
    }

    #[test]
    fn single_files_are_told_from_the_whole_source() {
        assert!(
            !read("rsync: [sender] send_files failed to open \"/data/x\": Permission denied (13)\n")
                .whole_source
        );
        assert!(
            !read("rsync: [sender] opendir \"/data/secret\" failed: Permission denied (13)\n").whole_source
        );
        assert!(read("rsync: [sender] opendir \"/data/.\" failed: Permission denied (13)\n").whole_source);
        assert!(read("rsync: [sender] change_dir \"/data\" failed: Permission denied (13)\n").whole_source);
        assert!(
            read("rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]\n").whole_source
        );
    }

    #[test]
    fn vanished_files_and_banners_are_warnings() {
        let messages = read(
            "file has vanished: \"/data/x\"\nWelcome to server1\nrsync warning: some files vanished (code 24)\n",
        );
        assert_eq!((messages.error_count, messages.warning_count), (0, 2));
        assert_eq!(messages.kinds[&ErrorKind::Vanished], 1);
    }

    /// Captured from rsync 3.5.0.
    #[test]
    fn deletions_that_were_left_out_are_counted() {
        const LINES: &str = "Deletions stopped due to --max-delete limit (5 skipped)\nrsync error: the --max-delete limit stopped deletions (code 25) at main.c(1394) [sender=3.5.0]\n";
        let messages = read(LINES);
        assert_eq!((messages.left_out, messages.warning_count, messages.kept.len()), (Some(5), 1, 1));
        let mut messages = Messages { leaves_out: true, ..Messages::default() };
        messages.push(LINES.as_bytes(), "/data");
        messages.finish("/data");
        assert_eq!((messages.left_out, messages.warning_count, messages.kept.len()), (Some(5), 0, 0));
        for line in ["Deletions stopped due to --max-delete limit (x skipped)", "say (5 skipped)"] {
            assert_eq!(read(line).left_out, None, "{line}");
        }
        let flood = "noise\n".repeat(20_000) + LINES;
        assert_eq!(read(&flood).left_out, Some(5), "whatever a host prints before");
    }

    #[test]
    fn a_forged_line_is_shown_harmlessly() {
        let messages = read("rsync error: fake (code 0)\nrsync: \u{1b}[2Jgone\n");
        assert_eq!(messages.kept, ["rsync: \\u1b[2Jgone"]);
    }

    proptest! {
        #[test]
        fn bounded_whatever_comes(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..500), 0..20)) {
            let mut messages = Messages::default();
            for chunk in &chunks {
                messages.push(chunk, "/data");
            }
            messages.finish("/data");
            prop_assert!(messages.kept.len() <= KEPT_MESSAGES);
            prop_assert!(messages.kept.iter().all(|line| line.len() <= text::MESSAGE_BYTES));
            prop_assert_eq!(messages.kinds.values().sum::<u64>(), messages.error_count + messages.warning_count);
        }
    }
}
