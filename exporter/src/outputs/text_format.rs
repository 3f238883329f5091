//! Prometheus's own text format 0.0.4, derived from `OpenMetrics` text.
//!
//! prometheus-client writes `OpenMetrics` only. The older format differs in what is written about a
//! family, not in the samples: there a family carries the name of its samples, so counters and
//! information keep their suffix in `HELP` and `TYPE`; `UNIT` and `EOF` do not exist; information is a
//! gauge and `unknown` is `untyped`.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::{self, Write};

/// Takes `OpenMetrics` text in pieces and writes it to `out` in text format 0.0.4, line by line.
///
/// Covers what the catalogue can hold: gauges, counters and information without exemplars.
#[derive(Debug)]
pub struct TextFormat<'a, W> {
    out: &'a mut W,
    /// The line about a family that is being taken in.
    described: String,
    at: At,
    /// HELP stands before TYPE, and its name depends on the type.
    help: Option<String>,
}

/// Where in the text the next piece belongs.
#[derive(Clone, Copy, Debug)]
enum At {
    /// At the begin of a line.
    Begin,
    /// In a line about a family.
    Described,
    /// In a sample, which is passed on as it comes: nearly all of the text is samples.
    Sample,
}

impl<'a, W: Write> TextFormat<'a, W> {
    /// Nothing has come yet.
    pub fn new(out: &'a mut W) -> Self {
        Self { out, described: String::new(), at: At::Begin, help: None }
    }

    /// Takes a piece without a newline.
    fn piece(&mut self, text: &str) -> fmt::Result {
        if let (At::Begin, Some(first)) = (self.at, text.as_bytes().first()) {
            self.at = if *first == b'#' { At::Described } else { At::Sample };
        }
        match self.at {
            At::Begin => Ok(()),
            At::Described => {
                self.described.push_str(text);
                Ok(())
            }
            At::Sample => self.out.write_str(text),
        }
    }

    fn end_line(&mut self) -> fmt::Result {
        match self.at {
            At::Begin | At::Sample => self.out.write_str("\n")?,
            At::Described => {
                if let Some(described) = self.described.strip_prefix("# HELP ") {
                    self.help = Some(described.to_owned());
                } else if let Some(typed) = self.described.strip_prefix("# TYPE ") {
                    family(self.out, self.help.take().as_deref(), typed)?;
                }
                self.described.clear();
            }
        }
        self.at = At::Begin;
        Ok(())
    }
}

impl<W: Write> Write for TextFormat<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Only the ends of lines come with a newline, alone as a rule. Without a way out in between, the compiler looks
        // at many bytes at a time.
        if !text.bytes().fold(false, |found, byte| found | matches!(byte, b'\n')) {
            return self.piece(text);
        }
        let mut pieces = text.split('\n');
        self.piece(pieces.next().unwrap_or_default())?;
        pieces.try_for_each(|piece| {
            self.end_line()?;
            self.piece(piece)
        })
    }
}

fn family(out: &mut impl Write, help: Option<&str>, typed: &str) -> fmt::Result {
    let (name, kind) = typed.split_once(' ').unwrap_or((typed, "unknown"));
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        same => ("", same),
    };
    if let Some((_, text)) = help.and_then(|help| help.split_once(' ')) {
        writeln!(out, "# HELP {name}{suffix} {text}")?;
    }
    writeln!(out, "# TYPE {name}{suffix} {kind}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from_openmetrics(openmetrics: &str) -> String {
        let mut out = String::new();
        TextFormat::new(&mut out).write_str(openmetrics).unwrap();
        out
    }

    #[test]
    fn families_are_named_as_their_samples() {
        let openmetrics = "# HELP a_seconds Time\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1.5\n\
             # HELP b Count of b\n# TYPE b counter\nb_total{x=\"# EOF\"} 2\n\
             # TYPE c info\nc_info{v=\"1\"} 1\n# TYPE d unknown\nd 1\n# EOF\n";
        let text = "# HELP a_seconds Time\n# TYPE a_seconds gauge\na_seconds 1.5\n\
             # HELP b_total Count of b\n# TYPE b_total counter\nb_total{x=\"# EOF\"} 2\n\
             # TYPE c_info gauge\nc_info{v=\"1\"} 1\n# TYPE d untyped\nd 1\n";
        assert_eq!(from_openmetrics(openmetrics), text);
        let mut in_pieces = String::new();
        let mut format = TextFormat::new(&mut in_pieces);
        openmetrics.chars().for_each(|piece| format.write_char(piece).unwrap());
        assert_eq!(in_pieces, text);
    }

    proptest! {
        #[test]
        fn samples_stay_as_they_are(lines in proptest::collection::vec("[^\n\r#][^\n\r]{0,30}|# [A-Z]{3,4} [a-z ]{0,20}", 0..20)) {
            let openmetrics = lines.join("\n") + "\n";
            let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
            let text = from_openmetrics(&openmetrics);
            prop_assert_eq!(samples(&text), samples(&openmetrics));
            prop_assert!(text.lines().filter(|line| line.starts_with('#')).all(|line| line.starts_with("# HELP ") || line.starts_with("# TYPE ")));
        }
    }
}
