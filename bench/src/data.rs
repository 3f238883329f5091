//! Data from fixed seeds: the same on every machine.

pub mod config;
pub mod journal;
pub mod log;
pub mod tree;

/// Sebastiano Vigna's `SplitMix64`: small, good enough for data, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Name of a host by its number.
pub fn host(number: usize) -> String {
    format!("server{number:04}.example.com")
}

/// A path by its number.
pub fn path(number: usize) -> String {
    format!("/srv/data/customers/{number:04}")
}
