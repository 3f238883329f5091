//! The only way in which a text becomes the value of a label.

use std::borrow::Cow;

use backup_common::text;

/// Longest value, in bytes: a path of Linux (`PATH_MAX`) always fits.
const VALUE_BYTES: usize = 4096;

/// Spells out what could change how the text around it is shown.
///
/// prometheus-client escapes quote, backslash and newline, and lets ESC, NUL and CR pass.
pub fn value(text: &str) -> Cow<'_, str> {
    // Nearly all are plain. Without a way out in between, the compiler looks at many bytes at a time.
    let is_plain = text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    if text.len() <= VALUE_BYTES && (is_plain || !text.chars().any(text::is_unsafe)) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text::clean(text, VALUE_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(value("/srv/\"a\\b\""), "/srv/\"a\\b\"");
        assert_eq!(value("a\u{1b}[2J\r\0"), "a\\u1b[2J\\ud\\u0");
        assert_eq!(value(&"é".repeat(4000)).len(), 4096);
    }
}
