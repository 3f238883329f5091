//! Edge: reads the rotated parts of the log, oldest first, compressed ones among them: all of them at the start, and
//! later those behind a file that was compressed or deleted before its successor was looked for.
//!
//! All parts are opened before the first is read, and the names are looked at again after that: what
//! is renamed, compressed or deleted from then on is read all the same, once. A part that begins
//! with the same line as a later one is a copy of it (`copytruncate`, or a compression under way).
//!
//! How much is read is bounded: the youngest [`PARTS`] parts, of about [`BYTES`] bytes together.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use backup_common::lines::LineBuffer;
use flate2::read::MultiGzDecoder;

use super::file::{self, FileId, LogFile};
use super::follow::Step;
use super::rotation::{self, Named};

/// Older parts that are read at most: with daily rotation, three months.
pub const PARTS: usize = 100;
/// Bytes that are read of them at most, two million records.
pub const BYTES: u64 = 512 * 1024 * 1024;
/// What gzip(1) makes of a byte of this log, roughly.
const COMPRESSION: u64 = 12;
/// Looks that are taken until the names stand still.
const LOOKS: usize = 10;
/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

/// An opened part of the log.
enum Part {
    Plain(LogFile),
    Compressed(PathBuf, File),
}

/// The beginnings of the parts that were read: by them a part is known under any name, compressed or not.
#[derive(Debug, Default)]
pub struct Passed {
    heads: VecDeque<Vec<u8>>,
    /// The names when nothing was left to be read behind them.
    exhausted: Option<Vec<Named>>,
}

/// What is held open of the parts that were read.
#[derive(Debug, Default)]
pub struct Held {
    /// The youngest part, unless that is compressed: as a rule the log itself, of which nothing is read yet.
    pub current: Option<LogFile>,
    /// The youngest plain one before it, which is read to its end; a writer that was late may still append to it.
    pub retired: Option<LogFile>,
}

impl Passed {
    /// A file of which so much was read that it is known again.
    pub fn learn(&mut self, file: &mut LogFile) {
        if let Some(head) = file.new_head() {
            self.add_head(first_line(head));
        }
    }

    /// A file that was read, as far as it goes.
    pub fn add(&mut self, file: &LogFile) {
        self.add_head(first_line(file.head()));
    }

    fn add_head(&mut self, head: Vec<u8>) {
        // An empty part has nothing to be known by, and nothing to be read twice.
        if head.is_empty() || self.heads.contains(&head) {
            return;
        }
        self.heads.push_back(head);
        if self.heads.len() > PARTS {
            self.heads.pop_front();
        }
    }
}

