//! A bar on standard error while something slow is measured; nothing where that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of so many steps.
pub fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    // A template that is constant; if it were wrong, the bar would only look different.
    if let Ok(style) = ProgressStyle::with_template("[{bar:20}] {pos}/{len} {elapsed} {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
