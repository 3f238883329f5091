//! No destination stands inside of another.
//!
//! A hostile host could plant a symlink in the outer one, and rsync would write as root through it
//! when it comes to the inner one.

use std::path::Path;

/// Two destinations of which the second is equal to the first or below it, as indices into the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Index of the outer one.
    pub outer: usize,
    /// Index of the inner or equal one.
    pub inner: usize,
}

/// Finds the things whose destinations overlap; `destination` tells each one's path below one base.
///
/// One pair is reported for each inner destination, in the order of the list.
pub fn overlaps<T>(things: &[T], destination: impl Fn(&T) -> &Path) -> Vec<Overlap> {
    let of = |index: usize| destination(&things[index]);
    let mut order: Vec<usize> = (0..things.len()).collect();
    order.sort_unstable_by(|&a, &b| of(a).cmp(of(b)).then(a.cmp(&b)));

    let mut found = Vec::new();
    // Sorted by components, everything below a directory follows it directly.
    let mut outer: Option<usize> = None;
    for &index in &order {
        match outer {
            Some(top) if of(index).starts_with(of(top)) => {
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
        let destinations = ["a/etc/ssh", "a/etc", "a/etc-old", "b", "b"].map(Path::new);
        assert_eq!(
            overlaps(&destinations, |path| *path),
            [Overlap { outer: 1, inner: 0 }, Overlap { outer: 3, inner: 4 }]
        );
    }

    proptest! {
        #[test]
        fn agrees_with_comparing_all_pairs(destinations in proptest::collection::vec(proptest::collection::vec("[ab]", 0..3), 0..8)) {
            let any = (0..destinations.len()).any(|a| (0..destinations.len()).any(|b| a != b && destinations[a].starts_with(&destinations[b])));
            let joined: Vec<String> = destinations.iter().map(|parts| parts.join("/")).collect();
            let paths: Vec<&Path> = joined.iter().map(Path::new).collect();
            prop_assert_eq!(any, !overlaps(&paths, |path| *path).is_empty());
        }
    }
}
