//! The first messages of an end, kept small: thousands of paths have some.

use std::sync::Arc;

use backup_common::text;

/// Messages that are kept of an end.
pub const KEPT_MESSAGES: usize = 3;
/// Longest one, in bytes; longer ones are cut.
pub const KEPT_BYTES: usize = 200;

/// What rsync or ssh said, cleaned. A clone shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages(Option<Arc<[Box<str>]>>);

impl Messages {
    /// The first of these.
    pub fn first_of(messages: &[String]) -> Self {
        let kept = messages.iter().take(KEPT_MESSAGES).map(|message| text::clean(message, KEPT_BYTES).into());
        Self((!messages.is_empty()).then(|| kept.collect()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|messages| messages.iter()).map(|message| &**message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_in_number_and_bytes() {
        let long = vec!["é".repeat(400); 10];
        let kept = Messages::first_of(&long);
        assert_eq!(kept.iter().count(), KEPT_MESSAGES);
        assert!(kept.iter().all(|message| message.len() == KEPT_BYTES));
        assert_eq!(Messages::first_of(&[]), Messages::default());
    }
}
