//! Standard output and standard error, for a program whose work does not end with its reader.

use std::io::{self, Write};

/// Prints a line; a closed pipe or a full disk behind it does not matter to the backup.
pub fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints a line to standard error.
pub fn error_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
