//! What to do after an answer of the server: one pure table.
//!
//! | answer | what follows |
//! | --- | --- |
//! | 2xx | done |
//! | 413 | the batch is halved |
//! | 400, 422 and other 4xx | the batch is halved until single lines stand alone; a line that is refused by itself goes to the dead letters |
//! | 400, 422 about the retention policy | the lines are too old; the server has taken the others |
//! | 401, 403, 404, 3xx | kept, and tried again each minute |
//! | 408, 429, 5xx, no answer | kept; `Retry-After` (at most 10 minutes), or 1 s doubling to 60 s with jitter |
//!
//! A refused batch is halved, not sent line by line: every good line still arrives, and one bad line in
//! 5000 costs some 25 requests in place of 5000. To send a line twice changes nothing, because a point
//! with the same series and time replaces itself.

use std::time::{Duration, SystemTime};

/// Longest wait that a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server has them.
    Done,
    /// So many lines are too old for the server; it has the others.
    TooOld(usize),
    /// Halve and send again; a line that stands alone is refused for good.
    Split(Class),
    /// Keep and try again each minute: a person has to mend something.
    Keep(Class),
    /// Keep and try again after what the server asks for, or by our own back-off.
    Wait(Class, Option<Duration>),
}

/// Why something did not arrive, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The name of the server leads nowhere.
    NameNotFound,
    /// No connection.
    Unreachable,
    /// No answer in time, or one that broke off.
    Timeout,
    /// The connection can not be made safe.
    Tls,
    /// 401 and 403.
    Unauthorized,
    /// 404, and redirects, which are not followed.
    NotFound,
    /// The keys of the configuration are those of another version of the server.
    Mismatch,
    /// 429.
    RateLimited,
    /// 5xx.
    Server,
    /// 413.
    TooLarge,
    /// A line that the server refuses by itself.
    Rejected,
    /// A line that is older than what the server keeps.
    TooOld,
    /// The outbox can not be written or read.
    Disk,
}

impl Class {
    /// Every class, in the order of their series.
    pub const ALL: [Self; 13] = [
        Self::NameNotFound,
        Self::Unreachable,
        Self::Timeout,
        Self::Tls,
        Self::Unauthorized,
        Self::NotFound,
        Self::Mismatch,
        Self::RateLimited,
        Self::Server,
        Self::TooLarge,
        Self::Rejected,
        Self::TooOld,
        Self::Disk,
    ];

    /// The name in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NameNotFound => "name_not_found",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Mismatch => "mismatch",
            Self::RateLimited => "rate_limited",
            Self::Server => "server_error",
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
            Self::TooOld => "too_old",
            Self::Disk => "disk",
        }
    }
}

/// Judges the answer to a batch of `lines` lines.
pub fn judge(status: u16, retry_after: Option<&str>, body: &str, lines: usize, now: SystemTime) -> Verdict {
    match status {
        200..=299 => Verdict::Done,
        413 => Verdict::Split(Class::TooLarge),
        400 | 422 if is_retention(body) => match dropped(body) {
            Some(count) if count <= lines => Verdict::TooOld(count),
            _ => Verdict::Split(Class::TooOld),
        },
        300..=399 | 404 => Verdict::Keep(Class::NotFound),
        401 | 403 => Verdict::Keep(Class::Unauthorized),
        429 => Verdict::Wait(Class::RateLimited, retry_after.and_then(|text| wait(text, now))),
        408 => Verdict::Wait(Class::Timeout, None),
        400..=499 => Verdict::Split(Class::Rejected),
        _ => Verdict::Wait(Class::Server, retry_after.and_then(|text| wait(text, now))),
    }
}

/// InfluxDB 1.x says this only when nothing else was wrong, so every other line is stored.
fn is_retention(body: &str) -> bool {
    body.contains("points beyond retention policy")
}

fn dropped(body: &str) -> Option<usize> {
    let (_, rest) = body.split_once("dropped=")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// `Retry-After` in both forms of RFC 9110, section 10.2.3.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let asked = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More digits than a u64 has are still a number.
        Err(_) if text.trim().bytes().all(|byte| byte.is_ascii_digit()) && !text.trim().is_empty() => {
            LONGEST_WAIT
        }
        Err(_) => httpdate::parse_http_date(text.trim()).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(LONGEST_WAIT))
}

/// The wait after the `failures`-th failure in a row: 1 s doubling to 60 s, and of that a share between a
/// half and the whole, by `share` from 0 to 1.
pub fn back_off(failures: u32, share: f64) -> Duration {
    let full = f64::from(1_u32 << failures.saturating_sub(1).min(6)).min(60.0);
    Duration::from_secs_f64(full * (0.5 + share.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let table = [
            (204, None, "", Verdict::Done),
            (200, None, "", Verdict::Done),
            (413, None, "", Verdict::Split(Class::TooLarge)),
            (400, None, "unable to parse 'x': missing fields", Verdict::Split(Class::Rejected)),
            (400, None, "partial write: field type conflict: … dropped=1", Verdict::Split(Class::Rejected)),
            (400, None, "partial write: points beyond retention policy dropped=3", Verdict::TooOld(3)),
            (422, None, "partial write: points beyond retention policy dropped=10", Verdict::TooOld(10)),
            (400, None, "points beyond retention policy dropped=11", Verdict::Split(Class::TooOld)),
            (400, None, "points beyond retention policy", Verdict::Split(Class::TooOld)),
            (405, None, "", Verdict::Split(Class::Rejected)),
            (401, None, "", Verdict::Keep(Class::Unauthorized)),
            (403, None, "", Verdict::Keep(Class::Unauthorized)),
            (404, None, "database not found", Verdict::Keep(Class::NotFound)),
            (302, None, "", Verdict::Keep(Class::NotFound)),
            (429, Some("7"), "", Verdict::Wait(Class::RateLimited, Some(Duration::from_secs(7)))),
            (
                429,
                Some("Sun, 06 Nov 1994 08:49:47 GMT"),
                "",
                Verdict::Wait(Class::RateLimited, Some(Duration::from_secs(10))),
            ),
            (429, Some("99999999999999999999999"), "", Verdict::Wait(Class::RateLimited, Some(LONGEST_WAIT))),
            (503, Some("3600"), "", Verdict::Wait(Class::Server, Some(LONGEST_WAIT))),
            (503, Some("soon"), "", Verdict::Wait(Class::Server, None)),
            (500, None, "", Verdict::Wait(Class::Server, None)),
            (502, None, "", Verdict::Wait(Class::Server, None)),
            (408, None, "", Verdict::Wait(Class::Timeout, None)),
        ];
        for (status, retry_after, body, verdict) in table {
            assert_eq!(judge(status, retry_after, body, 10, now), verdict, "{status} {retry_after:?} {body}");
        }
    }

    #[test]
    fn back_off_doubles_to_a_minute() {
        let whole: Vec<_> = (1..9).map(|failures| back_off(failures, 1.0).as_secs()).collect();
        assert_eq!(whole, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(back_off(1, 0.0), Duration::from_millis(500));
        assert_eq!(back_off(u32::MAX, 1.0).as_secs(), 60);
    }
}
