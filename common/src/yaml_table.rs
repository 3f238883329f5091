//! Takes typed values out of a block of keys and reports what does not fit, all of it.

use std::time::Duration;

use crate::problems::Problems;
use crate::yaml::{Key, Node, Value};

/// A value with the line it stood on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// Line in the file.
    pub line: usize,
    /// The value.
    pub value: T,
}

/// A block of keys that is being read; the keys that are asked for are the keys that are known.
pub struct Table<'a> {
    entries: &'a [(Key, Node)],
    path: String,
    line: usize,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// Opens a node as a block of keys. An empty one (`config:`) has no keys.
    pub fn open(node: &'a Node, path: String, problems: &mut Problems) -> Self {
        let entries = match &node.value {
            Value::Mapping(entries) => entries.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                problems.error(
                    node.line,
                    path.clone(),
                    format!("expected a block of keys, found {}", node.kind()),
                );
                &[]
            }
        };
        Self { entries, path, line: node.line, known: Vec::new() }
    }

    /// Line on which the block begins.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The full path of one of its keys.
    pub fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// All entries, for a block whose keys are names that the user chose.
    pub fn entries(&self) -> &'a [(Key, Node)] {
        self.entries
    }

    /// The node behind a key, unless there is none or it is empty.
    pub fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries
            .iter()
            .find(|(found, _)| found.text == key)
            .map(|(_, node)| node)
            .filter(|node| !node.is_null())
    }

    /// A text; numbers and the like are taken as written.
    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<Located<String>> {
        let node = self.node(key)?;
        self.scalar(key, node, "text", problems, |text| Some(text.to_owned()))
    }

    /// A text that may be empty and still counts as given, as in `ssh_user: ""`.
    pub fn text_or_empty(&mut self, key: &'static str, problems: &mut Problems) -> Option<Located<String>> {
        self.known.push(key);
        let node = self.entries.iter().find(|(found, _)| found.text == key).map(|(_, node)| node)?;
        if node.is_null() {
            return Some(Located { line: node.line, value: String::new() });
        }
        self.scalar(key, node, "text", problems, |text| Some(text.to_owned()))
    }

    /// A whole number.
    pub fn number(&mut self, key: &'static str, problems: &mut Problems) -> Option<Located<u64>> {
        let node = self.node(key)?;
        self.scalar(key, node, "a whole number", problems, |text| text.parse().ok())
    }

    /// `true` or `false`; the `yes`, `no`, `on`, `off` of YAML 1.1 as well, which older files hold.
    pub fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<Located<bool>> {
        let node = self.node(key)?;
        self.scalar(key, node, "true or false", problems, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// A duration: seconds, or a number with `s`, `min`, `h` or `d`.
    pub fn duration(&mut self, key: &'static str, problems: &mut Problems) -> Option<Located<Duration>> {
        let node = self.node(key)?;
        self.scalar(key, node, "a duration such as 90, 30 s, 10 min, 2 h or 1 d", problems, parse_duration)
    }

    /// A number of bytes, or a share: `5368709120`, `5 GiB`, `5%`.
    pub fn amount(&mut self, key: &'static str, problems: &mut Problems) -> Option<Located<Amount>> {
        let node = self.node(key)?;
        self.scalar(key, node, "an amount such as 5368709120, 5 GiB or 5%", problems, parse_amount)
    }

    /// A list of texts; a single text is a list of one.
    pub fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<Located<String>>> {
        let node = self.node(key)?;
        let Value::Sequence(items) = &node.value else {
            return self
                .scalar(key, node, "text or a list of texts", problems, |text| Some(text.to_owned()))
                .map(|one| vec![one]);
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match &item.value {
                Value::Scalar { text, .. } => texts.push(Located { line: item.line, value: text.clone() }),
                _ => problems.error(
                    item.line,
                    format!("{}[{index}]", self.key_path(key)),
                    format!("expected text, found {}", item.kind()),
                ),
            }
        }
        Some(texts)
    }

    /// The items of a list of blocks, each with its path.
    pub fn blocks(&mut self, key: &'static str, problems: &mut Problems) -> Vec<(&'a Node, String)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let path = self.key_path(key);
        let Value::Sequence(items) = &node.value else {
            problems.error(
                node.line,
                path,
                format!("expected a list (each item begins with \"- \"), found {}", node.kind()),
            );
            return Vec::new();
        };
        items.iter().enumerate().map(|(index, item)| (item, format!("{path}[{index}]"))).collect()
    }

    /// Reports the keys that nobody asked for, with the nearest known one.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries {
            if self.known.contains(&key.text.as_str()) {
                continue;
            }
            let hint = match nearest(&key.text, &self.known) {
                Some(near) => format!("unknown key; did you mean {near}?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            problems.error(key.line, self.key_path(&key.text), hint);
        }
    }

    fn scalar<T>(
        &self,
        key: &str,
        node: &Node,
        expected: &str,
        problems: &mut Problems,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Located<T>> {
        let found = match &node.value {
            Value::Scalar { text, .. } => match read(text.trim()) {
                Some(value) => {
                    return Some(Located { line: node.line, value });
                }
                None => format!("\"{text}\""),
            },
            _ => node.kind().to_owned(),
        };
        problems.error(node.line, self.key_path(key), format!("expected {expected}, found {found}"));
        None
    }
}

/// Bytes, or a share of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes (or files, where the key counts files).
    Count(u64),
    /// Per cent, 0 to 100.
    Percent(u8),
}

fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let closest = known.iter().map(|name| (strsim::damerau_levenshtein(key, name), *name)).min()?;
    (closest.0 <= 2 || closest.0 * 3 <= key.len()).then_some(closest.1)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "" | "s" | "sec" | "seconds" => 1.0,
        "m" | "min" | "minutes" => 60.0,
        "h" | "hours" => 3600.0,
        "d" | "days" => 86_400.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * factor;
    // A century is more than anybody waits, and keeps all later sums in range.
    (0.0..=3.2e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

fn parse_amount(text: &str) -> Option<Amount> {
    let (number, unit) = split_unit(text);
    if unit == "%" {
        return number.parse().ok().filter(|percent| *percent <= 100).map(Amount::Percent);
    }
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "k" | "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).map(Amount::Count)
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("90", 90.0), ("1.5 h", 5400.0), ("10 min", 600.0), ("10m", 600.0), ("0", 0.0)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "-1", "ten", "5 weeks", "1e9", "99999999999", "1.2.3"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn amounts() {
        for (text, amount) in [
            ("0", Amount::Count(0)),
            ("5 GiB", Amount::Count(5 << 30)),
            ("5G", Amount::Count(5 << 30)),
            ("500 kB", Amount::Count(500 << 10)),
            ("20%", Amount::Percent(20)),
        ] {
            assert_eq!(parse_amount(text), Some(amount), "{text}");
        }
        for text in ["", "101%", "-1", "99999999999 T", "5 X", "1.5 G"] {
            assert_eq!(parse_amount(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_key_is_near() {
        let known = ["ssh_user", "ssh_port", "paths"];
        assert_eq!(nearest("ssh_prot", &known), Some("ssh_port"));
        assert_eq!(nearest("path", &known), Some("paths"));
        assert_eq!(nearest("colour", &known), None);
    }
}
