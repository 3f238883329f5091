//! The table of files: what each one with a single name adds to its directory.
//!
//! A volume has millions of files, so one of them takes 16 bytes here: numbers are kept as their
//! distance from the first of a run, and what does not fit into 32 bits is kept aside.

/// A file with one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRecord {
    pub number: u64,
    pub size: u32,
    /// Blocks on disk.
    pub blocks: u32,
    /// Place of its directory in [`super::tree::Directories`].
    pub directory: u32,
}

/// A run grows to so many records and is then cut in two: what an insertion moves stays small.
const RUN: usize = 16 * 1024;

/// Records that a new run is filled with: one that is full would be cut in two by the next insertion.
const FILL: usize = RUN / 2;

/// Records whose numbers follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Run {
    base: u64,
    rows: Vec<Row>,
}

/// A record of a run, in the order of the offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    /// Its number, from the base of the run.
    offset: u32,
    size: u32,
    blocks: u32,
    directory: u32,
}

impl Run {
    /// Takes records in the order of their numbers, and no more memory than they need. Their numbers must not
    /// be further apart than 32 bits tell.
    fn of(records: &[FileRecord]) -> Self {
        let base = records.first().map_or(0, |record| record.number);
        let mut rows = Vec::with_capacity(records.len());
        rows.extend(records.iter().filter_map(|record| Row::of(base, record)));
        Self { base, rows }
    }

    /// All of them, in order.
    fn records(&self) -> impl Iterator<Item = FileRecord> {
        self.rows.iter().map(|row| row.record(self.base))
    }

    fn retain(&mut self, mut keep: impl FnMut(&FileRecord) -> bool) {
        let base = self.base;
        self.rows.retain(|row| keep(&row.record(base)));
        if self.rows.len() < self.rows.capacity() / 2 {
            self.rows.shrink_to_fit();
        }
    }

    fn find(&self, number: u64) -> Result<usize, usize> {
        let end = self.rows.len();
        let (Some(offset), Some(last)) = (distance(self.base, number), self.rows.last()) else {
            return Err(end);
        };
        let Some(before_last) = last.offset.checked_sub(offset) else { return Err(end) };
        // The offsets rise by at least one from row to row, so that where most numbers are in use only few rows
        // come into question.
        let first = (end - 1).saturating_sub(before_last as usize);
        let rows = &self.rows[first..end.min(offset as usize + 1)];
        let found = rows.binary_search_by_key(&offset, |row| row.offset);
        found.map(|at| first + at).map_err(|at| first + at)
    }

    /// Puts one in without the doubling of a [`Vec`], which would take twice the memory.
    fn insert(&mut self, at: usize, row: Row) {
        if self.rows.len() == self.rows.capacity() {
            self.rows.reserve_exact(self.rows.len() / 8 + 8);
        }
        self.rows.insert(at, row);
    }
}

impl Row {
    fn of(base: u64, record: &FileRecord) -> Option<Self> {
        let &FileRecord { number, size, blocks, directory } = record;
        Some(Self { offset: distance(base, number)?, size, blocks, directory })
    }

    fn record(self, base: u64) -> FileRecord {
        let Self { offset, size, blocks, directory } = self;
        FileRecord { number: base + u64::from(offset), size, blocks, directory }
    }
}

fn distance(base: u64, number: u64) -> Option<u32> {
    u32::try_from(number.checked_sub(base)?).ok()
}

/// Records in the order of their numbers, in runs that follow each other.
///
/// Runs instead of one long list: a scan hands them over as they are, so that nothing is there twice,
/// and a record in the middle is put in or taken out without moving all that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTable {
    runs: Vec<Run>,
}

impl FileTable {
    /// Adds a record whose number is higher than all others.
    pub fn push(&mut self, record: FileRecord) {
        let last = self.runs.last_mut().filter(|run| run.rows.len() < FILL);
        if let Some(run) = last
            && let Some(row) = Row::of(run.base, &record)
        {
            run.rows.push(row);
            return;
        }
        let mut run = Run { base: record.number, rows: Vec::with_capacity(FILL) };
        run.rows.extend(Row::of(record.number, &record));
        self.runs.push(run);
    }

