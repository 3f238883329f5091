//! YAML as a tree in which every key and value knows its line.
//!
//! `serde_yaml` keeps one of two equal keys without a word, stops at the first problem and does not
//! say where a value stood. A host that is silently never backed up is the worst that a backup
//! config can do, so the config is read from this tree instead.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::problems::Problems;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// Most values in one file, with every alias counted as what it stands for: some twenty thousand paths, and no
/// more than 20 MB however they are made.
const MAX_NODES: usize = 200_000;

const TOO_MANY: &str = "the file holds too many values";

/// A value and the line on which it begins, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Line in the file.
    pub line: usize,
    /// What stands there.
    pub value: Value,
}

/// The three shapes of YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text as written; `plain` when it stood there without quotes.
    Scalar {
        /// The text without quotes and escapes.
        text: String,
        /// Written without quotes, so that `no`, `~` and `12` have their YAML meaning.
        plain: bool,
    },
    /// `- a`, `[a, b]`.
    Sequence(Vec<Node>),
    /// `key: value`, in the order of the file; keys are unique.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The key's text.
    pub text: String,
    /// Line in the file.
    pub line: usize,
}

impl Node {
    /// Whether this is `key:` with nothing behind it, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What this is, in the words of an error message.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Scalar { .. } => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a block of keys",
        }
    }

    /// Takes the block of keys out that stands behind a key, so that it can be used up; an empty one stays.
    pub fn take_block(&mut self, key: &str) -> Option<Vec<(Key, Self)>> {
        let Value::Mapping(entries) = &mut self.value else { return None };
        let (_, node) = entries.iter_mut().find(|(found, _)| found.text == key)?;
        let Value::Mapping(block) = &mut node.value else { return None };
        Some(std::mem::take(block))
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::Sequence(items) => items.iter().map(Self::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|(_, node)| 1 + node.size()).sum(),
        }
    }
}

/// Reads one YAML document. Duplicate keys become errors in `problems`, the first one is kept.
///
/// Returns nothing when the text is not YAML, is empty, holds several documents or goes beyond the
/// limits on depth and size; `problems` says where.
pub fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, problems };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.event(event, span.start.line().max(1))?,
            Err(error) => {
                let info = error.info().to_lowercase();
                builder.problems.error(error.marker().line(), "", format!("this is not YAML: {info}"));
                return None;
            }
        }
    }
    let root = builder.root;
    if root.as_ref().is_none_or(Node::is_null) {
        builder.problems.error(1, "", "the file is empty");
        return None;
    }
    root
}

/// A collection that is being read.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping(OpenMapping),
}

#[derive(Default)]
struct OpenMapping {
    entries: Vec<(Key, Node)>,
    lines: HashMap<String, usize>,
    key: Option<Key>,
    merged: Vec<Node>,
}

struct Builder<'p> {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    problems: &'p mut Problems,
}

impl Builder<'_> {
    /// Takes one event; `None` means that the file can not be read any further.
    fn event(&mut self, event: Event<'_>, line: usize) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                // The parser's own text has room for many times as much.
                let text = String::from(&*text);
                let node = Node { line, value: Value::Scalar { text, plain } };
                self.complete(node, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(line, anchor, Content::Mapping(OpenMapping::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop()?;
                // Most hold one or two values in a place for four, and there are ten thousands of them.
                let value = match open.content {
                    Content::Sequence(mut items) => {
                        items.shrink_to_fit();
                        Value::Sequence(items)
                    }
                    Content::Mapping(mapping) => {
                        let mut entries = self.close_mapping(mapping);
                        entries.shrink_to_fit();
                        Value::Mapping(entries)
                    }
                };
                self.complete(Node { line: open.line, value }, open.anchor)
            }
            Event::Alias(anchor) => {
                let Some(named) = self.anchors.get(&anchor) else {
                    return self.refuse(line, "an alias can not stand inside of what it names");
                };
                // Counted before it is copied.
                self.nodes += named.size();
                if self.nodes > MAX_NODES {
                    return self.refuse(line, TOO_MANY);
                }
                let node = named.clone();
                self.complete(Node { line, ..node }, 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                self.refuse(line, "a second document (---) begins here; only one is read")
            }
            _ => Some(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Content) -> Option<()> {
        if self.open.len() >= MAX_DEPTH {
            return self.refuse(line, "nested too deeply");
        }
        self.open.push(Open { line, anchor, content });
        Some(())
    }

    /// Puts a finished value where it belongs: the next key, the value of a key, an item, or the root.
    fn complete(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return self.refuse(node.line, TOO_MANY);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping(mapping)) => match mapping.key.take() {
                Some(key) => {
                    if let Some(repeated) = mapping.insert(key, node) {
                        let path = self.path_of(&repeated.key.text);
                        self.problems.error(repeated.key.line, path, repeated.message());
                    }
                }
                None => match node.value {
                    Value::Scalar { text, .. } => {
                        mapping.key = Some(Key { text, line: node.line });
                    }
                    _ => return self.refuse(node.line, "a key must be a single value"),
                },
            },
        }
        Some(())
    }

    /// Adds what `<<` brought in, without overriding what the mapping says itself.
    fn close_mapping(&mut self, mapping: OpenMapping) -> Vec<(Key, Node)> {
        let OpenMapping { mut entries, mut lines, merged, .. } = mapping;
        for node in merged {
            match node.value {
                Value::Mapping(inner) => {
                    for (key, value) in inner {
                        if lines.insert(key.text.clone(), key.line).is_none() {
                            entries.push((key, value));
                        }
                    }
                }
                _ => self.problems.error(node.line, "<<", "only a block of keys can be merged"),
            }
        }
        entries
    }

    /// The path of a key in the innermost block, such as `hosts.server1`.
    fn path_of(&self, key: &str) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.content {
                Content::Sequence(items) => path.extend(["[", &items.len().to_string(), "]"]),
                Content::Mapping(mapping) => {
                    let part = mapping.key.as_ref().map_or(key, |pending| &pending.text);
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path += part;
                }
            }
        }
        path
    }

    fn refuse(&mut self, line: usize, message: &str) -> Option<()> {
        self.problems.error(line, "", message);
        None
    }
}

