//! Edge: where the newest session begins in the journal, kept over restarts.
//!
//! The state is in memory and is rebuilt at each start from the last days of the journal. What
//! happened while the exporter was not running for longer than that would be lost, and so would the
//! newest session, if it is older: reading therefore begins at the position in this file where that is
//! further back.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The file's name in the state directory.
const NAME: &str = "journal-cursor";
/// Longest cursor, in bytes; systemd's have about 150.
const BYTES: usize = 512;

/// Why a position is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file can not be read.
    #[error("cannot read the journal position {0}")]
    Read(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error("cannot use the journal position {0}: it holds no cursor")]
    Content(PathBuf),
    /// The file can not be written.
    #[error("cannot save the journal position {0}")]
    Write(PathBuf, #[source] io::Error),
}

/// The saved position, if there is one.
pub fn load(directory: &Path) -> Result<Option<String>, CursorError> {
    let path = directory.join(NAME);
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(BYTES as u64 + 1).read_to_end(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CursorError::Read(path, error)),
    }
    let cursor = String::from_utf8(text).ok().map(|text| text.trim_end().to_owned());
    cursor.filter(|cursor| is_cursor(cursor)).map(Some).ok_or(CursorError::Content(path))
}

/// Saves a position: a new file that takes the place of the old one once it is on the disk.
pub fn save(directory: &Path, cursor: &str) -> Result<(), CursorError> {
    let path = directory.join(NAME);
    let next = directory.join(format!("{NAME}.next"));
    let write = || {
        fs::create_dir_all(directory)?;
        let mut file = File::create(&next)?;
        writeln!(file, "{cursor}")?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| CursorError::Write(path.clone(), error))
}

/// `s=…;i=…;b=…;m=…;t=…;x=…`, see `sd_journal_get_cursor(3)`.
fn is_cursor(text: &str) -> bool {
    let part = |part: &str| {
        part.split_once('=').is_some_and(|(key, value)| {
            key.len() == 1 && !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    text.len() <= BYTES && text.contains("t=") && text.split(';').all(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CURSOR: &str = "s=0639b26a4c5c4c1b8a4b0d5d3d8e6f10;i=2a;b=7f3e;m=1c;t=5f0;x=9d";

    #[test]
    fn saved_and_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("not/yet/there");
        assert!(load(&state).unwrap().is_none());
        save(&state, CURSOR).unwrap();
        assert_eq!(load(&state).unwrap().as_deref(), Some(CURSOR));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for bad in [&b""[..], b"\n", b"hello", b"s=1;t=", b"\0\xff", &[b'a'; 1000]] {
            fs::write(directory.path().join(NAME), bad).unwrap();
            assert!(load(directory.path()).is_err(), "{bad:?}");
        }
        fs::remove_file(directory.path().join(NAME)).unwrap();
        fs::create_dir(directory.path().join(NAME)).unwrap();
        assert!(matches!(load(directory.path()), Err(CursorError::Read(..))));
        assert!(save(directory.path(), CURSOR).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(NAME), bytes).unwrap();
            let _ = load(directory.path());
        }
    }
}