    /// Gives each record the place of its directory anew, and drops those for which there is none. What
    /// [`Self::push`] had to spare is given back.
    pub fn replace_directories(&mut self, mut place: impl FnMut(u32) -> Option<u32>) {
        for run in &mut self.runs {
            run.rows.retain_mut(|row| {
                let place = place(row.directory);
                row.directory = place.unwrap_or_default();
                place.is_some()
            });
            run.rows.shrink_to_fit();
        }
        self.runs.retain(|run| !run.rows.is_empty());
    }

    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.rows.len()).sum()
    }

    pub fn contains(&self, number: u64) -> bool {
        self.find(number).is_some_and(|(_, at)| at.is_ok())
    }

    /// Takes a record out.
    pub fn remove(&mut self, number: u64) -> Option<FileRecord> {
        let (run, at) = self.find(number)?;
        let removed = self.runs[run].rows.remove(at.ok()?).record(self.runs[run].base);
        if self.runs[run].rows.is_empty() {
            self.runs.remove(run);
        }
        Some(removed)
    }

    /// Puts a record in; gives the one that it takes the place of.
    pub fn insert(&mut self, record: FileRecord) -> Option<FileRecord> {
        let Some((index, at)) = self.find(record.number) else {
            // Lower than all others, or the first.
            self.runs.insert(0, Run::of(&[record]));
            return None;
        };
        let run = &mut self.runs[index];
        let Some(row) = Row::of(run.base, &record) else {
            self.runs.insert(index + 1, Run::of(&[record]));
            return None;
        };
        match at {
            Ok(at) => Some(std::mem::replace(&mut run.rows[at], row).record(run.base)),
            Err(at) => {
                run.insert(at, row);
                if run.rows.len() > RUN {
                    // New files have the highest numbers: cut at the end, so that full runs stay full.
                    let cut = if at + 1 == run.rows.len() { at } else { run.rows.len() / 2 };
                    let upper: Vec<FileRecord> = run.records().skip(cut).collect();
                    run.rows.truncate(cut);
                    self.runs.insert(index + 1, Run::of(&upper));
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
        self.runs.retain(|run| !run.rows.is_empty());
    }

    /// Numbers that cut the table into at most so many parts of about the same length.
    pub fn cuts(&self, parts: usize) -> Vec<u64> {
        let step = self.runs.len().div_ceil(parts.max(1)).max(1);
        self.runs.iter().step_by(step).skip(1).map(|run| run.base).collect()
    }

    /// The run in which a number is or belongs, and where; none when it is lower than all of them.
    fn find(&self, number: u64) -> Option<(usize, Result<usize, usize>)> {
        let run = self.runs.partition_point(|run| run.base <= number).checked_sub(1)?;
        Some((run, self.runs[run].find(number)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn record(number: u64) -> FileRecord {
        FileRecord { number, size: u32::try_from(number % 999).unwrap(), blocks: 1, directory: 0 }
    }

    #[test]
    fn a_record_takes_16_bytes() {
        assert_eq!(size_of::<Row>(), 16);
    }

    #[test]
    fn numbers_that_are_far_apart_are_in_runs_of_their_own() {
        let numbers = [256, 300, 1 << 40, (1 << 40) + 5, u64::MAX - 300];
        let records = numbers.map(record);
        let mut table = FileTable::default();
        for record in records {
            table.push(record);
        }
        assert_eq!((table.len(), table.runs.len()), (5, 3));
        table.insert(record(1 << 41));
        table.insert(record(7));
        assert_eq!((table.len(), table.runs.len()), (7, 5));
        for number in numbers {
            assert_eq!(table.remove(number), Some(record(number)));
            assert_eq!(table.remove(number), None);
        }
        assert_eq!((table.contains(7), table.contains(1 << 41), table.len()), (true, true, 2));
    }

    #[test]
    fn what_is_pushed_takes_no_more_than_it_needs_and_gets_its_directories_later() {
        let mut table = FileTable::default();
        for number in 0..20_000 {
            table.push(FileRecord { directory: u32::try_from(number % 4).unwrap(), ..record(number) });
        }
        assert_eq!((table.len(), table.runs.len()), (20_000, 3));
        table.replace_directories(|index| (index != 3).then_some(index + 10));
        assert_eq!(table.len(), 15_000);
        assert!(table.runs.iter().all(|run| run.rows.len() == run.rows.capacity()));
        for number in [0, 9_998, 19_997] {
            let directory = 10 + u32::try_from(number % 4).unwrap();
            assert_eq!(table.remove(number), Some(FileRecord { directory, ..record(number) }));
        }
        assert!(!table.contains(3) && !table.contains(19_999));
        table.replace_directories(|_| None);
        assert!(table.runs.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn agrees_with_a_map(first in 0u64..60_000, changes in proptest::collection::vec((any::<bool>(), 0u64..70_000), 0..300)) {
            let mut table = FileTable::default();
            let mut map = BTreeMap::new();
            for start in (0..first).step_by(15_000) {
                let run: Vec<_> = (start..(start + 15_000).min(first)).map(|number| record(number * 2)).collect();
                map.extend(run.iter().map(|record| (record.number, *record)));
                table.runs.push(Run::of(&run));
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
            prop_assert!(table.runs.iter().all(|run| !run.rows.is_empty() && run.rows.capacity() <= run.rows.len() * 2 + 16));
            prop_assert!(table.cuts(4).len() < 4 && table.cuts(4).is_sorted());
        }
    }
}
