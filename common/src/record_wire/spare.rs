//! The memory of records that were read and used up, for the next ones.
//!
//! A log of a million records is read at each start, as a rule by one thread for another. What the one takes from
//! the allocator and the other gives back costs both more than the reading itself.

use crate::record::{Body, PathFinished, Record};

/// Texts that are kept at most, and ends of paths: those of some hundred records.
const TEXTS: usize = 1024;
const ENDS: usize = 256;
/// Longest text that is kept, in bytes; the names of hosts and paths are shorter.
const TEXT_BYTES: usize = 256;

/// Memory to use again.
#[derive(Debug, Default)]
pub struct Spare {
    texts: Vec<String>,
    #[expect(clippy::vec_box, reason = "the boxes are what is used again")]
    ends: Vec<Box<PathFinished>>,
}

impl Spare {
    /// Takes apart a record that nobody needs any more.
    pub fn give(&mut self, record: Record) {
        self.keep(record.run_id);
        let texts = match record.body {
            Body::PathStarted(body) => [body.host, body.path, body.dest],
            Body::PathFinished(mut body) => {
                let texts = [&mut body.host, &mut body.path, &mut body.dest].map(std::mem::take);
                if self.ends.len() < ENDS {
                    // Unlike the rest, these can be long.
                    body.messages = Vec::new();
                    self.ends.push(body);
                }
                texts
            }
            _ => return,
        };
        for text in texts {
            self.keep(text);
        }
    }

    /// A copy of a text.
    pub(super) fn text(&mut self, text: &str) -> String {
        let mut copy = self.texts.pop().unwrap_or_default();
        copy.push_str(text);
        copy
    }

    /// An end of a path, in a box.
    pub(super) fn boxed(&mut self, end: PathFinished) -> Box<PathFinished> {
        match self.ends.pop() {
            Some(mut used) => {
                *used = end;
                used
            }
            None => Box::new(end),
        }
    }

    fn keep(&mut self, mut text: String) {
        if self.texts.len() < TEXTS && (1..=TEXT_BYTES).contains(&text.capacity()) {
            text.clear();
            self.texts.push(text);
        }
    }
}
