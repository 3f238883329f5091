//! Which lines of a batch are sent next, when some of them are refused; pure.

use std::ops::Range;

/// The parts of a batch that are left, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Last first.
    parts: Vec<Range<usize>>,
}

impl Plan {
    /// The whole batch at once.
    pub fn new(lines: usize) -> Self {
        Self { parts: std::iter::once(0..lines).filter(|whole| !whole.is_empty()).collect() }
    }

    /// The part that is next; nothing when the batch is done with.
    pub fn next(&self) -> Option<Range<usize>> {
        self.parts.last().cloned()
    }

    /// The server took the part, or a line of it will never arrive.
    pub fn done(&mut self) {
        self.parts.pop();
    }

    /// Halves the part. A single line can not be halved: it is done with, and its index is the answer.
    pub fn split(&mut self) -> Option<usize> {
        let part = self.parts.pop()?;
        if part.len() == 1 {
            return Some(part.start);
        }
        let middle = part.start + part.len() / 2;
        self.parts.push(middle..part.end);
        self.parts.push(part.start..middle);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_good_line_is_taken_once_in_order_and_every_bad_one_found(bad in proptest::collection::vec(any::<bool>(), 0..200)) {
            let mut plan = Plan::new(bad.len());
            let (mut taken, mut refused, mut requests) = (Vec::new(), Vec::new(), 0);
            while let Some(part) = plan.next() {
                requests += 1;
                if bad[part.clone()].contains(&true) {
                    refused.extend(plan.split());
                } else {
                    taken.extend(part);
                    plan.done();
                }
            }
            let expected = |wanted: bool| (0..bad.len()).filter(|index| bad[*index] == wanted).collect::<Vec<_>>();
            prop_assert_eq!(taken, expected(false));
            prop_assert_eq!(&refused, &expected(true));
            prop_assert!(requests <= 1 + 2 * refused.len() * 9);
        }
    }
}
