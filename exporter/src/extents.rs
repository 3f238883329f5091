//! What of each directory is its own: the figures of quota groups and of `btrfs filesystem du`, as they are
//! remembered. Pure: lines in, values out.
//!
//! One JSON object a line and path; lines that can not be read are passed over.

use std::collections::BTreeMap;

use backup_common::text;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::sizes::{ExclusiveBytes, Place, QuotaBytes, SizesEvent};
use crate::size_history::LINE_BYTES;

/// The last figures of each path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(BTreeMap<Place, Known>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Known {
    exclusive: Option<(Timestamp, ExclusiveBytes)>,
    quota: Option<QuotaBytes>,
}

impl Figures {
    /// Takes in what `btrfs filesystem du` said at a time.
    pub fn take_exclusive(&mut self, place: &Place, time: Timestamp, bytes: ExclusiveBytes) {
        self.0.entry(place.clone()).or_default().exclusive = Some((time, bytes));
    }

    /// Takes in what a quota group says; says whether that is something else than before.
    pub fn take_quota(&mut self, place: &Place, quota: Option<QuotaBytes>) -> bool {
        if self.0.get(place).and_then(|known| known.quota) == quota {
            return false;
        }
        self.0.entry(place.clone()).or_default().quota = quota;
        true
    }

    /// Takes in what another program has found by `btrfs filesystem du`, where that is newer; gives it. Quota
    /// groups are read by one program alone.
    pub fn merge(&mut self, other: Self) -> Vec<SizesEvent> {
        let mut news = Vec::new();
        for (place, known) in other.0 {
            let Some((time, bytes)) = known.exclusive else { continue };
            let own = self.0.entry(place.clone()).or_default();
            if own.exclusive.is_none_or(|(own, _)| own < time) {
                own.exclusive = Some((time, bytes));
                news.push(SizesEvent::Exclusive(place, bytes));
            }
        }
        news
    }

    /// All of it.
    pub fn events(&self) -> impl Iterator<Item = SizesEvent> {
        self.0.iter().flat_map(|(place, known)| {
            let exclusive = known.exclusive.map(|(_, bytes)| SizesEvent::Exclusive(place.clone(), bytes));
            let quota = known.quota.map(|quota| SizesEvent::Quota(place.clone(), Some(quota)));
            exclusive.into_iter().chain(quota)
        })
    }

    /// Reads a whole file.
    pub fn parse(file: &[u8]) -> Self {
        let lines = file.split(|byte| *byte == b'\n').filter(|line| line.len() <= LINE_BYTES);
        Self(lines.filter_map(decode).collect())
    }

    /// All of it as lines.
    pub fn render(&self) -> String {
        self.0.iter().filter(|(_, known)| **known != Known::default()).map(encode).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    host: String,
    path: String,
    exclusive: Option<ExclusiveLine>,
    quota: Option<QuotaLine>,
}

#[derive(Serialize, Deserialize)]
struct ExclusiveLine {
    time: String,
    exclusive_bytes: u64,
    set_shared_bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct QuotaLine {
    referenced_bytes: u64,
    exclusive_bytes: u64,
}

fn encode((place, known): (&Place, &Known)) -> String {
    let exclusive = known.exclusive.map(|(time, bytes)| ExclusiveLine {
        time: time.to_string(),
        exclusive_bytes: bytes.exclusive_bytes,
        set_shared_bytes: bytes.set_shared_bytes,
    });
    let quota = known.quota.map(|QuotaBytes { referenced_bytes, exclusive_bytes }| QuotaLine {
        referenced_bytes,
        exclusive_bytes,
    });
    let line = Line { v: 1, host: place.host.clone(), path: place.path.clone(), exclusive, quota };
    // Strings and numbers always are JSON.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

fn decode(line: &[u8]) -> Option<(Place, Known)> {
    let Line { v: 1, host, path, exclusive, quota } = serde_json::from_slice(line).ok()? else {
        return None;
    };
    if host.chars().any(text::is_unsafe) {
        return None;
    }
    let exclusive = exclusive.and_then(|line| {
        let ExclusiveLine { time, exclusive_bytes, set_shared_bytes } = line;
        Some((time.parse().ok()?, ExclusiveBytes { exclusive_bytes, set_shared_bytes }))
    });
    let quota = quota.map(|QuotaLine { referenced_bytes, exclusive_bytes }| QuotaBytes {
        referenced_bytes,
        exclusive_bytes,
    });
    Some((Place { host, path }, Known { exclusive, quota }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place { host: "server1".to_owned(), path: "/etc \"x\"".to_owned() }
    }

    fn bytes(exclusive_bytes: u64) -> ExclusiveBytes {
        ExclusiveBytes { exclusive_bytes, set_shared_bytes: None }
    }

    #[test]
    fn the_newer_figure_counts() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (mut own, mut other) = (Figures::default(), Figures::default());
        own.take_exclusive(&place(), at(5), bytes(50));
        for (time, news) in [(4, None), (5, None), (6, Some(60))] {
            other.take_exclusive(&place(), at(time), bytes(time.unsigned_abs() * 10));
            let expected = news.map(|news| SizesEvent::Exclusive(place(), bytes(news)));
            assert_eq!(own.merge(other.clone()), Vec::from_iter(expected), "{time}");
        }
    }

    #[test]
    fn a_quota_group_that_is_gone_is_forgotten() {
        let quota = Some(QuotaBytes { referenced_bytes: 9, exclusive_bytes: 4 });
        let mut figures = Figures::default();
        assert!(!figures.take_quota(&place(), None));
        assert!(figures.take_quota(&place(), quota) && !figures.take_quota(&place(), quota));
        assert_eq!(Figures::parse(figures.render().as_bytes()), figures);
        assert!(figures.take_quota(&place(), None));
        assert_eq!(figures.render(), "");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(exclusive: u64, set_shared_bytes: Option<u64>, seconds in 0i64..1 << 32, path in ".{0,20}") {
            let place = Place { host: "h".to_owned(), path };
            let mut figures = Figures::default();
            let time = Timestamp::from_second(seconds).unwrap();
            figures.take_exclusive(&place, time, ExclusiveBytes { exclusive_bytes: exclusive, set_shared_bytes });
            figures.take_quota(&place, Some(QuotaBytes { referenced_bytes: exclusive, exclusive_bytes: 1 }));
            let text = format!("{{}}\n{}{{\"v\":2", figures.render());
            prop_assert_eq!(Figures::parse(text.as_bytes()), figures);
        }

        #[test]
        fn no_bytes_make_it_panic(file in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Figures::parse(&file);
        }
    }
}
