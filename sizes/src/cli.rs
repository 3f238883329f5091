//! The command line of `backup-sizes`.

use std::path::PathBuf;

use clap::Parser;

/// Answers the exporter's questions for stored sizes from the trees of a btrfs volume.
///
/// Needs `CAP_SYS_ADMIN`, gives up everything else, and opens nothing but the volume's directory, for reading.
#[derive(Debug, Parser)]
#[command(name = "backup-sizes", version)]
pub struct Cli {
    /// The directory below which sizes may be asked for, on a btrfs volume.
    #[arg(long, value_name = "DIRECTORY")]
    pub volume: PathBuf,

    /// The socket to listen on, unless systemd hands one over.
    #[arg(long, value_name = "FILE", default_value = "/run/backup-sizes/socket")]
    pub socket: PathBuf,

    /// Group (a name or a number) that may ask, beside root.
    #[arg(long, value_name = "GROUP")]
    pub socket_group: Option<String>,

    /// Seconds after which a full scan takes the place of an incremental one.
    #[arg(long, value_name = "SECONDS", default_value_t = 7 * 86400)]
    pub full_interval: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }
}
