//! The line protocol of InfluxDB: one point a line.
//!
//! ```text
//! backup_path,host=server1,path=/etc status="success",exit_code=0 1767323045500000000
//! ```
//!
//! Rules by the reference "Line protocol" of the InfluxDB documentation: in tag values a comma, an
//! equals sign and a space stand behind a backslash; in texts a quote and a backslash do. It knows no
//! way to write a newline or a final backslash in a tag value, and InfluxDB 1.x reads a backslash
//! before one of its special characters as the escape of that. So, in tag values and texts alike,
//! control characters are spelled out as in the labels of Prometheus (`\ua` for a newline), and in tag
//! values a backslash that could be taken for an escape is spelled out as `\u5c`. A tag value has at
//! most 4096 bytes before that, a text at most 4096.

use std::borrow::Cow;
use std::fmt::Write as _;

use backup_common::text;
use jiff::Timestamp;

use crate::outputs::labels;

/// Longest text of a field, in bytes; InfluxDB 1.x refuses texts of more than 64 KiB.
const TEXT_BYTES: usize = 4096;

/// One point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Name of the measurement; a constant of this program, so it needs no escape.
    pub measurement: &'static str,
    /// Tags in the order of their names; one with an empty value is not written.
    pub tags: Vec<(&'static str, String)>,
    /// Fields; a number that is not finite is not written.
    pub fields: Vec<(&'static str, Field)>,
    /// When it happened; written as nanoseconds since 1970.
    pub time: Timestamp,
}

/// The value of a field. Numbers are always floats, so that a field never changes its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// A measure or a count.
    Number(f64),
    /// In words.
    Text(String),
}

/// The point as one line without its newline; nothing if it has no field that can be written.
pub fn line(point: &Point) -> Option<String> {
    let mut line = String::with_capacity(256);
    line.push_str(point.measurement);
    for (name, value) in point.tags.iter().filter(|(_, value)| !value.is_empty()) {
        line.push(',');
        line.push_str(name);
        line.push('=');
        push_tag_value(&mut line, value);
    }
    let mut separator = ' ';
    for (name, field) in &point.fields {
        let start = line.len();
        line.push(separator);
        line.push_str(name);
        line.push('=');
        match field {
            Field::Number(number) if !number.is_finite() => {
                line.truncate(start);
                continue;
            }
            Field::Number(number) => push_number(&mut line, *number),
            Field::Text(text) => push_text(&mut line, text),
        }
        separator = ',';
    }
    if separator == ' ' {
        return None;
    }
    // Writing into a String has no way to fail.
    let _ = write!(line, " {}", point.time.as_nanosecond());
    Some(line)
}

/// Plain digits as long as they are short.
fn push_number(line: &mut String, number: f64) {
    let size = number.abs();
    let _ = if size != 0.0 && !(1e-5..1e15).contains(&size) {
        write!(line, "{number:e}")
    } else {
        write!(line, "{number}")
    };
}

/// A tag value as [`line()`] shows it before it is escaped: what a query gives back.
pub fn tag_value(value: &str) -> Cow<'_, str> {
    let cleaned = labels::value(value);
    if !cleaned.contains('\\') {
        return cleaned;
    }
    let mut out = String::with_capacity(cleaned.len());
    let mut characters = cleaned.chars().peekable();
    while let Some(character) = characters.next() {
        let ambiguous = matches!(characters.peek(), None | Some(',' | '=' | ' ' | '\\'));
        if character == '\\' && ambiguous { out.push_str("\\u5c") } else { out.push(character) }
    }
    Cow::Owned(out)
}

fn push_tag_value(line: &mut String, value: &str) {
    for character in tag_value(value).chars() {
        if matches!(character, ',' | '=' | ' ') {
            line.push('\\');
        }
        line.push(character);
    }
}

fn push_text(line: &mut String, value: &str) {
    line.push('"');
    for character in text::clean(value, TEXT_BYTES).chars() {
        if matches!(character, '"' | '\\') {
            line.push('\\');
        }
        line.push(character);
    }
    line.push('"');
}

