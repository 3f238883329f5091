//! Edge: the unprivileged end of the socket.

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_common::text;

use crate::btrfs::{Found, Quota};
use crate::protocol::{ANSWER_BYTES, Answer, Method, ProtocolError, Request, read_line};
use crate::totals::Totals;

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    /// For each directory that was asked for, in order; none where there is no such directory.
    pub totals: Vec<Option<Totals>>,
    /// For each of them, where it is a subvolume of its own and quotas are on.
    pub quotas: Vec<Option<Quota>>,
    /// How it was done.
    pub method: Method,
    /// How long it took there.
    pub duration_seconds: f64,
    /// Directories of which the incremental scans had known something else; none when not compared.
    pub differences: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or may not be asked.
    #[error("cannot connect to backup-sizes at {0}")]
    Connect(PathBuf, #[source] io::Error),
    /// It went away, or took too long.
    #[error("cannot ask backup-sizes")]
    Ask(#[source] io::Error),
    /// It says what it must not say.
    #[error("cannot use the answer of backup-sizes")]
    Protocol(#[from] ProtocolError),
    /// It has no figures.
    #[error("backup-sizes has no figures: {0}")]
    Failed(String),
}

/// Asks for directories below the volume's. It waits for a line not longer than `limit`.
///
/// # Errors
/// All of [`ClientError`].
pub fn ask(
    socket: &Path,
    directories: Vec<PathBuf>,
    full: bool,
    limit: Duration,
) -> Result<Scanned, ClientError> {
    ask_each(socket, directories, full, limit, |_| {})
}

/// The same, and tells of each directory as soon as it is answered.
///
/// # Errors
/// All of [`ClientError`]. What was told before is right all the same.
pub fn ask_each(
    socket: &Path,
    directories: Vec<PathBuf>,
    full: bool,
    limit: Duration,
    mut each: impl FnMut(Found),
) -> Result<Scanned, ClientError> {
    let request = Request::new(directories, full);
    let line = request.encode()?;
    let mut stream =
        UnixStream::connect(socket).map_err(|error| ClientError::Connect(socket.to_owned(), error))?;
    let timeouts = stream.set_read_timeout(Some(limit)).and_then(|()| stream.set_write_timeout(Some(limit)));
    timeouts.and_then(|()| stream.write_all(&line)).map_err(ClientError::Ask)?;
    let mut reader = BufReader::new(stream);
    let mut answers = Answers::new(request.directories.len());
    loop {
        let line = read_line(&mut reader, ANSWER_BYTES)?
            .ok_or(ClientError::Ask(io::ErrorKind::UnexpectedEof.into()))?;
        if let Some(scanned) = answers.take(Answer::decode(&line)?, &mut each)? {
            return Ok(scanned);
        }
    }
}

/// Collects answers; each directory must be answered once.
struct Answers(Vec<Slot>);

#[derive(Clone)]
enum Slot {
    Waiting,
    Answered(Found),
}

impl Answers {
    fn new(directories: usize) -> Self {
        Self(vec![Slot::Waiting; directories])
    }

    fn take(&mut self, answer: Answer, each: &mut impl FnMut(Found)) -> Result<Option<Scanned>, ClientError> {
        match answer {
            Answer::Directory { index, totals, quota } => match self.0.get_mut(index) {
                Some(slot @ Slot::Waiting) => {
                    let found = Found { index, totals, quota };
                    *slot = Slot::Answered(found);
                    each(found);
                    Ok(None)
                }
                _ => Err(ProtocolError::Answer.into()),
            },
            Answer::End { method, duration_seconds, differences } => {
                let answered = self.0.drain(..).map(|slot| match slot {
                    Slot::Answered(found) => Some((found.totals, found.quota)),
                    Slot::Waiting => None,
                });
                let answered: Option<(Vec<_>, Vec<_>)> = answered.collect();
                let (totals, quotas) =
                    answered.filter(|_| duration_seconds >= 0.0).ok_or(ProtocolError::Answer)?;
                Ok(Some(Scanned { totals, quotas, method, duration_seconds, differences }))
            }
            Answer::Failed { message } => Err(ClientError::Failed(text::clean(&message, ANSWER_BYTES))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            5 => (0usize..4).prop_map(|index| Answer::Directory { index, totals: None, quota: None }),
            1 => Just(Answer::End { method: Method::Full, duration_seconds: 1.0, differences: None }),
            1 => Just(Answer::Failed { message: "\u{1b}no".to_owned() }),
        ]
    }

    proptest! {
        #[test]
        fn only_whole_answers_are_taken(answers in proptest::collection::vec(answer(), 0..12)) {
            let mut collected = Answers::new(3);
            let (mut seen, mut told) = (Vec::new(), Vec::new());
            for answer in answers {
                if let Answer::Directory { index, .. } = answer { seen.push(index); }
                match collected.take(answer, &mut |found| told.push(found.index)) {
                    Ok(None) => {}
                    Ok(Some(scanned)) => {
                        prop_assert_eq!(scanned.totals.len(), 3);
                        seen.sort_unstable();
                        prop_assert_eq!(&seen, &[0, 1, 2]);
                        told.sort_unstable();
                        prop_assert_eq!(&told, &seen);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }
}