/// Reads the parts behind those that are passed and behind the one that is held open, all but the youngest plain one, and
/// passes them. `None` says that there was none the last time, and that the names have not changed since.
pub fn read(
    name: &Path,
    current: Option<FileId>,
    passed: &mut Passed,
    found: &mut impl FnMut(Step<'_>),
) -> Option<Held> {
    let names = rotation::family(name);
    if passed.exhausted.as_ref() == Some(&names) {
        return None;
    }
    let is_first = passed.heads.is_empty() && passed.exhausted.is_none();
    let (opened, omitted) = open_all(name);
    let mut parts: Vec<(Part, Vec<u8>)> = opened
        .into_iter()
        .map(|part| {
            let head = part.head();
            (part, head)
        })
        .collect();
    leave_out_unfinished(&mut parts);
    let is_passed = |(part, head): &(Part, Vec<u8>)| {
        // The log itself is another file than any that was left, though it may begin with the same line.
        current.is_some() && part.id() == current || part.path() != name && passed.heads.contains(head)
    };
    match parts.iter().rposition(is_passed) {
        Some(last) => drop(parts.drain(..=last)),
        None if is_first => (0..omitted).for_each(|_| found(Step::TooOld)),
        None => {}
    }
    let mut held = Held::default();
    while !parts.is_empty() {
        let (part, line) = parts.remove(0);
        let is_copy = !line.is_empty() && parts.iter().any(|(_, other)| *other == line);
        if is_copy {
            continue;
        }
        passed.add_head(line);
        match part {
            Part::Plain(file) => held.follow(Some(file), found),
            Part::Compressed(path, file) => {
                held.follow(None, found);
                decompress(&path, file, found);
            }
        }
    }
    if held.current.is_none() {
        passed.exhausted = Some(names);
    }
    Some(held)
}

/// A part that is being compressed is there twice; the plain one is the whole one.
fn leave_out_unfinished(parts: &mut Vec<(Part, Vec<u8>)>) {
    let plain: Vec<(PathBuf, Vec<u8>)> = parts
        .iter()
        .filter(|(part, _)| matches!(part, Part::Plain(_)))
        .map(|(part, head)| (part.path().to_owned(), head.clone()))
        .collect();
    parts.retain(|(part, head)| {
        let twin = plain.iter().find(|(path, _)| rotation::is_compressed_form(part.path(), path));
        !twin.is_some_and(|(_, whole)| head.is_empty() || head == whole)
    });
}

impl Held {
    fn follow(&mut self, next: Option<LogFile>, found: &mut impl FnMut(Step<'_>)) {
        let Some(mut read) = std::mem::replace(&mut self.current, next) else { return };
        let readable = read.read_on(found).is_ok();
        let closed = if readable { self.retired.replace(read) } else { Some(read) };
        if !readable || closed.is_some_and(|file| file.is_torn()) {
            found(Step::Torn);
        }
    }
}

impl Part {
    /// Its beginning, by which a copy is known: a record's time and run stand within it.
    fn head(&self) -> Vec<u8> {
        let head = match self {
            Self::Plain(file) => file.head(),
            Self::Compressed(_, file) => {
                let mut head = Vec::new();
                let mut start = At { file, offset: 0 };
                // A damaged one has no beginning that could be that of another part.
                let _ = MultiGzDecoder::new(&mut start).take(file::HEAD as u64).read_to_end(&mut head);
                head
            }
        };
        first_line(head)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Plain(file) => file.path(),
            Self::Compressed(path, _) => path,
        }
    }

    /// Which file it is, if it is one that can be held open to be followed.
    fn id(&self) -> Option<FileId> {
        match self {
            Self::Plain(file) => Some(file.id()),
            Self::Compressed(..) => None,
        }
    }
}

/// The first line that is not empty.
fn first_line(mut head: Vec<u8>) -> Vec<u8> {
    let begin = head.iter().position(|byte| *byte != b'\n').unwrap_or(head.len());
    head.drain(..begin);
    let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    head.truncate(end);
    head
}

/// Reads a file from a position of its own.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

fn decompress(path: &Path, file: File, found: &mut impl FnMut(Step<'_>)) {
    let mut lines = LineBuffer::default();
    let mut reader = MultiGzDecoder::new(io::BufReader::new(file)).take(BYTES);
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => lines.push(&chunk[..count], |line| found(Step::Line(line))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                found(Step::Damaged(path));
                return;
            }
        }
    }
    if lines.is_torn() {
        found(Step::Torn);
    }
}

/// Opens all parts as they were named at one moment, and says how many were left out.
fn open_all(name: &Path) -> (Vec<Part>, usize) {
    let mut opened = (Vec::new(), 0);
    for _ in 0..LOOKS {
        let before = rotation::family(name);
        opened = open(&before);
        if rotation::family(name) == before {
            break;
        }
    }
    opened
}

fn open(names: &[Named]) -> (Vec<Part>, usize) {
    let mut parts = Vec::new();
    let (mut bytes, mut omitted) = (0, 0);
    for (index, (path, _)) in names.iter().rev().enumerate() {
        let compressed = rotation::is_compressed(path);
        let factor = if compressed { COMPRESSION } else { 1 };
        bytes += fs::symlink_metadata(path).map_or(0, |metadata| metadata.len().saturating_mul(factor));
        // The log itself is read however long it is.
        if index > 0 && (index > PARTS || bytes > BYTES) {
            omitted += 1;
            continue;
        }
        let part = if compressed {
            file::open_regular(path).map(|file| Part::Compressed(path.clone(), file))
        } else {
            LogFile::open(path).map(Part::Plain)
        };
        // What is no regular file, or may not be read, is none of the log's parts.
        parts.extend(part.ok());
    }
    parts.reverse();
    (parts, omitted)
}
