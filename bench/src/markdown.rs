//! The results as `docs/benchmarks.md`.

use std::fmt::Write;

use crate::results::{Check, Results, Section, Series, median};

const HEAD: &str = "\
# Benchmarks

Written by `make bench`; the raw results stand in `bench/results/`. `make bench ONLY=replay` measures one row again, `SCALE=1` takes
the full amount of data, `ROUNDS=5` more rounds. Rounds are interleaved: each subject has its turn in each round. A value is the median of the
rounds, with the smallest and the largest behind it; a ratio is the median of the rounds' own ratios.

";

/// The whole document.
pub fn render(results: &Results) -> String {
    let mut out = HEAD.to_owned();
    out.push_str("## The machine\n\n| what | value |\n| --- | --- |\n");
    for (what, value) in &results.machine {
        let _ = writeln!(out, "| {what} | {value} |");
    }
    out.push_str("\n## Targets\n\n| row | what | reached | target | |\n| --- | --- | ---: | ---: | --- |\n");
    for section in &results.sections {
        for check in &section.checks {
            let _ = writeln!(out, "| {} | {} |", section.name, target(check));
        }
    }
    for section in &results.sections {
        out.push_str(&self::section(section));
    }
    out
}

fn target(check: &Check) -> String {
    let sign = if check.at_most { "≤" } else { "≥" };
    let verdict = if check.is_reached() { "yes" } else { "**no**" };
    let Check { what, value, unit, target, .. } = check;
    format!("{what} | {} {unit} | {sign} {} {unit} | {verdict}", number(*value), number(*target))
}

fn section(section: &Section) -> String {
    let mut out = format!(
        "\n## {}: {}\n\n{}\n\nMeasured {} at scale {}, with {:.0} % of the processors in use by others just before; load average {:.1} before and {:.1} after.\n",
        section.name,
        section.title,
        section.about,
        section.time,
        section.scale,
        section.busy * 100.0,
        section.load.0,
        section.load.1
    );
    if !section.series.is_empty() {
        out.push_str(
            "\n| case | subject | quantity | median | smallest – largest | rounds |\n| --- | --- | --- | ---: | ---: | ---: |\n",
        );
        for series in &section.series {
            let _ = writeln!(out, "{}", line(series));
        }
    }
    if !section.notes.is_empty() {
        out.push('\n');
    }
    for note in &section.notes {
        let _ = writeln!(out, "- {note}");
    }
    out
}

fn line(series: &Series) -> String {
    let Series { case, subject, quantity, unit, values } = series;
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!(
        "| {case} | {subject} | {quantity} | {} {unit} | {} – {} | {} |",
        number(median(values).unwrap_or(f64::NAN)),
        number(least),
        number(most),
        values.len()
    )
}

/// Three digits that count, and thousands set apart.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        ..0.1 => 4,
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((&*text, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0
            && (whole.len() - place).is_multiple_of(3)
            && digit.is_ascii_digit()
            && !grouped.ends_with('-')
        {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    rest.map_or_else(|| grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.5, "0.500"),
            (1.034, "1.03"),
            (12.34, "12.3"),
            (286_123.4, "286 123"),
            (1_000_000.0, "1 000 000"),
            (-123.0, "-123"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_document() {
        let mut section =
            Section { name: "replay".to_owned(), title: "Replay".to_owned(), ..Section::default() };
        section.add("all", "ours", "wall", "s", 2.0);
        section.add("all", "ours", "wall", "s", 4.0);
        section.at_most("wall", section.median("all", "ours", "wall"), "s", 2.5);
        section.note("A note.");
        let results =
            Results { machine: vec![("cores".to_owned(), "2".to_owned())], sections: vec![section] };
        let text = render(&results);
        for wanted in [
            "| cores | 2 |",
            "| replay | wall | 3.00 s | ≤ 2.50 s | **no** |",
            "| all | ours | wall | 3.00 s | 2.00 – 4.00 | 2 |",
            "- A note.",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in {text}");
        }
    }
}
