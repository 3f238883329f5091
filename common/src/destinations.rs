//! No destination stands inside of another.
//!
//! A hostile host could plant a symlink in the outer one, and rsync would write as root through it
//! when it comes to the inner one.

/// Two destinations of which the second is equal to the first or below it, as indices into the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Index of the outer one.
    pub outer: usize,
    /// Index of the inner or equal one.
    pub inner: usize,
}

/// Finds the destinations that overlap, each given as its path components below one base.
///
/// One pair is reported for each inner destination, in the order of the list.
pub fn overlaps(destinations: &[Vec<&str>]) -> Vec<Overlap> {
    let mut order: Vec<usize> = (0..destinations.len()).collect();
    order.sort_by(|&a, &b| destinations[a].cmp(&destinations[b]).then(a.cmp(&b)));

    let mut found = Vec::new();
    // Sorted by components, everything below a directory follows it directly.
    let mut outer: Option<usize> = None;
    for &index in &order {
        match outer {
            Some(top) if destinations[index].starts_with(&destinations[top]) => {
                found.push(Overlap { outer: top, inner: index });
            }
            _ => outer = Some(index),
        }
    }
    found.sort_by_key(|overlap| overlap.inner);
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nested_and_equal_ones_are_found() {
        let destinations =
            [vec!["a", "etc", "ssh"], vec!["a", "etc"], vec!["a", "etc-old"], vec!["b"], vec!["b"]];
        assert_eq!(overlaps(&destinations), [Overlap { outer: 1, inner: 0 }, Overlap { outer: 3, inner: 4 }]);
    }

    proptest! {
        #[test]
        fn agrees_with_comparing_all_pairs(destinations in proptest::collection::vec(proptest::collection::vec("[ab]", 0..3), 0..8)) {
            let borrowed: Vec<Vec<&str>> = destinations.iter().map(|parts| parts.iter().map(String::as_str).collect()).collect();
            let any = (0..borrowed.len()).any(|a| (0..borrowed.len()).any(|b| a != b && borrowed[a].starts_with(&borrowed[b])));
            prop_assert_eq!(any, !overlaps(&borrowed).is_empty());
        }
    }
}
