//! Prints an error with its causes, each once, in one line.

use std::error::Error;
use std::fmt;

/// Displays an error followed by its sources, joined by `: `.
///
/// Errors of this project do not repeat their source in their own `Display`, so the chain is
/// printed here and nowhere else.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(out, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read /etc/backup/backup.yaml")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn prints_each_cause_once() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(ErrorChain(&error).to_string(), "cannot read /etc/backup/backup.yaml: disk on fire");
    }
}
