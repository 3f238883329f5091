//! What `du` and `find` say, and a source of chance that can be repeated.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;
use std::process::Command;

use backup_sizes::totals::Totals;
use backup_testkit::process::run;

/// The figures of coreutils and findutils: bytes on disk, apparent bytes, entries.
#[derive(Debug, PartialEq, Eq)]
pub struct Figures {
    pub disk: u64,
    pub apparent: u64,
    pub entries: u64,
}

/// Asks `du` and `find`.
pub fn asked(directory: &Path) -> Figures {
    let du = |options: &[&str]| {
        let output = run(Command::new("du").args(["-s", "--block-size=1"]).args(options).arg(directory));
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stdout.split('\t').next().unwrap().parse::<u64>().unwrap()
    };
    let found = run(Command::new("find").arg(directory).args(["-printf", "."]));
    Figures { disk: du(&[]), apparent: du(&["--apparent-size"]), entries: found.stdout.len() as u64 }
}

/// The same figures from totals.
pub fn figures(totals: &Totals) -> Figures {
    // Since coreutils 9.2, du leaves the sizes of directories out of the apparent ones.
    let probe = tempfile::tempdir().unwrap();
    let output = run(Command::new("du").args(["-s", "--apparent-size", "--block-size=1"]).arg(probe.path()));
    let apparent = if output.stdout.starts_with("0\t") && std::fs::metadata(probe.path()).unwrap().len() > 0 {
        totals.apparent_bytes
    } else {
        totals.apparent_with_directories()
    };
    Figures { disk: totals.disk_bytes, apparent, entries: totals.entries() }
}

/// xorshift64*: the same seed gives the same history.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end.max(1)
    }

    /// One of several.
    pub fn of<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        &these[usize::try_from(self.below(these.len() as u64)).unwrap()]
    }
}

/// A number from the environment, so that long histories can be asked for.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}