/// The time at the end of a line, if it is a line.
pub fn time_of(line: &str) -> Option<Timestamp> {
    let (_, nanoseconds) = line.rsplit_once(' ')?;
    Timestamp::from_nanosecond(nanoseconds.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(tag: &str, text: &str, number: f64) -> Point {
        Point {
            measurement: "m",
            tags: vec![("host", tag.to_owned())],
            fields: vec![("text", Field::Text(text.to_owned())), ("number", Field::Number(number))],
            time: Timestamp::from_nanosecond(1_767_323_045_500_000_000).unwrap(),
        }
    }

    #[test]
    fn a_line() {
        let written = line(&point("a b", "say \"no\\\"", 0.5)).unwrap();
        assert_eq!(written, r#"m,host=a\ b text="say \"no\\\"",number=0.5 1767323045500000000"#);
        assert_eq!(time_of(&written), Some(point("", "", 0.0).time));
    }

    #[test]
    fn what_can_not_be_written_is_left_out() {
        let written = line(&point("", "", f64::NAN)).unwrap();
        assert_eq!(written, "m text=\"\" 1767323045500000000");
        let empty = Point { fields: vec![("number", Field::Number(f64::INFINITY))], ..point("", "", 0.0) };
        assert_eq!(line(&empty), None);
    }

    #[test]
    fn numbers() {
        for (number, text) in [
            (0.0, "0"),
            (1e15, "1e15"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e-7, "1e-7"),
            (-2.5, "-2.5"),
        ] {
            assert!(line(&point("", "", number)).unwrap().contains(&format!("number={text} ")), "{number}");
        }
    }

    #[test]
    fn an_ambiguous_backslash_is_spelled_out() {
        for (value, shown) in [
            ("a\\", "a\\u5c"),
            ("a\\,b", "a\\u5c,b"),
            ("a\\\\b", "a\\u5c\\b"),
            ("C:\\dir", "C:\\dir"),
            ("a\nb", "a\\uab"),
        ] {
            assert_eq!(tag_value(value), shown, "{value:?}");
        }
    }

    type Pairs = Vec<(String, String)>;

    /// Reads a line as the reference describes it: up to an unescaped separator.
    fn read(line: &str) -> (String, Pairs, Pairs, String) {
        let mut parts = vec![String::new()];
        let (mut quoted, mut characters) = (false, line.chars());
        while let Some(character) = characters.next() {
            let part = parts.last_mut().unwrap();
            match character {
                '\\' => {
                    part.push('\\');
                    part.extend(characters.next());
                }
                ' ' if !quoted => parts.push(String::new()),
                _ => {
                    quoted ^= character == '"' && parts.len() == 2;
                    parts.last_mut().unwrap().push(character);
                }
            }
        }
        assert_eq!(parts.len(), 3, "{line}");
        let split = |text: &str, quotes: bool| {
            let mut items = vec![String::new()];
            let (mut quoted, mut characters) = (false, text.chars());
            while let Some(character) = characters.next() {
                match character {
                    '\\' => {
                        items.last_mut().unwrap().push('\\');
                        items.last_mut().unwrap().extend(characters.next());
                    }
                    ',' if !quoted => items.push(String::new()),
                    _ => {
                        quoted ^= quotes && character == '"';
                        items.last_mut().unwrap().push(character);
                    }
                }
            }
            items
        };
        let pair = |item: String| {
            let (name, value) = item.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let mut series = split(&parts[0], false).into_iter();
        let measurement = series.next().unwrap();
        let unescape = |text: &str, marks: &[char]| {
            let mut out = String::new();
            let mut characters = text.chars().peekable();
            while let Some(character) = characters.next() {
                match characters.peek() {
                    Some(next) if character == '\\' && marks.contains(next) => out.extend(characters.next()),
                    _ => out.push(character),
                }
            }
            out
        };
        let tags = series.map(pair).map(|(name, value)| (name, unescape(&value, &[',', '=', ' ']))).collect();
        let fields = split(&parts[1], true)
            .into_iter()
            .map(pair)
            .map(|(name, value)| (name, unescape(value.trim_matches('"'), &['"', '\\'])))
            .collect();
        (measurement, tags, fields, parts[2].clone())
    }

    proptest! {
        #[test]
        fn is_read_back_equal(tag in "[a-c\\\\,= \"\n\té☃]{0,12}", text in "[a-c\\\\,= \n\té☃]{0,12}", number in proptest::num::f64::NORMAL) {
            let written = line(&point(&tag, &text, number)).unwrap();
            prop_assert!(!written.contains(['\n', '\r']));
            let (measurement, tags, fields, time) = read(&written);
            prop_assert_eq!(measurement, "m");
            let expected = tag_value(&tag).into_owned();
            if expected.is_empty() {
                prop_assert!(tags.is_empty());
            } else {
                prop_assert_eq!(&tags, &vec![("host".to_owned(), expected)]);
            }
            prop_assert_eq!(&fields[0].1, &text::clean(&text, TEXT_BYTES));
            prop_assert_eq!(fields[1].1.parse::<f64>().unwrap().to_bits(), number.to_bits());
            prop_assert_eq!(time, "1767323045500000000");
        }

        #[test]
        fn different_names_stay_different(a in "[a,= \\\\]{0,6}", b in "[a,= \\\\]{0,6}") {
            prop_assert_eq!(a == b, tag_value(&a) == tag_value(&b));
        }
    }
}
