//! How a line stands in a segment: length, checksum, line, newline.
//!
//! ```text
//! 0000002a 1c291ca3 backup_run,server=here refused=1 1767323050000000000\n
//! ```
//!
//! Both numbers have eight hexadecimal digits; the checksum is the CRC-32 of the line. The length lets a
//! reader pass over a damaged newline, and the newline lets it find the next frame after a damaged length,
//! so that damage costs the line it is in and no other.

use std::fmt::Write as _;

const HEAD: usize = 18;

/// Appends the frame of a line, which has no newline in it.
pub fn push(out: &mut String, line: &str) {
    // Writing into a String has no way to fail.
    let _ = writeln!(out, "{:08x} {:08x} {line}", line.len(), crc32fast::hash(line.as_bytes()));
}

/// Bytes that the frame of a line takes.
pub fn size(line: &str) -> u64 {
    (HEAD + line.len() + 1) as u64
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A line, and the bytes of its frame.
    Line(&'a str, usize),
    /// So many bytes are none.
    Damaged(usize),
    /// The bytes end before one can tell.
    Incomplete,
}

/// Looks at the beginning.
pub fn first(bytes: &[u8]) -> Found<'_> {
    if let Some((length, checksum)) = head(bytes) {
        let end = HEAD.saturating_add(length);
        match bytes.get(HEAD..end) {
            Some(line) if crc32fast::hash(line) == checksum => {
                let Some(newline) = bytes.get(end) else { return Found::Incomplete };
                if let Ok(line) = std::str::from_utf8(line) {
                    // A damaged newline is passed over with the line, unless the next frame begins there.
                    let gone = *newline != b'\n' && head(&bytes[end..]).is_some();
                    return Found::Line(line, end + usize::from(!gone));
                }
            }
            _ => {}
        }
    }
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(newline) => Found::Damaged(newline + 1),
        None => Found::Incomplete,
    }
}

fn head(bytes: &[u8]) -> Option<(usize, u32)> {
    let head = std::str::from_utf8(bytes.get(..HEAD)?).ok()?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (length, checksum) = (&head.get(..8)?, &head.get(9..17)?);
    if !digits(length) || !digits(checksum) || head.as_bytes()[8] != b' ' || head.as_bytes()[17] != b' ' {
        return None;
    }
    Some((u32::from_str_radix(length, 16).ok()? as usize, u32::from_str_radix(checksum, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match first(bytes) {
                Found::Line(line, size) => {
                    lines.push(line.to_owned());
                    bytes = &bytes[size..];
                }
                Found::Damaged(size) => bytes = &bytes[size..],
                Found::Incomplete => return lines,
            }
        }
    }

    #[test]
    fn a_flipped_byte_costs_its_own_line_alone() {
        let lines = ["a b=1 1", "a b=2 2", "a,c=é b=\"x\" 3"];
        let mut text = String::new();
        for line in lines {
            push(&mut text, line);
        }
        let mut ends = Vec::new();
        lines.iter().fold(0, |start, line| {
            ends.push(start + size(line));
            start + size(line)
        });
        assert_eq!(all(text.as_bytes()), lines);
        for position in 0..text.len() {
            let owner = ends.iter().position(|end| (position as u64) < *end).unwrap();
            for value in 0..=255 {
                let mut bytes = text.clone().into_bytes();
                if bytes[position] == value {
                    continue;
                }
                bytes[position] = value;
                let found = all(&bytes);
                let others: Vec<_> = lines
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| *index != owner)
                    .map(|(_, line)| *line)
                    .collect();
                // A damaged digit of another case, or a damaged newline, costs nothing at all. At the very
                // end the line waits for a newline that never comes.
                assert!(found == others || found == lines, "{position} {value}: {found:?}");
            }
        }
    }

    #[test]
    fn a_cut_anywhere_costs_only_what_is_behind_it() {
        let lines = ["a b=1 1", "a b=2 2"];
        let mut text = String::new();
        for line in lines {
            push(&mut text, line);
        }
        for cut in 0..text.len() {
            let whole = usize::from(cut as u64 >= size(lines[0]));
            assert_eq!(all(&text.as_bytes()[..cut]), lines[..whole], "{cut}");
        }
    }
}
