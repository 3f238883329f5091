//! What was measured, as it is kept in a file.

use serde::{Deserialize, Serialize};

/// All rows that were measured on a machine.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Facts about the machine and the versions of the programs, in the order in which they are shown.
    pub machine: Vec<(String, String)>,
    /// The rows in their order.
    pub sections: Vec<Section>,
}

/// One row of the table of targets with everything behind it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Section {
    /// Name on the command line.
    pub name: String,
    /// Heading.
    pub title: String,
    /// What was done, in sentences.
    pub about: String,
    /// When it was measured, in UTC.
    pub time: String,
    /// Share of the full amount of data; 1 is all.
    pub scale: f64,
    /// Share of all processors that was in use by others in the second before.
    #[serde(default)]
    pub busy: f64,
    /// Load average of a minute, before and after; the row before is in it.
    pub load: (f64, f64),
    /// The measured values.
    pub series: Vec<Series>,
    /// The targets and what was reached.
    pub checks: Vec<Check>,
    /// What has to be known to read the figures.
    pub notes: Vec<String>,
}

/// One quantity of one subject in each round.
#[derive(Debug, Serialize, Deserialize)]
pub struct Series {
    /// Under which circumstances, such as `nothing changed`.
    pub case: String,
    /// What was measured, such as the name of a program.
    pub subject: String,
    /// What of it, such as `wall`.
    pub quantity: String,
    /// Unit of the values.
    pub unit: String,
    /// One value for each round.
    pub values: Vec<f64>,
}

/// A target.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    /// What is compared with what.
    pub what: String,
    /// The value that was reached.
    pub value: f64,
    /// How the value is written.
    pub unit: String,
    /// The bound.
    pub target: f64,
    /// Whether the value has to be at most the bound, and not at least.
    pub at_most: bool,
}

impl Check {
    /// Whether the target is reached.
    pub fn is_reached(&self) -> bool {
        if self.at_most { self.value <= self.target } else { self.value >= self.target }
    }
}

impl Section {
    /// Adds the value of a round.
    pub fn add(&mut self, case: &str, subject: &str, quantity: &str, unit: &str, value: f64) {
        let known = self
            .series
            .iter_mut()
            .find(|series| (&*series.case, &*series.subject, &*series.quantity) == (case, subject, quantity));
        match known {
            Some(series) => series.values.push(value),
            None => self.series.push(Series {
                case: case.to_owned(),
                subject: subject.to_owned(),
                quantity: quantity.to_owned(),
                unit: unit.to_owned(),
                values: vec![value],
            }),
        }
    }

    /// The median of what was measured; none if it was not.
    pub fn median(&self, case: &str, subject: &str, quantity: &str) -> Option<f64> {
        let found = self.series.iter().find(|series| {
            (&*series.case, &*series.subject, &*series.quantity) == (case, subject, quantity)
        })?;
        median(&found.values)
    }

    /// The median of a quantity of one subject by that of another, from the rounds' own ratios.
    pub fn ratio(&self, case: &str, quantity: &str, subject: &str, beside: &str) -> Option<f64> {
        let values = |subject: &str| {
            let found = self.series.iter().find(|series| {
                (&*series.case, &*series.subject, &*series.quantity) == (case, subject, quantity)
            });
            found.map(|series| series.values.clone())
        };
        let (ours, theirs) = (values(subject)?, values(beside)?);
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        median(&ratios)
    }

    /// Notes a target, unless there is no value to hold against it.
    pub fn at_most(&mut self, what: &str, value: Option<f64>, unit: &str, target: f64) {
        self.check(what, value, unit, target, true);
    }

    /// As [`Self::at_most`], the other way round.
    pub fn at_least(&mut self, what: &str, value: Option<f64>, unit: &str, target: f64) {
        self.check(what, value, unit, target, false);
    }

    fn check(&mut self, what: &str, value: Option<f64>, unit: &str, target: f64, at_most: bool) {
        match value {
            Some(value) => self.checks.push(Check {
                what: what.to_owned(),
                value,
                unit: unit.to_owned(),
                target,
                at_most,
            }),
            None => self.notes.push(format!("Not measured: {what}.")),
        }
    }

    /// Notes something that has to be known to read the figures.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_those_of_the_rounds() {
        let mut section = Section::default();
        for (ours, theirs) in [(1.0, 2.0), (30.0, 10.0), (4.0, 4.0)] {
            section.add("c", "ours", "wall", "s", ours);
            section.add("c", "theirs", "wall", "s", theirs);
        }
        assert_eq!(section.ratio("c", "wall", "ours", "theirs"), Some(1.0));
        assert_eq!(section.ratio("c", "wall", "ours", "nobody"), None);
        section.at_most("x", Some(1.0), "×", 1.0);
        section.at_least("x", Some(0.9), "×", 1.0);
        section.at_most("y", None, "×", 1.0);
        assert_eq!(section.checks.iter().map(Check::is_reached).collect::<Vec<_>>(), [true, false]);
        assert_eq!(section.notes, ["Not measured: y."]);
    }
}
