//! The text of an expression into its parts.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::chain::{Chain, Component};
use super::{Calendar, MAX_YEAR, SECOND};

/// Longest list in one part of an expression, as in systemd.
const COMPONENTS: usize = 240;

/// Why a text is no calendar expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the calendar expression {0:?}")]
pub struct CalendarError(String);

pub(super) fn parse(text: &str) -> Result<Calendar, CalendarError> {
    let error = || CalendarError(backup_common::text::clean(text, 200));
    let (text, zone) = split_zone(text);
    let mut calendar = shorthand(text).or_else(|| Parser(text).expression()).ok_or_else(error)?;
    calendar.zone = zone.or(calendar.zone);
    is_valid(&calendar).then_some(calendar).ok_or_else(error)
}

fn split_zone(text: &str) -> (&str, Option<TimeZone>) {
    let Some((rest, name)) = text.rsplit_once(' ') else { return (text, None) };
    if name.eq_ignore_ascii_case("UTC") {
        return (rest, Some(TimeZone::UTC));
    }
    match name.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| TimeZone::get(name)) {
        Some(Ok(zone)) => (rest, Some(zone)),
        _ => (text, None),
    }
}

fn shorthand(text: &str) -> Option<Calendar> {
    let midnight = || Calendar { hours: one(0), ..hourly() };
    let first_of = |months: &[u32]| Calendar { months: Chain::numbers(months), days: one(1), ..midnight() };
    let calendar = match text.to_ascii_lowercase().as_str() {
        "minutely" => Calendar { minutes: Chain::ANY, ..hourly() },
        "hourly" => hourly(),
        "daily" => midnight(),
        "weekly" => Calendar { weekdays: [true, false, false, false, false, false, false], ..midnight() },
        "monthly" => Calendar { days: one(1), ..midnight() },
        "quarterly" => first_of(&[1, 4, 7, 10]),
        "semiannually" | "semi-annually" | "biannually" | "bi-annually" => first_of(&[1, 7]),
        "yearly" | "annually" | "anually" => first_of(&[1]),
        _ => return None,
    };
    Some(calendar)
}

fn one(number: u32) -> Chain {
    Chain::numbers(&[number])
}

fn hourly() -> Calendar {
    Calendar {
        weekdays: [false; 7],
        years: Chain::ANY,
        months: Chain::ANY,
        days: Chain::ANY,
        from_end: false,
        hours: Chain::ANY,
        minutes: one(0),
        seconds: one(0),
        zone: None,
    }
}

fn is_valid(calendar: &Calendar) -> bool {
    calendar.years.is_valid(1970, u32::from(MAX_YEAR.unsigned_abs()), false)
        && calendar.months.is_valid(1, 12, false)
        && calendar.days.is_valid(1, 31, calendar.from_end)
        && calendar.hours.is_valid(0, 23, false)
        && calendar.minutes.is_valid(0, 59, false)
        && calendar.seconds.is_valid(0, 60 * SECOND - 1, false)
}

/// What is left of the text.
#[derive(Clone, Copy)]
struct Parser<'a>(&'a str);

