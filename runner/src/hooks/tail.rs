//! The end of what a script prints; however much it is.

use backup_common::text;

/// Bytes that are kept.
const KEPT_BYTES: usize = 64 * 1024;
/// Lines that are shown.
const SHOWN_LINES: usize = 5;

/// The last bytes of an output of any length.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Takes a piece and forgets what is too old.
    pub fn push(&mut self, piece: &[u8]) {
        let piece = &piece[piece.len().saturating_sub(KEPT_BYTES)..];
        let surplus = (self.bytes.len() + piece.len()).saturating_sub(KEPT_BYTES);
        self.bytes.drain(..surplus);
        self.bytes.extend_from_slice(piece);
    }

    /// The last lines that are not empty, cleaned.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
        let mut last: Vec<_> = lines
            .rev()
            .filter(|line| !line.trim_ascii().is_empty())
            .take(SHOWN_LINES)
            .map(|line| text::clean_bytes(line, text::MESSAGE_BYTES))
            .collect();
        last.reverse();
        last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_lines_are_shown_and_cleaned() {
        let mut tail = Tail::default();
        tail.push(b"1\n2\n3\n4\n\n5\r\n6 \x1b[2J");
        assert_eq!(tail.lines(), ["2", "3", "4", "5", "6 \\u1b[2J"]);
    }

    proptest! {
        #[test]
        fn it_is_the_end_of_all_that_came(pieces in proptest::collection::vec((any::<u8>(), 0usize..40_000), 0..6)) {
            let pieces: Vec<Vec<u8>> = pieces.into_iter().map(|(byte, length)| vec![byte; length]).collect();
            let mut tail = Tail::default();
            let mut whole = Vec::new();
            for piece in &pieces {
                tail.push(piece);
                whole.extend_from_slice(piece);
            }
            prop_assert_eq!(&tail.bytes[..], &whole[whole.len().saturating_sub(KEPT_BYTES)..]);
            prop_assert!(tail.lines().iter().all(|line| line.len() <= text::MESSAGE_BYTES));
        }
    }
}