/// A key that stands in a block for the second time.
struct Repeated {
    key: Key,
    first_line: usize,
}

impl Repeated {
    fn message(&self) -> String {
        let first = self.first_line;
        format!(
            "stands here for the second time; the first is on line {first}, and only one of them would count"
        )
    }
}

impl OpenMapping {
    fn insert(&mut self, key: Key, node: Node) -> Option<Repeated> {
        if key.text == "<<" {
            match node.value {
                Value::Sequence(items) => self.merged.extend(items),
                _ => self.merged.push(node),
            }
        } else if let Some(&first_line) = self.lines.get(&key.text) {
            return Some(Repeated { key, first_line });
        } else {
            self.lines.insert(key.text.clone(), key.line);
            self.entries.push((key, node));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        let root = parse(text, &mut problems);
        assert!(root.is_some() || !problems.errors.is_empty(), "nothing without a reason");
        problems.errors.iter().map(ToString::to_string).collect()
    }

    fn mapping(node: Node) -> Vec<(Key, Node)> {
        match node.value {
            Value::Mapping(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_key_and_value_knows_its_line() {
        let mut problems = Problems::default();
        let root = parse("\u{feff}a: 1\r\n\r\nb:\r\n  - x\r\n  - 'y'\r\n", &mut problems).unwrap();
        assert_eq!(problems, Problems::default());
        let entries = mapping(root);
        assert_eq!(entries[1].0, Key { text: "b".to_owned(), line: 3 });
        let Value::Sequence(items) = &entries[1].1.value else { panic!() };
        assert_eq!(items[1], Node { line: 5, value: Value::Scalar { text: "y".to_owned(), plain: false } });
    }

    #[test]
    fn a_duplicate_key_is_an_error() {
        let found = errors("hosts:\n  a: 1\n  b: 2\n  a: 3\n");
        assert_eq!(
            found,
            [
                "line 4: hosts.a: stands here for the second time; the first is on line 2, and only one of them would count"
            ]
        );
    }

    #[test]
    fn a_duplicate_key_has_its_whole_path() {
        let found = errors("h:\n  paths:\n  - {path: /a}\n  - {path: /b, path: /c}\n");
        assert!(found[0].starts_with("line 4: h.paths[1].path: stands here"), "{found:?}");
    }

    #[test]
    fn aliases_and_merges_are_read() {
        let mut problems = Problems::default();
        let root = parse("base: &b {x: 1, y: 2}\nhost:\n  <<: *b\n  y: 3\n", &mut problems).unwrap();
        let host = mapping(mapping(root).remove(1).1);
        let keys: Vec<_> = host.iter().map(|(key, _)| key.text.as_str()).collect();
        assert_eq!(keys, ["y", "x"]);
        assert!(matches!(&host[0].1.value, Value::Scalar { text, .. } if text == "3"));
    }

    #[test]
    fn hostile_files_end_with_a_reason() {
        let bomb = (1..10).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            format!("{text}a{level}: &a{level} [{items}]\n")
        });
        assert!(errors(&bomb)[0].contains("too many values"));
        assert!(errors(&"[".repeat(100_000))[0].starts_with("line 1: "));
        let steps = (0..100).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n");
        assert_eq!(errors(&steps), ["line 65: nested too deeply"]);
        assert!(errors("a: 1\n---\na: 2\n")[0].contains("second document"));
        assert!(errors("")[0].contains("empty"));
        assert!(errors("# nothing\n")[0].contains("empty"));
        assert!(
            errors("a:\n\tb: 1\n")[0].starts_with("line 2: this is not YAML"),
            "{:?}",
            errors("a:\n\tb: 1\n")
        );
        assert!(errors("? [a]\n: 1\n")[0].contains("a key must be a single value"));
        assert!(errors("a: &a [*a]\n")[0].starts_with("line 1"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-c:\\-&*<>\\[\\]{}#'\"|!?, \n\t]{0,60}") {
            errors(&text);
        }
    }
}
