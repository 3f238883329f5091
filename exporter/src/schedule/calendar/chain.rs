//! One part of an expression: a list of numbers, ranges and steps.

/// `*`, or a list such as `1,5..9,20/10`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain(Option<Vec<Component>>);

/// One entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) start: u32,
    /// The end of a range.
    pub(super) stop: Option<u32>,
    /// 0 is a single number.
    pub(super) repeat: u32,
}

impl Chain {
    /// `*`
    pub(super) const ANY: Self = Self(None);

    /// A list.
    pub(super) fn of(components: Vec<Component>) -> Self {
        Self(Some(components))
    }

    /// Single numbers.
    pub(super) fn numbers(numbers: &[u32]) -> Self {
        Self::of(numbers.iter().map(|&start| Component { start, stop: None, repeat: 0 }).collect())
    }

    /// The smallest number from `from` on that is not above `max`.
    pub(super) fn next(&self, from: u32, max: u32) -> Option<u32> {
        let found = match &self.0 {
            None => Some(from),
            Some(components) => components.iter().filter_map(|component| component.next(from)).min(),
        };
        found.filter(|&found| found <= max)
    }

    /// The same for days that are counted from the end of a month with `last` days, the last being 1.
    pub(super) fn next_from_end(&self, from: u32, last: u32) -> Option<u32> {
        let Some(components) = &self.0 else { return Some(from).filter(|&from| from <= last) };
        let turned = components.iter().map(|component| {
            let day = |count: u32| (last + 1).saturating_sub(count);
            match component.stop {
                None => Component { start: day(component.start), ..*component },
                Some(stop) => Component { start: day(stop), stop: Some(day(component.start)), ..*component },
            }
        });
        turned.filter_map(|component| component.next(from)).filter(|&found| found <= last).min()
    }

    /// Whether every number is within bounds, and each step leads to one more at least.
    ///
    /// Days that are counted from the end are at most 28: they exist in every month.
    pub(super) fn is_valid(&self, min: u32, max: u32, from_end: bool) -> bool {
        let max = if from_end { max - 3 } else { max };
        self.0.iter().flatten().all(|&Component { start, stop, repeat }| {
            let within = |number: u32| (min..=max).contains(&number);
            let step = match stop {
                Some(stop) => within(stop) && start.checked_add(repeat).is_some_and(|next| next <= stop),
                None if from_end => start >= min.saturating_add(repeat),
                None => start.checked_add(repeat).is_some_and(|next| next <= max),
            };
            within(start) && repeat <= max - min && step
        })
    }

    /// Years with two digits are those from 1970 to 2069.
    pub(super) fn with_whole_years(self) -> Self {
        let whole = |year: u32| match year {
            0..70 => year + 2000,
            70..100 => year + 1900,
            _ => year,
        };
        let fix = |Component { start, stop, repeat }| Component {
            start: whole(start),
            stop: stop.map(whole),
            repeat,
        };
        Self(self.0.map(|components| components.into_iter().map(fix).collect()))
    }
}

impl Component {
    fn next(self, from: u32) -> Option<u32> {
        if self.start >= from {
            return Some(self.start);
        }
        if self.repeat == 0 {
            return None;
        }
        let steps = (from - self.start).div_ceil(self.repeat);
        let found = self.start.checked_add(steps.checked_mul(self.repeat)?)?;
        self.stop.is_none_or(|stop| found <= stop).then_some(found)
    }
}
