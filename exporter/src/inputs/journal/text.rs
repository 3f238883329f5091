//! Pure: what rsync and ssh wrote into a session's log.
//!
//! The journal mixes standard output and standard error, so each line is shown to both readers: a
//! line with figures is none with an error, and the other way round.

use std::sync::LazyLock;

use backup_common::error_kind::ErrorCounts;
use backup_common::reason::Reason;
use backup_common::record::TransferStats;
use backup_common::rsync::exit;
use backup_common::rsync::messages::Messages;
use backup_common::rsync::output::OutputParser;
use backup_common::status::Status;
use regex::bytes::Regex;

/// Lines that rsync or ssh can have written as errors; other lines of a unit are nobody's business.
#[expect(clippy::unwrap_used, reason = "the expression is constant, and the tests use it")]
static ERROR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(rsync: |rsync error: |rsync warning: |ssh: |ssh_exchange_identification: |kex_exchange_identification: |",
        r"file has vanished: |directory has vanished: |Host key verification failed|Connection (closed|reset) by |",
        r"No [A-Z0-9]+ host key is known for |@ +WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED|",
        r"IO error encountered -- skipping file deletion|protocol version mismatch|Timeout, server |",
        r"[^ ]+: Permission denied \(|(ba|da|z|k|)sh: .*rsync: .*not found)"
    ))
    .unwrap()
});

/// rsync's last word: `rsync error: some files/attrs were not transferred (code 23) at main.c(1865)`.
#[expect(clippy::unwrap_used, reason = "the expression is constant, and the tests use it")]
static CODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^rsync (?:error|warning): .*\(code (\d{1,3})\) at ").unwrap());

/// What was found in the lines so far.
#[derive(Debug, Default)]
pub struct Text {
    output: OutputParser,
    messages: Messages,
    /// rsync ends that printed their figures.
    transfers: u64,
    sum: TransferStats,
    rate_weight: f64,
    /// The worst end that rsync told of, with the reason by the lines before it.
    worst: Option<(Status, Reason)>,
}

impl Text {
    /// Takes a line; says whether it changed what is known.
    pub fn push(&mut self, line: &[u8]) -> bool {
        if let Some(code) = code(line) {
            self.end(code);
            return true;
        }
        if ERROR.is_match(line) {
            self.messages.push(line, "");
            self.messages.push(b"\n", "");
            return true;
        }
        self.output.push_line(line);
        if !line.starts_with(b"total size is ") {
            return false;
        }
        let figures = std::mem::take(&mut self.output).finish();
        if let Some(stats) = &figures {
            self.add(stats);
        }
        figures.is_some()
    }

    /// The sums over all transfers that printed their figures.
    pub fn stats(&self) -> Option<TransferStats> {
        (self.transfers > 0).then_some(self.sum)
    }

    /// Error and warning lines by kind.
    pub fn errors(&self) -> &ErrorCounts {
        &self.messages.kinds
    }

    /// The first of them.
    pub fn messages(&self) -> &[String] {
        &self.messages.kept
    }

    /// How the text says that it ended; absent where rsync tells of no bad end.
    pub fn worst(&self) -> Option<(Status, Reason)> {
        self.worst
    }

    /// The reason of an end with this exit code, by the lines so far.
    pub fn reason(&self, code: i32) -> Reason {
        exit::reason(code, self.stats().as_ref(), &self.messages)
    }

    /// Whether there is anything of rsync in it.
    pub fn is_rsync(&self) -> bool {
        self.transfers > 0 || self.worst.is_some() || self.messages.error_count > 0
    }

    fn end(&mut self, code: i32) {
        // rsync prints no such line for a good end, so that this one is forged.
        if code == 0 {
            return;
        }
        let reason = self.reason(code);
        let end = (reason.status(), reason);
        if self.worst.is_none_or(|(status, _)| status < end.0) {
            self.worst = Some(end);
        }
    }

    fn add(&mut self, stats: &TransferStats) {
        self.transfers += 1;
        let sum = &mut self.sum;
        for (total, more) in [
            (&mut sum.files, stats.files),
            (&mut sum.files_created, stats.files_created),
            (&mut sum.files_deleted, stats.files_deleted),
            (&mut sum.files_transferred, stats.files_transferred),
            (&mut sum.source_size_bytes, stats.source_size_bytes),
            (&mut sum.transferred_size_bytes, stats.transferred_size_bytes),
            (&mut sum.literal_bytes, stats.literal_bytes),
            (&mut sum.matched_bytes, stats.matched_bytes),
            (&mut sum.sent_bytes, stats.sent_bytes),
            (&mut sum.received_bytes, stats.received_bytes),
        ] {
            *total = total.saturating_add(more);
        }
        let wire = (stats.sent_bytes.saturating_add(stats.received_bytes)) as f64;
        // Bytes per second over all: bytes by the sum of seconds, each of them bytes by rate.
        if stats.transfer_rate_bytes_per_second > 0.0 {
            self.rate_weight += wire / stats.transfer_rate_bytes_per_second;
        }
        let all = (sum.sent_bytes.saturating_add(sum.received_bytes)) as f64;
        sum.transfer_rate_bytes_per_second =
            if self.rate_weight > 0.0 { all / self.rate_weight } else { 0.0 };
        sum.speedup_ratio = if all > 0.0 { sum.source_size_bytes as f64 / all } else { 0.0 };
    }
}

/// The exit code in rsync's last word, if the line is that.
fn code(line: &[u8]) -> Option<i32> {
    // The expression would say the same, at ten times the cost for each line.
    if !line.starts_with(b"rsync ") {
        return None;
    }
    let found = CODE.captures(line)?;
    let digits = std::str::from_utf8(found.get(1)?.as_bytes()).ok();
    Some(digits.and_then(|digits| digits.parse().ok()).unwrap_or(255))
}
