//! Reads what rsync prints to standard output: progress while it runs, figures at its end.
//!
//! The runner asks for plain numbers, and still every form is read that rsync(1) documents for
//! `--human-readable`: thousands set apart, and numbers with a unit, which are then only roughly right.

use memchr::{memchr, memchr2};

use crate::record::TransferStats;

/// Longest line that is looked at; the lines that matter are below 200 bytes.
const LINE_BYTES: usize = 4096;

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Bytes transferred so far.
    pub bytes: u64,
    /// Share of the size of all files known so far, 0 to 100.
    pub percent: u8,
    /// Files transferred so far.
    pub files: u64,
}

/// Reads the output as it comes, in pieces of any size.
#[derive(Debug, Default)]
pub struct OutputParser {
    line: Vec<u8>,
    /// As of the last line that told; rsync tells only when a file is done.
    files: u64,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    stats: TransferStats,
    listed: bool,
    ended: bool,
}

impl OutputParser {
    /// Takes a piece and returns the newest progress in it.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Progress> {
        let mut progress = None;
        let mut rest = bytes;
        // rsync overwrites its progress line, so that a carriage return ends a line as well.
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            self.take(&rest[..end]);
            progress = self.end_line().or(progress);
            rest = &rest[end + 1..];
        }
        self.take(rest);
        progress
    }

    /// Takes a whole line, without its end.
    pub fn push_line(&mut self, line: &[u8]) {
        // Nearly all lines are names of files.
        if self.line.is_empty() && !may_tell(line) && memchr(b'\r', line).is_none() {
            return;
        }
        self.push(line);
        self.push(b"\n");
    }

    /// The figures, if rsync came so far as to print them all.
    pub fn finish(mut self) -> Option<TransferStats> {
        self.end_line();
        (self.figures.listed && self.figures.ended).then_some(self.figures.stats)
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) -> Option<Progress> {
        // Nearly all lines are names of files.
        if !may_tell(&self.line) {
            self.line.clear();
            return None;
        }
        let line = String::from_utf8_lossy(&self.line);
        let mut progress = parse_progress(&line);
        match &mut progress {
            Some(progress) => {
                self.files = self.files.max(progress.files);
                progress.files = self.files;
            }
            None => self.figures.take(&line),
        }
        self.line.clear();
        progress
    }
}

/// Whether a line begins like one with progress or with figures.
fn may_tell(line: &[u8]) -> bool {
    line.first().is_some_and(|byte| b" \t\x0c.,0123456789NTLMst".contains(byte))
}

impl Figures {
    fn take(&mut self, line: &str) {
        let stats = &mut self.stats;
        if let Some((name, value)) = line.split_once(": ") {
            let field = match name {
                "Number of files" => {
                    self.listed = true;
                    &mut stats.files
                }
                "Number of created files" => &mut stats.files_created,
                "Number of deleted files" => &mut stats.files_deleted,
                "Number of regular files transferred" | "Number of files transferred" => {
                    &mut stats.files_transferred
                }
                "Total file size" => &mut stats.source_size_bytes,
                "Total transferred file size" => &mut stats.transferred_size_bytes,
                "Literal data" => &mut stats.literal_bytes,
                "Matched data" => &mut stats.matched_bytes,
                "Total bytes sent" => &mut stats.sent_bytes,
                "Total bytes received" => &mut stats.received_bytes,
                _ => return,
            };
            if let Some(number) = first_number(value) {
                *field = round(number);
            }
        } else if line.starts_with("sent ") {
            if let Some(rate) = number_before(line, " bytes/sec") {
                stats.transfer_rate_bytes_per_second = rate;
            }
        } else if line.starts_with("total size is ")
            && let Some((_, speedup)) = line.split_once("speedup is ")
        {
            stats.speedup_ratio = first_number(speedup).unwrap_or(0.0);
            self.ended = true;
        }
    }
}

/// Reads a line of `--info=progress2`, such as `  9,000,000 100%  259.15MB/s    0:00:00 (xfr#3, to-chk=0/5)`.
fn parse_progress(line: &str) -> Option<Progress> {
    let mut words = line.split_ascii_whitespace();
    let bytes = first_number(words.next()?)?;
    let percent = words.next()?.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 100)?;
    if !words.next()?.ends_with("/s") {
        return None;
    }
    let files = line.split_once("xfr#").and_then(|(_, rest)| first_number(rest)).unwrap_or(0.0);
    Some(Progress { bytes: round(bytes), percent, files: round(files) })
}

/// The number at the beginning, with thousands set apart by a comma, or with one of rsync's units.
fn first_number(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(text.len());
    // `to-chk=1,` and `(xfr#3,` end with a comma that is none of the number's.
    let digits = text[..end].trim_end_matches([',', '.']);
    let number: f64 = digits.replace(',', "").parse().ok()?;
    let factor = match text[end..].chars().next() {
        Some('K') => 1e3,
        Some('M') => 1e6,
        Some('G') => 1e9,
        Some('T') => 1e12,
        Some('P') => 1e15,
        _ => 1.0,
    };
    Some(number * factor)
}

fn number_before(line: &str, unit: &str) -> Option<f64> {
    let (before, _) = line.split_once(unit)?;
    first_number(before.rsplit(' ').next()?)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "never negative; saturates")]
