//! Pure: the lines of the older shell system, as the same records that the runner writes.
//!
//! ```text
//! RSYNC_STATS: host=H path=P bytes_sent=N bytes_received=N transfer_rate=N total_size=N speedup=N
//!   exit_code=N error_count=N warning_count=N permission_errors=N connection_errors=N timestamp=YYYY-MM-DD HH:MM:SS
//! RSYNC_ERRORS: host=H path=P messages="A; B" timestamp=YYYY-MM-DD HH:MM:SS
//! ```
//!
//! The first is one line in the log, unless it has a count of zero: the script counted with
//! `grep -c … || echo 0`, which prints 0 twice, so that the rest of the line stands on the next one.
//! Times are local. Figures that were not found are empty. Such a record has an empty run id, because
//! the older system had none; the file counts that it lacks are 0 in it and must not be shown.

use backup_common::error_kind::{ErrorCounts, ErrorKind};
use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, Record, TransferStats};
use backup_common::rsync::{exit, messages::Messages};
use backup_common::text;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const STATS: &str = "RSYNC_STATS: ";
const ERRORS: &str = "RSYNC_ERRORS: ";
/// The keys after the path, in their order; a path may hold spaces and equal signs.
const KEYS: [&str; 11] = [
    "bytes_sent",
    "bytes_received",
    "transfer_rate",
    "total_size",
    "speedup",
    "exit_code",
    "error_count",
    "warning_count",
    "permission_errors",
    "connection_errors",
    "timestamp",
];
/// Longest record that is put together, in bytes.
const RECORD_BYTES: usize = 16 * 1024;
/// Messages that are taken over.
const MESSAGES: usize = 10;

/// What a line was.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// None of the older system's lines.
    Foreign,
    /// A line that is kept until the record is whole.
    Held,
    /// A line that belongs to the older system and can not be read.
    Malformed,
}

/// Puts records together from lines.
#[derive(Debug)]
pub struct OlderLines {
    /// Asked for only when there is such a line: to find it, the whole database of time zones is looked through.
    zone: fn() -> TimeZone,
    /// A record that lacks its end.
    open: String,
    /// A whole record, which a line with messages may follow.
    whole: Option<Box<PathFinished>>,
}

impl OlderLines {
    /// Will read local times by this zone.
    pub fn new(zone: fn() -> TimeZone) -> Self {
        Self { zone, open: String::new(), whole: None }
    }

    /// Whether a line can begin a record.
    pub fn may_begin(line: &[u8]) -> bool {
        [STATS, ERRORS].iter().any(|mark| line.starts_with(mark.as_bytes()))
    }

    /// Whether something is held, so that the next line matters whatever it is.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty() || self.whole.is_some()
    }

    /// Takes a line; a record that is complete now goes to `found`.
    pub fn push(&mut self, line: &str, mut found: impl FnMut(Record)) -> Found {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix(STATS) {
            self.flush(&mut found);
            let torn = !self.open.is_empty();
            rest.clone_into(&mut self.open);
            let read = self.close();
            return if torn { Found::Malformed } else { read };
        }
        if let Some(rest) = line.strip_prefix(ERRORS) {
            let known = self.add_messages(rest);
            self.flush(&mut found);
            return if known { Found::Held } else { Found::Malformed };
        }
        if !self.open.is_empty() && is_rest(line) && self.open.len() + line.len() < RECORD_BYTES {
            // The second 0 stands at the beginning of the line, in place of a value.
            self.open.push_str(line.strip_prefix('0').unwrap_or_default());
            return self.close();
        }
        self.flush(&mut found);
        Found::Foreign
    }

    /// Hands over a whole record for which no messages came.
    pub fn flush(&mut self, mut found: impl FnMut(Record)) {
        if let Some(finished) = self.whole.take() {
            let record =
                Record { time: finished.started, run_id: String::new(), body: Body::PathFinished(finished) };
            found(record);
        }
    }

    /// Whatever comes now is none of the record that lacks its end; says whether there was one.
    pub fn interrupt(&mut self) -> bool {
        !std::mem::take(&mut self.open).is_empty()
    }

    fn close(&mut self) -> Found {
        if !self.open.contains(" timestamp=") {
            return Found::Held;
        }
        let line = std::mem::take(&mut self.open);
        self.whole = parse_stats(&line, &(self.zone)()).map(Box::new);
        if self.whole.is_some() { Found::Held } else { Found::Malformed }
    }

    /// Adds messages to the record before; says whether they belong to it.
    fn add_messages(&mut self, rest: &str) -> bool {
        let Some(finished) = &mut self.whole else { return false };
        let place = format!("host={} path={} messages=\"", finished.host, finished.path);
        let Some(text) = rest.strip_prefix(&place) else { return false };
        let text = text.rsplit_once("\" timestamp=").map_or(text, |(text, _)| text);
        let lines: Vec<&str> = text.split(';').map(str::trim).filter(|line| !line.is_empty()).collect();
        finished.reason = reason(finished.exit_code, finished.stats.as_ref(), &lines, &finished.path);
        finished.status = finished.reason.status();
        finished.messages =
            lines.iter().take(MESSAGES).map(|line| text::clean(line, text::MESSAGE_BYTES)).collect();
        true
    }
}

