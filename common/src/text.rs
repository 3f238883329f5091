//! Text from outside made fit for a log line, a terminal or a label.

/// Longest message kept, in bytes; longer ones are cut at a character.
pub const MESSAGE_BYTES: usize = 500;

/// Escapes control characters (C0, DEL, C1, line and paragraph separators, bidirectional overrides) and cuts to `limit` bytes.
///
/// What a remote host prints reaches terminals and logs only through here, so that it can neither
/// move the cursor nor forge a line of its own.
pub fn clean(text: &str, limit: usize) -> String {
    // Nearly every text: nothing to spell out and nothing to cut.
    // Without an early end, so that many bytes are looked at at a time.
    if text.len() <= limit && !text.bytes().fold(false, |found, byte| found | !matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len().min(limit));
    for character in text.chars() {
        let before = out.len();
        if is_unsafe(character) {
            out.extend(character.escape_unicode().filter(|c| !matches!(c, '{' | '}')));
        } else {
            out.push(character);
        }
        if out.len() > limit {
            out.truncate(before);
            break;
        }
    }
    out
}

/// The same for bytes; what is not UTF-8 becomes U+FFFD.
pub fn clean_bytes(text: &[u8], limit: usize) -> String {
    match str::from_utf8(text) {
        Ok(text) => clean(text, limit),
        Err(_) => clean(&String::from_utf8_lossy(text), limit),
    }
}

/// Whether a character could change how the text around it is shown.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{9b}", 100), "a\\u1b[2Jb\\uac\\u9b");
        assert_eq!(clean_bytes(b"caf\xff", 100), "caf\u{fffd}");
    }

    #[test]
    fn cuts_at_a_character() {
        assert_eq!(clean("ééé", 5), "éé");
        assert_eq!(clean("ab\n", 4), "ab");
    }

    proptest! {
        #[test]
        fn never_longer_and_never_unsafe(text: String, limit in 0usize..200) {
            let cleaned = clean(&text, limit);
            prop_assert!(cleaned.len() <= limit);
            prop_assert!(!cleaned.chars().any(is_unsafe));
        }
    }
}
