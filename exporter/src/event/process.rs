//! What the exporter itself uses of the machine.

/// A look at the own process, in the terms of the Prometheus client libraries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessSample {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Memory that is in use.
    pub resident_memory_bytes: u64,
    /// Addresses that are in use.
    pub virtual_memory_bytes: u64,
    /// When it was started, in seconds since 1970, UTC.
    pub start_time_seconds: f64,
    /// Open descriptors.
    pub open_fds: u64,
    /// Most descriptors that it may open.
    pub max_fds: u64,
}
