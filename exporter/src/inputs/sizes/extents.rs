//! Edge: remembers what quota groups and `btrfs filesystem du` have said, in a file of the state directory.
//!
//! The exporter and `backup-metrics --exclusive` both write it: each reads it, puts its own figures in,
//! and sets the whole file in the place of the old one. `backup-metrics` mostly runs as root, in a
//! directory that belongs to the exporter, so nothing that stands there is followed or written into.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use backup_common::error_chain::ErrorChain;
use jiff::Timestamp;
use rustix::fs::OFlags;
use tracing::warn;

use crate::event::Event;
use crate::event::sizes::{ExclusiveBytes, Place, QuotaBytes, SizesEvent};
use crate::extents::Figures;

/// Name of the file in the state directory.
const FILE: &str = "exclusive.jsonl";

/// More than this is not read: ten thousand paths with long names.
const FILE_BYTES: u64 = 64 << 20;

/// The file and what is in it.
#[derive(Debug)]
pub struct Extents {
    file: PathBuf,
    figures: Figures,
    /// There is something that the file does not have.
    is_new: bool,
    read_only: bool,
    /// What was last said about the file, so that it is said once.
    trouble: String,
}

impl Extents {
    /// Reads what was remembered; without a file, nothing was.
    pub fn open(state_directory: &Path) -> Self {
        let file = state_directory.join(FILE);
        let mut extents = Self {
            file,
            figures: Figures::default(),
            is_new: false,
            read_only: false,
            trouble: String::new(),
        };
        match extents.read() {
            Ok(figures) => extents.figures = figures,
            Err(error) => extents.complain(&error),
        }
        extents
    }

    /// Leaves the file as it is.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// What is remembered, as events.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.figures.events().map(Event::Sizes)
    }

    /// Takes in what `btrfs filesystem du` says.
    pub fn take_exclusive(&mut self, place: &Place, bytes: ExclusiveBytes) {
        self.figures.take_exclusive(place, Timestamp::now(), bytes);
        self.is_new = true;
    }

    /// Takes in what a quota group says; says whether that is something else than before.
    pub fn take_quota(&mut self, place: &Place, quota: Option<QuotaBytes>) -> bool {
        let is_new = self.figures.take_quota(place, quota);
        self.is_new |= is_new;
        is_new
    }

    /// Takes in what another program has written, and writes what is new; gives the former.
    pub fn sync(&mut self) -> Vec<SizesEvent> {
        let synced = self.read().and_then(|written| {
            let news = self.figures.merge(written);
            if self.is_new && !self.read_only {
                self.write()?;
                self.is_new = false;
            }
            Ok(news)
        });
        match synced {
            Ok(news) => {
                self.trouble.clear();
                news
            }
            Err(error) => {
                self.complain(&error);
                Vec::new()
            }
        }
    }

    fn read(&self) -> io::Result<Figures> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&self.file);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Figures::default()),
            opened => opened?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut text = Vec::new();
        file.take(FILE_BYTES).read_to_end(&mut text)?;
        Ok(Figures::parse(&text))
    }

    /// Written aside and renamed, so that there is a whole file at every moment; for whom the directory
    /// belongs to.
    fn write(&self) -> io::Result<()> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        // systemd makes it (StateDirectory=); by hand nobody may have.
        fs::create_dir_all(directory)?;
        let aside = self.file.with_extension(format!("{}.new", std::process::id()));
        // What a crash has left, or somebody has put there, is not written into.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&aside)?;
        let written = self.fill(&mut file, directory).and_then(|()| fs::rename(&aside, &self.file));
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        written
    }

    fn fill(&self, file: &mut File, directory: &Path) -> io::Result<()> {
        file.write_all(self.figures.render().as_bytes())?;
        let (owner, own) = (fs::metadata(directory)?, file.metadata()?);
        if (owner.uid(), owner.gid()) != (own.uid(), own.gid()) {
            fchown(&*file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.sync_all()
    }

    fn complain(&mut self, error: &io::Error) {
        let text = format!("cannot use {}: {}", self.file.display(), ErrorChain(error));
        if self.trouble != text {
            warn!(error = text, "exclusive bytes are not remembered");
            self.trouble = text;
        }
    }

    /// What was last said about the file.
    pub fn trouble(&self) -> Option<&str> {
        Some(self.trouble.as_str()).filter(|trouble| !trouble.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn place(path: &str) -> Place {
        Place { host: "a".to_owned(), path: path.to_owned() }
    }

    fn bytes(exclusive_bytes: u64) -> ExclusiveBytes {
        ExclusiveBytes { exclusive_bytes, set_shared_bytes: Some(1) }
    }

    #[test]
    fn two_programs_write_into_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (Extents::open(directory.path()), Extents::open(directory.path()));
        one.take_exclusive(&place("/x"), bytes(5));
        assert_eq!(one.sync(), []);
        two.take_exclusive(&place("/y"), bytes(7));
        assert_eq!(two.sync(), [SizesEvent::Exclusive(place("/x"), bytes(5))]);
        assert_eq!(one.sync(), [SizesEvent::Exclusive(place("/y"), bytes(7))]);
        assert_eq!(one.sync(), []);
        assert_eq!(Extents::open(directory.path()).events().count(), 2);
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
    }

    #[test]
    fn nothing_that_was_put_there_is_written_into() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        fs::create_dir(&state).unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        for name in [FILE.to_owned(), format!("exclusive.{}.new", std::process::id())] {
            symlink(&victim, state.join(name)).unwrap();
        }
        let mut extents = Extents::open(&state);
        extents.take_exclusive(&place("/x"), bytes(5));
        extents.sync();
        assert!(extents.trouble().is_some(), "a link is not followed");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        fs::remove_file(state.join(FILE)).unwrap();
        assert_eq!(extents.sync(), []);
        assert_eq!((extents.trouble(), fs::read_to_string(&victim).unwrap().as_str()), (None, "precious"));
        assert_eq!(Extents::open(&state).events().count(), 1);
    }
}
