//! The parts of a record that are objects themselves.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::record::{StatusCounts, TransferStats};

/// The figures of a transfer.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WireStats {
    files: u64,
    files_created: u64,
    files_deleted: u64,
    files_transferred: u64,
    source_size_bytes: u64,
    transferred_size_bytes: u64,
    literal_bytes: u64,
    matched_bytes: u64,
    sent_bytes: u64,
    received_bytes: u64,
    transfer_rate_bytes_per_second: f64,
    speedup_ratio: f64,
}

/// A number where the run is planned, numbers by status where it has ended.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Counts {
    Planned(u64),
    ByStatus(BTreeMap<String, u64>),
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountsVisitor;

        impl<'de> Visitor<'de> for CountsVisitor {
            type Value = Counts;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a number or numbers by status")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Counts, E> {
                Ok(Counts::Planned(count))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counts, A::Error> {
                let mut counts = BTreeMap::new();
                while let Some((name, count)) = map.next_entry()? {
                    counts.insert(name, count);
                }
                Ok(Counts::ByStatus(counts))
            }
        }

        deserializer.deserialize_any(CountsVisitor)
    }
}

impl From<&StatusCounts> for Counts {
    fn from(counts: &StatusCounts) -> Self {
        Self::ByStatus(counts.iter().map(|(status, count)| (status.name().to_owned(), *count)).collect())
    }
}

/// Copies the fields of the same name between the wire and the domain.
macro_rules! same_fields {
    ($($field:ident),*) => {
        impl From<TransferStats> for WireStats {
            fn from(stats: TransferStats) -> Self {
                Self { $($field: stats.$field),* }
            }
        }

        impl From<WireStats> for TransferStats {
            fn from(stats: WireStats) -> Self {
                Self { $($field: stats.$field),* }
            }
        }
    };
}

same_fields!(
    files,
    files_created,
    files_deleted,
    files_transferred,
    source_size_bytes,
    transferred_size_bytes,
    literal_bytes,
    matched_bytes,
    sent_bytes,
    received_bytes,
    transfer_rate_bytes_per_second,
    speedup_ratio
);