/// Whether a line is what `0` and a newline too many have cut off.
fn is_rest(line: &str) -> bool {
    let keys = ["warning_count=", "permission_errors=", "connection_errors=", "timestamp="];
    line.strip_prefix("0 ").is_some_and(|rest| keys.iter().any(|key| rest.starts_with(key)))
}

fn parse_stats(line: &str, zone: &TimeZone) -> Option<PathFinished> {
    let rest = line.strip_prefix("host=")?;
    let (host, mut rest) = rest.split_once(" path=")?;
    let mut values = [""; KEYS.len()];
    let mut path = "";
    for (index, key) in KEYS.iter().enumerate() {
        // The first key from the right, so that a path that looks like one stays whole.
        let mark = format!(" {key}=");
        let position = if index == 0 { rest.rfind(&mark)? } else { rest.find(&mark)? };
        let value = &rest[..position];
        if index == 0 {
            path = value;
        } else {
            values[index - 1] = value.trim();
        }
        rest = &rest[position + mark.len()..];
    }
    values[KEYS.len() - 1] = rest.trim();
    let [sent, received, rate, size, speedup, code, errors, warnings, permission, connection, time] = values;
    if host.is_empty() || path.is_empty() || host.contains(['\n', ' ']) {
        return None;
    }
    let exit_code: i32 = code.parse().ok().filter(|code| (0..=255).contains(code))?;
    let time = local(time, zone)?;
    let stats = stats(sent, received, rate, size, speedup);
    let reason = reason(Some(exit_code), stats.as_ref(), &[], path);
    let errors_by_kind = [(ErrorKind::Permission, permission), (ErrorKind::Connection, connection)]
        .map(|(k, n)| (k, count(n)));
    Some(PathFinished {
        host: host.to_owned(),
        path: path.to_owned(),
        dest: String::new(),
        status: reason.status(),
        reason,
        exit_code: Some(exit_code),
        signal: None,
        attempts: 1,
        started: time,
        duration_seconds: 0.0,
        stats,
        error_count: count(errors),
        warning_count: count(warnings),
        errors: errors_by_kind.into_iter().filter(|(_, count)| *count > 0).collect::<ErrorCounts>(),
        messages: Vec::new(),
    })
}

/// The reason by the rules for rsync's exit codes; a source whose size is known was listed.
fn reason(code: Option<i32>, stats: Option<&TransferStats>, lines: &[&str], path: &str) -> Reason {
    let mut messages = Messages::default();
    for line in lines {
        messages.push(line.as_bytes(), path);
        messages.push(b"\n", path);
    }
    let listed = stats.is_some_and(|stats| stats.source_size_bytes > 0);
    let stats = listed.then_some(TransferStats { files: 2, ..TransferStats::default() });
    exit::reason(code.unwrap_or(255), stats.as_ref(), &messages)
}