impl Parser<'_> {
    fn expression(mut self) -> Option<Calendar> {
        if self.0.is_empty() {
            return None;
        }
        let mut calendar = Calendar { hours: one(0), ..hourly() };
        calendar.weekdays = self.weekdays()?;
        if let Some(seconds) = self.0.strip_prefix('@') {
            return Some(Calendar { weekdays: calendar.weekdays, ..at(seconds.parse().ok()?)? });
        }
        // The first part decides: before a colon, or alone, it is an hour.
        let mut ahead = self;
        if ahead.chain(1).is_some() && !matches!(ahead.0.bytes().next(), None | Some(b':')) {
            self.date(&mut calendar)?;
        }
        if !self.0.is_empty() {
            self.time(&mut calendar)?;
        }
        self.0.is_empty().then_some(calendar)
    }

    /// `Mon,Wed..Fri`, in any case, short or in full; none is all.
    fn weekdays(&mut self) -> Option<[bool; 7]> {
        let mut days = [false; 7];
        let mut range_from = None;
        let mut first = true;
        loop {
            let Some((day, rest)) = weekday(self.0) else { return first.then_some(days) };
            let from = range_from.unwrap_or(day);
            if from > day {
                return None;
            }
            days[from..=day].fill(true);
            self.0 = rest;
            first = false;
            if rest.is_empty() || rest.starts_with(' ') {
                self.spaces();
                return Some(days);
            }
            let range = self.eat("..") || self.eat("-");
            if range && range_from.is_some() || !range && !self.eat(",") {
                return None;
            }
            range_from = range.then_some(day);
            // A comma may stand at the end, an open range may not.
            if self.0.is_empty() || self.0.starts_with(' ') {
                self.spaces();
                return range_from.is_none().then_some(days);
            }
        }
    }

    fn date(&mut self, calendar: &mut Calendar) -> Option<()> {
        let first = self.chain(1)?;
        calendar.from_end = self.separator()?;
        let second = self.chain(1)?;
        if self.0.is_empty() || self.0.starts_with(' ') {
            (calendar.months, calendar.days) = (first, second);
        } else if calendar.from_end {
            return None;
        } else {
            calendar.from_end = self.separator()?;
            calendar.years = first.with_whole_years();
            (calendar.months, calendar.days) = (second, self.chain(1)?);
            if !self.0.is_empty() && !self.0.starts_with(' ') {
                return None;
            }
        }
        // The last of any day is any day.
        calendar.from_end &= calendar.days != Chain::ANY;
        self.spaces();
        Some(())
    }

    /// `-`, or `~` if the days that follow are counted from the end of the month.
    fn separator(&mut self) -> Option<bool> {
        let from_end = self.eat("~");
        (from_end || self.eat("-")).then_some(from_end)
    }

    fn time(&mut self, calendar: &mut Calendar) -> Option<()> {
        calendar.hours = self.chain(1)?;
        self.eat(":").then_some(())?;
        calendar.minutes = self.chain(1)?;
        if self.eat(":") {
            calendar.seconds = self.chain(SECOND)?;
        }
        Some(())
    }

    /// A list; its numbers count in `unit`s, with decimals if that is more than one.
    fn chain(&mut self, unit: u32) -> Option<Chain> {
        if self.eat("*") {
            let every_second = Component { start: 0, stop: None, repeat: SECOND };
            return Some(if unit == 1 { Chain::ANY } else { Chain::of(vec![every_second]) });
        }
        let mut components = Vec::new();
        loop {
            components.push(self.component(unit)?);
            if components.len() > COMPONENTS {
                return None;
            }
            if !self.eat(",") {
                return Some(Chain::of(components));
            }
        }
    }

    fn component(&mut self, unit: u32) -> Option<Component> {
        let start = self.number(unit)?;
        let mut component = Component { start, stop: None, repeat: 0 };
        if self.eat("..") {
            component = Component { stop: Some(self.number(unit)?), repeat: unit, ..component };
        }
        if self.eat("/") {
            component.repeat = self.number(unit).filter(|&repeat| repeat > 0)?;
        }
        // A range ends at its last step, and one of a single number is that number.
        if let Some(stop) = component.stop.filter(|&stop| stop >= start) {
            let last = stop - (stop - start) % component.repeat;
            let range = Component { stop: Some(last), ..component };
            component = if last > start { range } else { Component { stop: None, repeat: 0, ..component } };
        }
        let ended = self.0.is_empty() || self.0.starts_with([' ', ',', '-', '~', ':']);
        ended.then_some(component)
    }

    fn number(&mut self, unit: u32) -> Option<u32> {
        let whole: u32 = self.digits()?.parse().ok()?;
        let mut value = whole.checked_mul(unit)?;
        // One point begins the decimals, two are a range.
        if unit > 1 && self.0.starts_with('.') && !self.0.starts_with("..") {
            self.eat(".");
            let decimals = format!("{:0<6}", self.digits()?);
            value = value.checked_add(decimals.get(..6)?.parse().ok()?)?;
        }
        (value <= i32::MAX.unsigned_abs()).then_some(value)
    }

    fn digits(&mut self) -> Option<&str> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        (!digits.is_empty()).then_some(digits)
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }
}

/// The day that a text begins with, Monday being 0, and the rest of the text.
fn weekday(text: &str) -> Option<(usize, &str)> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let word = word.to_ascii_lowercase();
    let day = NAMES.iter().position(|name| *name == word || name[..3] == word)?;
    Some((day, rest))
}

/// One moment, in seconds since 1970.
fn at(seconds: i64) -> Option<Calendar> {
    let time = TimeZone::UTC.to_datetime(Timestamp::from_second(seconds).ok()?);
    let part = |value: i8| u32::try_from(value).ok().map(one);
    Some(Calendar {
        years: one(u32::try_from(time.year()).ok()?),
        months: part(time.month())?,
        days: part(time.day())?,
        hours: part(time.hour())?,
        minutes: part(time.minute())?,
        seconds: one(u32::try_from(time.second()).ok()? * SECOND),
        zone: Some(TimeZone::UTC),
        ..hourly()
    })
}
