//! YAML as a tree in which every key and value knows its line.
//!
//! `serde_yaml` keeps one of two equal keys without a word, stops at the first problem and does not
//! say where a value stood. A host that is silently never backed up is the worst that a backup
//! config can do, so the config is read from this tree instead.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

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
    Reader::new(text, None).finish(problems)
}

/// Reads one YAML document piece by piece: the entries of one of its outermost blocks can be taken out while it is
/// read, so that thousands of them need not be there at once.
pub struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    builder: Builder,
    is_broken: bool,
}

impl<'t> Reader<'t> {
    /// Begins to read; `taken_apart` is the key of the block whose entries can be taken out.
    pub fn new(text: &'t str, taken_apart: Option<&'static str>) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let events = Parser::new_from_str(text);
        Self { events, builder: Builder { taken_apart, ..Builder::default() }, is_broken: false }
    }

    /// Reads until the block begins whose entries can be taken out; false where there is none, or it has a name
    /// (`&anchor`) under which it may be wanted again as a whole.
    pub fn reach_block(&mut self) -> bool {
        while self.read_on() {
            if self.builder.is_in_block() {
                return true;
            }
        }
        false
    }

    /// What stands behind a key of the outermost block, as far as it is read.
    pub fn outermost(&self, key: &str) -> Option<&Node> {
        let Content::Mapping(mapping) = &self.builder.open.first()?.content else { return None };
        mapping.entries.iter().find(|(found, _)| found.text == key).map(|(_, node)| node)
    }

    /// Reads the next entry of the block; `None` at its end. What came by `<<` stays in it.
    pub fn next_entry(&mut self) -> Option<(Key, Node)> {
        while self.builder.is_in_block() && self.read_on() {
            if let Some(entry) = self.builder.take_entry() {
                return Some(entry);
            }
        }
        None
    }

    /// Reads to the end; the result and the problems are those of [`parse`], without the entries that were taken out.
    pub fn finish(mut self, problems: &mut Problems) -> Option<Node> {
        while self.read_on() {}
        let root = self.builder.root.take();
        let is_empty = root.as_ref().is_none_or(Node::is_null);
        if is_empty && !self.is_broken {
            self.builder.problems.error(1, "", "the file is empty");
        }
        problems.append(self.builder.problems);
        root.filter(|_| !is_empty && !self.is_broken)
    }

    /// Takes one event; false at the end, or where the file can not be read any further.
    fn read_on(&mut self) -> bool {
        if self.is_broken {
            return false;
        }
        let taken = match self.events.next() {
            None => return false,
            Some(Ok((event, span))) => self.builder.event(event, span.start.line().max(1)),
            Some(Err(error)) => {
                let message = format!("this is not YAML: {}", error.info().to_lowercase());
                self.builder.refuse(error.marker().line(), &message)
            }
        };
        self.is_broken = taken.is_none();
        taken.is_some()
    }
}

/// A collection that is being read.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
    /// Its entries can be taken out.
    is_block: bool,
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

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    problems: Problems,
    /// Key of the outermost block whose entries can be taken out.
    taken_apart: Option<&'static str>,
}

impl Builder {
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
        let is_block = anchor == 0 && matches!(content, Content::Mapping(_)) && self.is_before_block();
        self.open.push(Open { line, anchor, content, is_block });
        Some(())
    }

    /// Whether the next value is the one whose entries can be taken out; a repeated key is none.
    fn is_before_block(&self) -> bool {
        let [Open { content: Content::Mapping(root), .. }] = self.open.as_slice() else { return false };
        let key = root.key.as_ref().map(|key| key.text.as_str());
        key.is_some_and(|key| Some(key) == self.taken_apart && !root.lines.contains_key(key))
    }

    fn is_in_block(&self) -> bool {
        self.open.get(1).is_some_and(|open| open.is_block)
    }

    /// Takes an entry out of the block that is complete; that it was there is remembered, for it may come again.
    fn take_entry(&mut self) -> Option<(Key, Node)> {
        match self.open.as_mut_slice() {
            [_, Open { content: Content::Mapping(block), is_block: true, .. }] => block.entries.pop(),
            _ => None,
        }
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
mod tests;