/// The figures, if rsync came to its end.
fn stats(sent: &str, received: &str, rate: &str, size: &str, speedup: &str) -> Option<TransferStats> {
    Some(TransferStats {
        sent_bytes: sent.parse().ok()?,
        received_bytes: received.parse().ok()?,
        source_size_bytes: size.parse().ok()?,
        transfer_rate_bytes_per_second: measure(rate),
        speedup_ratio: measure(speedup),
        ..TransferStats::default()
    })
}

fn measure(text: &str) -> f64 {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0).unwrap_or(0.0)
}

fn count(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// A local time; the earlier one where the clock shows it twice.
fn local(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    zone.to_ambiguous_timestamp(time).earlier().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Vec<PathFinished>, Vec<Found>) {
        let mut lines = OlderLines::new(|| TimeZone::UTC);
        let mut records = Vec::new();
        let mut keep = |record: Record| match record.body {
            Body::PathFinished(finished) => records.push(*finished),
            other => panic!("{other:?}"),
        };
        let found = text.lines().map(|line| lines.push(line, &mut keep)).collect();
        lines.flush(&mut keep);
        (records, found)
    }

    #[test]
    fn counts_of_zero_break_the_line_and_belong_to_it() {
        let (records, found) = read(include_str!("../../tests/older_lines/log.txt"));
        assert_eq!(records.len(), 3);
        assert_eq!(
            records.iter().map(|record| record.path.as_str()).collect::<Vec<_>>(),
            ["/home", "/home", "/etc"]
        );
        assert_eq!(records[1].reason, Reason::ConnectionRefused);
        assert_eq!(records[1].messages.len(), 2);
        assert_eq!(records[1].errors, [(ErrorKind::Connection, 2)].into());
        assert_eq!(found.iter().filter(|found| **found == Found::Malformed).count(), 1);
    }

    #[test]
    fn the_zone_is_that_of_the_machine() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(local("2026-01-02 03:00:00", &zone), "2026-01-02T01:00:00Z".parse().ok());
        assert_eq!(local("2026-13-02 03:00:00", &zone), None);
    }

    proptest! {
        #[test]
        fn a_record_comes_back_whole(
            host in "[a-z][a-z0-9.-]{0,10}",
            path in "/[a-z =/\"]{0,20}[a-z]",
            (sent, size, code, errors) in (any::<u64>(), any::<u64>(), 0i32..256, 0u64..9),
            broken: bool,
        ) {
            let cut = |count: u64| if broken && count == 0 { "0\n0".to_owned() } else { count.to_string() };
            let text = format!(
                "RSYNC_STATS: host={host} path={path} bytes_sent={sent} bytes_received=7 transfer_rate=1.5 total_size={size} \
                 speedup=2 exit_code={code} error_count={} warning_count={} permission_errors={} connection_errors={} \
                 timestamp=2026-01-02 03:04:05\n",
                cut(errors), cut(0), cut(errors), cut(0)
            );
            let (records, found) = read(&text);
            prop_assert_eq!(records.len(), 1, "{:?}", found);
            let record = &records[0];
            prop_assert_eq!((&record.host, &record.path), (&host, &path));
            prop_assert_eq!(record.exit_code, Some(code));
            prop_assert_eq!(record.error_count, errors);
            prop_assert_eq!(record.stats.map(|stats| (stats.sent_bytes, stats.source_size_bytes)), Some((sent, size)));
            prop_assert_eq!(record.reason == Reason::Ok, code == 0);
        }

        #[test]
        fn no_line_makes_it_panic(lines in proptest::collection::vec("(RSYNC_STATS: |RSYNC_ERRORS: |0 )?(host=a |path=/x |messages=\"| timestamp=|0 warning_count=|exit_code=|.){0,8}", 0..10)) {
            read(&lines.join("\n"));
        }
    }
}
