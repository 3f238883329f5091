//! Edge: the files of the outbox.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Position;
use super::frame::{self, Found};

/// Most bytes of dead letters; further ones are counted only.
const DEAD_LETTER_BYTES: u64 = 1 << 20;

/// A directory with segments, a position and dead letters.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Numbers and sizes of the segments that are there, in order.
    pub fn segments(&self) -> Vec<(u64, u64)> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let number = name.to_str()?.strip_suffix(".segment")?;
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((u64::from_str_radix(number, 16).ok()?, metadata.len()))
            })
            .collect();
        found.sort_unstable();
        found
    }

    pub fn create(&self, segment: u64) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        options().write(true).create(true).truncate(true).open(self.path(segment))?;
        self.sync_directory()
    }

    /// Writes at the known end, so that what an earlier failure left behind is overwritten.
    pub fn append(&self, segment: u64, end: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = options().write(true).open(self.path(segment))?;
        let result = file
            .seek(SeekFrom::Start(end))
            .and_then(|_| file.write_all(bytes))
            .and_then(|()| file.sync_data());
        if result.is_err() {
            // Frames that are there in spite of the error would be sent twice, which changes nothing.
            let _ = file.set_len(end);
        }
        result
    }

    /// Reads up to so many bytes; fewer mean the end, or a part that can not be read.
    pub fn read(&self, segment: u64, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let mut file = options().read(true).open(self.path(segment))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        match file.take(limit as u64).read_to_end(&mut bytes) {
            // What comes before a bad block is good; the next read begins at the block.
            Err(error) if bytes.is_empty() => Err(error),
            _ => Ok(bytes),
        }
    }

    /// The lines of a segment from an offset on.
    pub fn count(&self, segment: u64, from: u64, size: u64) -> u64 {
        let length = usize::try_from(size.saturating_sub(from)).unwrap_or(usize::MAX);
        let bytes = self.read(segment, from, length).unwrap_or_default();
        let (mut rest, mut lines) = (bytes.as_slice(), 0);
        loop {
            match frame::first(rest) {
                Found::Line(_, size) | Found::Damaged(size) => {
                    lines += 1;
                    rest = &rest[size..];
                }
                Found::Incomplete => return lines,
            }
        }
    }

    pub fn remove(&self, segment: u64) {
        // One that stays is found sent, and removed, at the next start.
        let _ = fs::remove_file(self.path(segment));
    }

    pub fn read_position(&self) -> Option<Position> {
        let text = fs::read_to_string(self.directory.join("position")).ok()?;
        let Found::Line(line, _) = frame::first(text.as_bytes()) else { return None };
        let (segment, offset) = line.split_once(' ')?;
        Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
    }

    pub fn write_position(&self, Position { segment, offset }: Position) -> io::Result<()> {
        let mut text = String::new();
        frame::push(&mut text, &format!("{segment} {offset}"));
        replace(&self.directory, "position", text.as_bytes())
    }

    /// Keeps a refused line behind the reason, in two lines.
    pub fn bury(&self, line: &str, why: &str) -> io::Result<()> {
        let mut file = options().append(true).create(true).open(self.directory.join("dead-letters"))?;
        if file.metadata()?.len() > DEAD_LETTER_BYTES {
            return Ok(());
        }
        let why = backup_common::text::clean(why, backup_common::text::MESSAGE_BYTES);
        file.write_all(format!("# {why}\n{line}\n").as_bytes())
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.directory.join(format!("{segment:016x}.segment"))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Puts a file in the place of another so that after a power cut one of the two is there, whole.
pub fn replace(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&temporary, directory.join(name))?;
    File::open(directory)?.sync_all()
}
