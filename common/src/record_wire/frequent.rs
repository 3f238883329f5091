//! The two types that nearly all lines of a log have, read without a look at the fields of all the others.
//!
//! A log of a million lines is read at each start. What these readers do not take is read, or refused with its
//! reason, by [`super::decode`]: lines of other versions, and those that another program has written.

use super::Spare;
use super::canonical::Canonical;
use crate::error_kind::{ErrorCounts, ErrorKind};
use crate::reason::Reason;
use crate::record::{Body, PathFinished, PathStarted, Record, TransferStats};
use crate::status::Status;

/// Reads a line that is just as [`super::encode`] writes it; nothing if it is none of the two types.
pub fn decode(line: &str, spare: &mut Spare) -> Option<Record> {
    let mut line = Canonical::new(line)?;
    line.after(r#"{"v":1,"type":"path_"#)?;
    let is_end = line.after(r#"finished","time":"#).is_some();
    if !is_end {
        line.after(r#"started","time":"#)?;
    }
    let time = line.time()?;
    let run_id = spare.text(line.after(r#","run_id":"#)?.plain()?);
    let place = PathStarted {
        host: spare.text(line.after(r#","host":"#)?.plain()?),
        path: spare.text(line.after(r#","path":"#)?.plain()?),
        dest: spare.text(line.after(r#","dest":"#)?.plain()?),
    };
    if place.host.is_empty() || place.path.is_empty() {
        return None;
    }
    let body = if is_end {
        Body::PathFinished(spare.boxed(finished(&mut line, place)?))
    } else {
        Body::PathStarted(place)
    };
    line.after("}")?.is_over().then_some(Record { time, run_id, body })
}

fn finished(line: &mut Canonical<'_>, place: PathStarted) -> Option<PathFinished> {
    Some(PathFinished {
        host: place.host,
        path: place.path,
        dest: place.dest,
        status: Status::from_name(line.after(r#","status":"#)?.plain()?)?,
        reason: Reason::from_name(line.after(r#","reason":"#)?.plain()?).unwrap_or(Reason::Other),
        exit_code: small(line, r#","exit_code":"#)?,
        signal: small(line, r#","signal":"#)?,
        attempts: line.after(r#","attempts":"#)?.number()?,
        started: line.after(r#","started":"#)?.time()?,
        duration_seconds: line.after(r#","duration_seconds":"#)?.float()?,
        stats: if line.after(r#","stats":"#).is_some() { Some(stats(line)?) } else { None },
        error_count: line.after(r#","error_count":"#)?.number()?,
        warning_count: line.after(r#","warning_count":"#)?.number()?,
        errors: errors(line.after(r#","errors":{"#)?)?,
        messages: messages(line.after(r#","messages":["#)?)?,
    })
}

/// A number that is there or not; none if something else is there.
#[expect(clippy::option_option, reason = "the outer one is that of every reader here")]
fn small(line: &mut Canonical<'_>, name: &str) -> Option<Option<i32>> {
    if line.after(name).is_none() {
        return Some(None);
    }
    i32::try_from(line.number()?).ok().map(Some)
}

fn stats(line: &mut Canonical<'_>) -> Option<TransferStats> {
    let stats = TransferStats {
        files: line.after(r#"{"files":"#)?.number()?,
        files_created: line.after(r#","files_created":"#)?.number()?,
        files_deleted: line.after(r#","files_deleted":"#)?.number()?,
        files_transferred: line.after(r#","files_transferred":"#)?.number()?,
        source_size_bytes: line.after(r#","source_size_bytes":"#)?.number()?,
        transferred_size_bytes: line.after(r#","transferred_size_bytes":"#)?.number()?,
        literal_bytes: line.after(r#","literal_bytes":"#)?.number()?,
        matched_bytes: line.after(r#","matched_bytes":"#)?.number()?,
        sent_bytes: line.after(r#","sent_bytes":"#)?.number()?,
        received_bytes: line.after(r#","received_bytes":"#)?.number()?,
        transfer_rate_bytes_per_second: line.after(r#","transfer_rate_bytes_per_second":"#)?.float()?,
        speedup_ratio: line.after(r#","speedup_ratio":"#)?.float()?,
    };
    line.after("}")?;
    Some(stats)
}

fn errors(line: &mut Canonical<'_>) -> Option<ErrorCounts> {
    let mut counts = ErrorCounts::new();
    while line.after("}").is_none() {
        if !counts.is_empty() {
            line.after(",")?;
        }
        let kind = ErrorKind::from_name(line.plain()?);
        // The general reader knows what two of a kind mean.
        if counts.insert(kind, line.after(":")?.number()?).is_some() {
            return None;
        }
    }
    Some(counts)
}

fn messages(line: &mut Canonical<'_>) -> Option<Vec<String>> {
    let mut messages = Vec::new();
    while line.after("]").is_none() {
        if !messages.is_empty() {
            line.after(",")?;
        }
        messages.push(line.text()?.into_owned());
    }
    Some(messages)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A field that the writer gets and this reader does not would lead every line past it, and only a
    /// measurement would tell.
    #[test]
    fn what_the_writer_writes_is_read_here() {
        let golden =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/records/v1.jsonl")).unwrap();
        let mut read = 0;
        for line in
            golden.lines().filter(|line| line.contains(r#""type":"path_"#) && !line.contains("progress"))
        {
            let general = super::super::decode_any(line).unwrap();
            assert_eq!(decode(line, &mut Spare::default()), Some(general), "{line}");
            read += 1;
        }
        assert!(read >= 2, "{golden}");
    }
}
