//! Reads the end of a log backwards, so that the newest lines are found without reading the others.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use backup_common::lines::LINE_BYTES;

/// Bytes that are read at a time.
const BLOCK: u64 = 64 * 1024;

/// Hands whole lines to `found`, the newest first and without their newlines, until it has enough or the last
/// `limit` bytes are read. A line longer than [`LINE_BYTES`] is passed over, as is the end without a newline.
pub fn lines(file: &File, limit: u64, mut found: impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let size = file.metadata()?.len();
    let start = size.saturating_sub(limit);
    let mut position = size;
    // What stands between the position and the last newline that was found.
    let mut held = Vec::new();
    let mut is_whole = false;
    while position > start {
        let begin = position.saturating_sub(BLOCK).max(start);
        let mut block = vec![0; usize::try_from(position - begin).unwrap_or(0)];
        file.read_exact_at(&mut block, begin)?;
        position = begin;
        block.append(&mut held);
        held = block;
        while let Some(end) = held.iter().rposition(|byte| *byte == b'\n') {
            if is_whole && held.len() - end <= LINE_BYTES && found(&held[end + 1..]).is_break() {
                return Ok(());
            }
            is_whole = true;
            held.truncate(end);
        }
        if held.len() > LINE_BYTES {
            is_whole = false;
            held.clear();
        }
    }
    if start == 0 && is_whole {
        let _ = found(&held);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use backup_common::lines::{Line, LineBuffer};
    use proptest::prelude::*;

    use super::*;

    fn backwards(content: &[u8], limit: u64) -> Vec<Vec<u8>> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let mut found = Vec::new();
        lines(file.as_file(), limit, |line| {
            found.push(line.to_vec());
            ControlFlow::Continue(())
        })
        .expect("read");
        found.reverse();
        found
    }

    fn forwards(content: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        LineBuffer::default().push(content, |line| {
            if let Line::Complete(line) = line {
                found.push(line.to_vec());
            }
        });
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_same_lines_as_forwards(lengths in proptest::collection::vec(prop_oneof![0usize..300, 60_000usize..140_000], 0..30), torn: bool) {
            let mut content = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                content.extend(std::iter::repeat_n(b'a' + u8::try_from(number % 26).unwrap_or(0), *length));
                content.push(b'\n');
            }
            if torn {
                content.extend(b"torn");
            }
            let all = forwards(&content);
            prop_assert_eq!(&backwards(&content, u64::MAX), &all);
            // The line that the limit cuts is not whole.
            let some = backwards(&content, 100_000);
            prop_assert!(all.ends_with(&some));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut content = b"first\n".to_vec();
        content.extend(vec![b'x'; LINE_BYTES + 200_000]);
        content.extend(b"\nlast\n");
        assert_eq!(backwards(&content, u64::MAX), [b"first".to_vec(), b"last".to_vec()]);
        assert_eq!(forwards(&content), [b"first".to_vec(), b"last".to_vec()]);
    }

    #[test]
    fn it_ends_when_there_is_enough() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "a\nb\nc\n").expect("written");
        let mut found = 0;
        lines(file.as_file(), u64::MAX, |_| {
            found += 1;
            ControlFlow::Break(())
        })
        .expect("read");
        assert_eq!(found, 1);
    }
}
