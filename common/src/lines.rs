//! Bytes into complete lines. A line without its newline is not there yet.

/// Longest line that is kept; a longer one is dropped as it comes in and reported once.
pub const LINE_BYTES: usize = 1024 * 1024;

/// One step of what [`LineBuffer::push`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line, without its newline.
    Complete(&'a [u8]),
    /// A line that was longer than [`LINE_BYTES`]; its content is gone.
    TooLong,
}

/// Keeps the unfinished tail between reads.
///
/// Memory is bounded by [`LINE_BYTES`], whatever comes in.
#[derive(Debug, Default)]
pub struct LineBuffer {
    tail: Vec<u8>,
    dropping: bool,
}

impl LineBuffer {
    /// Hands each line that `bytes` completes to `found`, in order, and keeps the rest.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Line<'_>)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (part, after) = (&rest[..end], &rest[end + 1..]);
            if self.dropping || self.tail.len() + part.len() > LINE_BYTES {
                found(Line::TooLong);
            } else if self.tail.is_empty() {
                found(Line::Complete(part));
            } else {
                self.tail.extend_from_slice(part);
                found(Line::Complete(&self.tail));
            }
            self.clear();
            rest = after;
        }
        if self.dropping || self.tail.len() + rest.len() > LINE_BYTES {
            self.dropping = true;
            self.tail = Vec::new();
        } else {
            self.tail.extend_from_slice(rest);
        }
    }

    /// Bytes of the unfinished line that are held.
    pub fn pending(&self) -> usize {
        self.tail.len()
    }

    /// Whether a line has begun and not ended.
    pub fn is_torn(&self) -> bool {
        self.dropping || !self.tail.is_empty()
    }

    /// Forgets the unfinished line, as when the file it came from was replaced.
    pub fn clear(&mut self) {
        self.tail.clear();
        self.dropping = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collect(chunks: &[&[u8]]) -> (Vec<Option<Vec<u8>>>, LineBuffer) {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.push(chunk, |line| {
                lines.push(match line {
                    Line::Complete(text) => Some(text.to_vec()),
                    Line::TooLong => None,
                });
            });
        }
        (lines, buffer)
    }

    #[test]
    fn a_torn_tail_waits() {
        let (lines, buffer) = collect(&[b"one\ntw", b"o\nthr"]);
        assert_eq!(lines, [Some(b"one".to_vec()), Some(b"two".to_vec())]);
        assert_eq!(buffer.pending(), 3);
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let chunk = vec![b'x'; 64 * 1024];
        let mut buffer = LineBuffer::default();
        for _ in 0..1000 {
            buffer.push(&chunk, |line| panic!("{line:?}"));
            assert!(buffer.tail.capacity() <= 2 * LINE_BYTES);
        }
        let mut lines = 0;
        buffer.push(b"\nnext\n", |line| {
            lines += 1;
            assert_eq!(line, if lines == 1 { Line::TooLong } else { Line::Complete(b"next") });
        });
        assert_eq!(lines, 2);
    }

    proptest! {
        #[test]
        fn cutting_anywhere_gives_the_same_lines(text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), cuts in proptest::collection::vec(0usize..200, 0..5)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (lines, buffer) = collect(&chunks);
            let mut expected: Vec<_> = text.split(|&byte| byte == b'\n').map(|line| Some(line.to_vec())).collect();
            let tail = expected.pop().flatten().unwrap_or_default();
            prop_assert_eq!(lines, expected);
            prop_assert_eq!(buffer.pending(), tail.len());
        }
    }
}
