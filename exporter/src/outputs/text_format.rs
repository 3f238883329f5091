//! Prometheus's own text format 0.0.4, derived from `OpenMetrics` text.
//!
//! prometheus-client writes `OpenMetrics` only. The older format differs in what is written about a
//! family, not in the samples: there a family carries the name of its samples, so counters and
//! information keep their suffix in `HELP` and `TYPE`; `UNIT` and `EOF` do not exist; information is a
//! gauge and `unknown` is `untyped`.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

/// The same exposition in text format 0.0.4.
///
/// Covers what the catalogue can hold: gauges, counters and information without exemplars.
pub fn from_openmetrics(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    // HELP stands before TYPE, and its name depends on the type.
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = Some(described);
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            family(&mut out, help.take(), typed);
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn family(out: &mut String, help: Option<&str>, typed: &str) {
    let (name, kind) = typed.split_once(' ').unwrap_or((typed, "unknown"));
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        same => ("", same),
    };
    if let Some((_, text)) = help.and_then(|help| help.split_once(' ')) {
        out.extend(["# HELP ", name, suffix, " ", text, "\n"]);
    }
    out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn families_are_named_as_their_samples() {
        let openmetrics = "# HELP a_seconds Time\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1.5\n\
             # HELP b Count of b\n# TYPE b counter\nb_total{x=\"# EOF\"} 2\n\
             # TYPE c info\nc_info{v=\"1\"} 1\n# TYPE d unknown\nd 1\n# EOF\n";
        let text = "# HELP a_seconds Time\n# TYPE a_seconds gauge\na_seconds 1.5\n\
             # HELP b_total Count of b\n# TYPE b_total counter\nb_total{x=\"# EOF\"} 2\n\
             # TYPE c_info gauge\nc_info{v=\"1\"} 1\n# TYPE d untyped\nd 1\n";
        assert_eq!(from_openmetrics(openmetrics), text);
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
