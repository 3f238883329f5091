//! The table of files: what each one with a single name adds to its directory.

/// A file with one name, in 24 bytes: a volume has millions of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRecord {
    pub number: u64,
    pub size: u64,
    /// Blocks on disk.
    pub blocks: u32,
    /// Place of its directory in [`super::tree::Directories`].
    pub directory: u32,
}

/// A run grows to so many records and is then cut in two: what an insertion moves stays small.
const RUN: usize = 16 * 1024;

/// Records in the order of their numbers, in runs that follow each other.
///
/// Runs instead of one long list: a scan hands them over as they are, so that nothing is there twice,
/// and a record in the middle is put in or taken out without moving all that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTable {
    runs: Vec<Vec<FileRecord>>,
}

impl FileTable {
    /// Adds a run whose numbers are in order and higher than all others.
    pub fn append(&mut self, run: Vec<FileRecord>) {
        if !run.is_empty() {
            self.runs.push(run);
        }
    }

    pub fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    pub fn contains(&self, number: u64) -> bool {
        self.find(number).is_some_and(|(_, at)| at.is_ok())
    }

    /// Takes a record out.
    pub fn remove(&mut self, number: u64) -> Option<FileRecord> {
        let (run, at) = self.find(number)?;
        let removed = self.runs[run].remove(at.ok()?);
        if self.runs[run].is_empty() {
            self.runs.remove(run);
        }
        Some(removed)
    }

    /// Puts a record in; gives the one that it takes the place of.
    pub fn insert(&mut self, record: FileRecord) -> Option<FileRecord> {
        let Some((run, at)) = self.find(record.number) else {
            self.runs.push(vec![record]);
            return None;
        };
        let records = &mut self.runs[run];
        match at {
            Ok(at) => Some(std::mem::replace(&mut records[at], record)),
            Err(at) => {
                records.insert(at, record);
                if records.len() > RUN {
                    // New files have the highest numbers: cut at the end, so that full runs stay full.
                    let upper =
                        records.split_off(if at + 1 == records.len() { at } else { records.len() / 2 });
                    self.runs.insert(run + 1, upper);
                }
                None
            }
        }
    }

    /// Keeps the records for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&FileRecord) -> bool) {
        for run in &mut self.runs {
            run.retain(&mut keep);
        }
        self.runs.retain(|run| !run.is_empty());
    }

    /// The run in which a number is or belongs, and where; none in an empty table.
    fn find(&self, number: u64) -> Option<(usize, Result<usize, usize>)> {
        let above = self.runs.partition_point(|run| run[0].number <= number);
        let run = above.saturating_sub(1);
        let at = self.runs.get(run)?.binary_search_by_key(&number, |record| record.number);
        Some((run, at))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn record(number: u64) -> FileRecord {
        FileRecord { number, size: number, blocks: 1, directory: 0 }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn agrees_with_a_map(first in 0u64..60_000, changes in proptest::collection::vec((any::<bool>(), 0u64..70_000), 0..300)) {
            let mut table = FileTable::default();
            let mut map = BTreeMap::new();
            for start in (0..first).step_by(20_000) {
                let run: Vec<_> = (start..(start + 20_000).min(first)).map(|number| record(number * 2)).collect();
                map.extend(run.iter().map(|record| (record.number, *record)));
                table.append(run);
            }
            for (insert, number) in changes {
                if insert {
                    prop_assert_eq!(table.insert(record(number)), map.insert(number, record(number)));
                } else {
                    prop_assert_eq!(table.remove(number), map.remove(&number));
                }
                prop_assert_eq!(table.contains(number), map.contains_key(&number));
            }
            prop_assert_eq!(table.len(), map.len());
            let mut left = Vec::new();
            table.retain(|record| { left.push(record.number); record.number % 3 == 0 });
            prop_assert_eq!(left, map.keys().copied().collect::<Vec<_>>());
            map.retain(|number, _| number % 3 == 0);
            prop_assert_eq!(table.len(), map.len());
            prop_assert!(table.runs.iter().all(|run| !run.is_empty()));
        }
    }
}
