//! Texts that were rendered of one version of the state, so that a crowd of readers costs one rendering.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use hyper::body::Bytes;

/// Texts that are kept.
const TEXTS: usize = 16;
/// Bytes of all of them together; a longer text is not kept at all.
const BYTES: usize = 8 << 20;

/// Texts by what they were asked for with, the oldest first.
#[derive(Debug, Default)]
pub struct Kept(Mutex<VecDeque<(String, Bytes)>>);

impl Kept {
    /// The text that was kept for a key; sharing it copies nothing.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == key).map(|(_, text)| text.clone())
    }

    /// Keeps a text, at the price of the oldest ones.
    pub fn keep(&self, key: String, text: Bytes) {
        if text.len() > BYTES {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((key, text));
        while kept.len() > TEXTS || kept.iter().map(|(_, text)| text.len()).sum::<usize>() > BYTES {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_in_number_and_bytes() {
        let kept = Kept::default();
        for number in 0..=TEXTS {
            kept.keep(number.to_string(), Bytes::from_static(b"text"));
        }
        assert!(kept.get("0").is_none() && kept.get("1").is_some());
        kept.keep("large".to_owned(), Bytes::from(vec![0; BYTES]));
        assert!(kept.get("1").is_none() && kept.get("large").is_some());
        kept.keep("too large".to_owned(), Bytes::from(vec![0; BYTES + 1]));
        assert!(kept.get("too large").is_none() && kept.get("large").is_some());
    }
}
