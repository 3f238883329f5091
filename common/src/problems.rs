//! What is wrong with a file that a person wrote, all of it together.

use std::fmt;

/// One thing to mend: where it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from 1.
    pub line: usize,
    /// Path of the key, such as `hosts.server1.paths[0].dest_subdir`; empty for the whole file.
    pub key: String,
    /// What is wrong and the way out, lowercase and without a full stop.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        out.write_str(&self.message)
    }
}

/// Errors and warnings in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The file can not be used with these.
    pub errors: Vec<Problem>,
    /// The file can be used, but its author should know.
    pub warnings: Vec<Problem>,
}

impl Problems {
    /// Adds an error.
    pub fn error(&mut self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        self.errors.push(Problem { line, key: key.into(), message: message.into() });
    }

    /// Adds a warning.
    pub fn warning(&mut self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Problem { line, key: key.into(), message: message.into() });
    }

    /// Adds what else was found.
    pub fn append(&mut self, mut more: Self) {
        self.errors.append(&mut more.errors);
        self.warnings.append(&mut more.warnings);
    }

    /// Puts both lists in the order of the file; checks run in an order of their own.
    pub fn sort(&mut self) {
        self.errors.sort_by_key(|problem| problem.line);
        self.warnings.sort_by_key(|problem| problem.line);
    }
}