fn round(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Captured from rsync 3.5.0 with the file's name as its options.
    const PLAIN: &str = include_str!("../../tests/rsync_output/no-human-readable.txt");
    const THOUSANDS: &str = include_str!("../../tests/rsync_output/thousands.txt");
    const HUMAN: &str = include_str!("../../tests/rsync_output/human-readable.txt");
    const MISSING: &str = include_str!("../../tests/rsync_output/missing-source.txt");
    const VERBOSE: &str = include_str!("../../tests/rsync_output/verbose.txt");
    const KILLED: &str = include_str!("../../tests/rsync_output/killed.txt");

    fn parse(text: &str) -> Option<TransferStats> {
        let mut parser = OutputParser::default();
        parser.push(text.as_bytes());
        parser.finish()
    }

    fn plain() -> TransferStats {
        parse(PLAIN).expect("has figures")
    }

    #[test]
    fn plain_numbers_are_exact() {
        let stats = plain();
        assert_eq!((stats.files, stats.files_created, stats.files_deleted), (1005, 1004, 2));
        assert_eq!((stats.files_transferred, stats.source_size_bytes), (1003, 9_001_000));
        assert_eq!((stats.literal_bytes, stats.matched_bytes), (9_001_000, 0));
        assert!(stats.sent_bytes > 9_000_000 && stats.received_bytes > 0);
        assert!(stats.transfer_rate_bytes_per_second > 0.0 && stats.speedup_ratio > 0.0);
    }

    #[test]
    fn thousands_set_apart_are_the_same_numbers() {
        let (mut plain, mut found) = (plain(), parse(THOUSANDS).expect("has figures"));
        // Of two runs, so the wire figures differ a little.
        for stats in [&mut plain, &mut found] {
            stats.sent_bytes /= 10_000;
            stats.received_bytes = 0;
            stats.transfer_rate_bytes_per_second = 0.0;
        }
        assert_eq!(found, plain);
    }

    #[test]
    fn human_readable_numbers_are_roughly_right() {
        let stats = parse(HUMAN).expect("has figures");
        assert_eq!((stats.files, stats.source_size_bytes), (1005, 9_000_000));
    }

    #[test]
    fn names_between_the_figures_do_not_matter() {
        assert_eq!(parse(VERBOSE).map(|stats| (stats.files, stats.files_transferred)), Some((1005, 1003)));
    }

    #[test]
    fn a_missing_source_has_figures_and_no_files() {
        assert_eq!(parse(MISSING).map(|stats| stats.files), Some(0));
    }

    #[test]
    fn without_the_end_there_are_no_figures() {
        assert_eq!(parse(KILLED), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("Number of files: 5\n"), None);
    }

    #[test]
    fn progress_is_read_as_it_comes() {
        let mut parser = OutputParser::default();
        assert_eq!(parser.push(b"\r          32768   0%    0.00kB/s    0:00:00  "), None);
        assert_eq!(
            parser.push(b"\r        9000000 100%  259.15MB/s    0:00:00 (xfr#3, to-chk=0/5)\r"),
            Some(Progress { bytes: 9_000_000, percent: 100, files: 3 })
        );
        assert_eq!(
            parser.push(b"        9032768 100%  259.15MB/s    0:00:00\r").map(|progress| progress.files),
            Some(3)
        );
        assert_eq!(
            parse_progress("      1,234,567  42%  259.15MB/s    0:00:00 (xfr#1,234, ir-chk=0/5)"),
            Some(Progress { bytes: 1_234_567, percent: 42, files: 1234 })
        );
        for line in ["", "12", "12 13%", "12 101% 1B/s", "x 1% 1B/s", "sent 1 bytes"] {
            assert_eq!(parse_progress(line), None, "{line}");
        }
    }

    proptest! {
        /// The look at the first character passes over nothing that the readers would take.
        #[test]
        fn what_is_passed_over_tells_nothing(line in "[ \t.,0-9A-Za-z/é]{0,2}(Number of files: |Literal data: |sent |total size is |speedup is |9 5% 1kB/s )?[ -~]{0,20}") {
            let mut figures = Figures::default();
            figures.take(&line);
            let told = parse_progress(&line).is_some() || figures.listed || figures.ended || figures.stats != TransferStats::default();
            prop_assert!(may_tell(line.as_bytes()) || !told, "{}", line);
        }

        #[test]
        fn pieces_of_any_size_give_the_same_figures(cuts in proptest::collection::vec(0usize..PLAIN.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, PLAIN.len()]);
            cuts.sort_unstable();
            let mut parser = OutputParser::default();
            for pair in cuts.windows(2) {
                parser.push(&PLAIN.as_bytes()[pair[0]..pair[1]]);
            }
            prop_assert_eq!(parser.finish(), Some(plain()));
        }

        #[test]
        fn whole_lines_are_the_same_as_their_pieces(lines in proptest::collection::vec("(Number of files: 7|sent 1 bytes|total size is 5|file|\t|9 5% 1kB/s|\r|é){0,4}", 0..20)) {
            let (mut lined, mut pieced) = (OutputParser::default(), OutputParser::default());
            for line in lines {
                lined.push_line(line.as_bytes());
                pieced.push(line.as_bytes());
                pieced.push(b"\n");
            }
            prop_assert_eq!(format!("{lined:?}"), format!("{pieced:?}"));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut parser = OutputParser::default();
            parser.push(&bytes);
            parser.finish();
        }

        #[test]
        fn no_line_makes_it_panic(line in "(Number of files|sent|total size is|speedup is|: | |[0-9.,KMG]|bytes/sec|%|\n){0,12}") {
            parse(&line);
        }
    }
}
