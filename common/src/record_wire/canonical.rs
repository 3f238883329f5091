//! A line taken apart from its front, in the one shape that [`super::encode`] gives it.
//!
//! Nothing is searched for and no blank is passed over: each piece stands where the writer puts it, or there is none.
//! What is given is what `serde_json` reads at this place; where that takes more than a look, there is none either.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use memchr::memchr2;

/// What is left of a line.
#[derive(Clone, Copy, Debug)]
pub struct Canonical<'a>(&'a str);

/// A time as [`super::rfc3339`] writes it, with its quotes; a `0` stands for any digit.
const TIME: &[u8] = br#""0000-00-00T00:00:00.000000Z""#;

impl<'a> Canonical<'a> {
    /// A whole line; none if it has a control character, which JSON wants escaped.
    pub fn new(line: &'a str) -> Option<Self> {
        #[expect(
            clippy::needless_bitwise_bool,
            reason = "without an early end many bytes are looked at at a time"
        )]
        let is_controlled = line.bytes().fold(false, |found, byte| found | (byte < b' '));
        (!is_controlled).then_some(Self(line))
    }

    /// Steps over these characters; none if others stand here.
    pub fn after(&mut self, expected: &str) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(self)
    }

    /// Whether nothing is left.
    pub fn is_over(self) -> bool {
        self.0.is_empty()
    }

    /// A text in its quotes that has no escapes.
    #[inline]
    pub fn plain(&mut self) -> Option<&'a str> {
        let inner = self.0.strip_prefix('"')?;
        let end = memchr2(b'"', b'\\', inner.as_bytes()).filter(|end| inner.as_bytes()[*end] == b'"')?;
        self.0 = &inner[end + 1..];
        Some(&inner[..end])
    }

    /// Any text in its quotes; copied only if it has escapes.
    pub fn text(&mut self) -> Option<Cow<'a, str>> {
        if let Some(plain) = self.plain() {
            return Some(plain.into());
        }
        let inner = self.0.strip_prefix('"')?;
        let mut end = memchr2(b'"', b'\\', inner.as_bytes())?;
        while inner.as_bytes()[end] == b'\\' {
            // Behind the character that is escaped, which may be a quote.
            let next = end + 2;
            end = next + memchr2(b'"', b'\\', inner.as_bytes().get(next..)?)?;
        }
        let (quoted, rest) = self.0.split_at_checked(end + 2)?;
        self.0 = rest;
        serde_json::from_str(quoted).ok().map(Cow::Owned)
    }

    /// A whole number that is not negative.
    pub fn number(&mut self) -> Option<u64> {
        self.digits().filter(|digits| digits.len() == 1 || !digits.starts_with('0'))?.parse().ok()
    }

    /// A number that is not negative and has no exponent.
    pub fn float(&mut self) -> Option<f64> {
        let line = self.0;
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        if self.after(".").is_some() {
            self.digits()?;
        }
        let text = &line[..line.len() - self.0.len()];
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A time in UTC with microseconds.
    pub fn time(&mut self) -> Option<Timestamp> {
        let (text, rest) = self.0.split_at_checked(TIME.len())?;
        let text = text.as_bytes();
        let fits = |(byte, shape): (&u8, &u8)| match shape {
            b'0' => byte.is_ascii_digit(),
            _ => byte == shape,
        };
        if !text.iter().zip(TIME).all(fits) {
            return None;
        }
        let number = |from: usize, to: usize| {
            text[from..to].iter().fold(0, |sum, byte| sum * 10 + i32::from(byte - b'0'))
        };
        let small = |from: usize| i8::try_from(number(from, from + 2)).ok();
        let year = i16::try_from(number(1, 5)).ok()?;
        let nanoseconds = number(21, 27) * 1000;
        let time = DateTime::new(year, small(6)?, small(9)?, small(12)?, small(15)?, small(18)?, nanoseconds);
        self.0 = rest;
        Offset::UTC.to_timestamp(time.ok()?).ok()
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<&'a str> {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        (end > 0).then_some(digits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a value as `serde_json` does, and all of it, or not at all.
    fn as_json<T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        json: &str,
        read: impl Fn(&mut Canonical<'_>) -> Option<T>,
    ) -> bool {
        let found = Canonical::new(json).and_then(|mut line| Some((read(&mut line)?, line)));
        let Some((value, _)) = found.filter(|(_, rest)| rest.is_over()) else { return false };
        assert_eq!(serde_json::from_str::<T>(json).ok(), Some(value), "{json}");
        true
    }

    fn text(line: &mut Canonical<'_>) -> Option<String> {
        line.text().map(Cow::into_owned)
    }

    fn number(line: &mut Canonical<'_>) -> Option<u64> {
        line.number()
    }

    fn float(line: &mut Canonical<'_>) -> Option<f64> {
        line.float()
    }

    #[test]
    fn what_the_writer_writes_is_taken() {
        for json in ["\"\"", "\"a\"", "\"größer\"", r#""\"""#, r#""a\\\"b\nc""#, r#""\u00e9\ud83d\ude00""#]
        {
            assert!(as_json(json, text), "{json}");
        }
        for json in ["0", "7", "10", "18446744073709551615"] {
            assert!(as_json(json, number), "{json}");
            assert!(as_json(json, float), "{json}");
        }
        for json in ["0.0", "67.5514966167153", "15863977.05882353", "0.1", "123456789012345678901234567890"]
        {
            assert!(as_json(json, float), "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_not_taken() {
        for json in
            ["", "\"", "\"a", "a", r#""\""#, r#""\x""#, r#""\ud83d""#, "\"\t\"", "\"\\", "\"\\\u{e9}\""]
        {
            assert!(!as_json(json, text), "{json}");
        }
        for json in ["", "00", "01", "-1", "1.", ".1", "1e5", "1.5e5", "18446744073709551616", "99 "] {
            assert!(!as_json(json, number), "{json}");
        }
        for json in ["", "00", "01.5", "1.", ".1", "-1.5", "1e5", &"9".repeat(400)] {
            assert!(!as_json(json, float), "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_that_of_json(words: String, count: u64, ratio in 0.0f64.., scraps in "[0-9.eE\"\\\\u+-]{0,12}") {
            prop_assert!(as_json(&serde_json::to_string(&words).unwrap(), text));
            prop_assert!(as_json(&count.to_string(), number));
            as_json(&serde_json::to_string(&ratio).unwrap(), float);
            as_json(&scraps, text);
            as_json(&format!("\"{scraps}\""), text);
            as_json(&scraps, number);
            as_json(&scraps, float);
        }

        #[test]
        fn any_time_is_that_of_the_parser(micros in -62_135_596_800_000_000i64..253_402_207_200_000_000) {
            let time = Timestamp::from_microsecond(micros).unwrap();
            let text = format!("\"{}\"", super::super::rfc3339(time));
            prop_assert_eq!(Canonical(&text).time(), Some(time));
        }

        /// Days and hours that no calendar has are left to the parser, which knows leap seconds.
        #[test]
        fn no_time_is_made_up(text in "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{6}Z") {
            if let Some(time) = Canonical(&format!("\"{text}\"")).time() {
                prop_assert_eq!(text.parse::<Timestamp>().ok(), Some(time));
            }
        }
    }
}
