//! Runs `btrfs filesystem du`, which tells what of a directory is its own and what it shares.
//!
//! It looks at every extent of every file, so it takes minutes where the other methods take seconds;
//! it runs on request, or on a slow schedule.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The figures of a directory, in bytes (btrfs-filesystem(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusive {
    /// Sum over the files, extents that they share counted in each.
    pub total_bytes: u64,
    /// What would be free again if the directory was deleted.
    pub exclusive_bytes: u64,
    /// What its files share, each extent once; unknown where the program does not say.
    pub set_shared_bytes: Option<u64>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum ExclusiveError {
    /// The program is not installed.
    #[error("cannot start btrfs; install btrfs-progs")]
    Start(#[source] io::Error),
    /// It took longer than it may.
    #[error("cannot measure {0} within {1:?}: btrfs filesystem du was stopped")]
    TimedOut(PathBuf, Duration),
    /// It says why; the first line.
    #[error("cannot measure {0}: {1}")]
    Failed(PathBuf, String),
    /// It says something else than figures.
    #[error("cannot understand what btrfs filesystem du says of {0}")]
    Output(PathBuf),
}

/// The arguments; an absolute path is never an option.
fn arguments(directory: &Path) -> [&OsStr; 6] {
    let of = OsStr::new;
    [of("filesystem"), of("du"), of("--raw"), of("-s"), of("--"), directory.as_os_str()]
}

/// Measures a directory, given by its absolute path.
///
/// # Errors
/// All of [`ExclusiveError`].
pub fn measure(directory: &Path, limit: Duration) -> Result<Exclusive, ExclusiveError> {
    let mut command = Command::new("btrfs");
    command.args(arguments(directory)).env_clear().env("LC_ALL", "C");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(ExclusiveError::Start)?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(ExclusiveError::Start)? {
            Some(status) => break status,
            None if begun.elapsed() < limit => thread::sleep(Duration::from_millis(20)),
            None => {
                end(&mut child);
                return Err(ExclusiveError::TimedOut(directory.to_owned(), limit));
            }
        }
    };
    let text = |collected: mpsc::Receiver<String>| collected.recv().unwrap_or_default();
    let (stdout, stderr) = (text(stdout), text(stderr));
    if !status.success() {
        let message = backup_common::text::clean(stderr.lines().next().unwrap_or("it does not say why"), 500);
        return Err(ExclusiveError::Failed(directory.to_owned(), message));
    }
    parse(&stdout).ok_or_else(|| ExclusiveError::Output(directory.to_owned()))
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads beside the program, so that it never waits; what is beyond some lines is not kept.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(64 << 10).read_to_end(&mut bytes);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// The figures in its output: a heading, then a line of columns and the name.
pub fn parse(output: &str) -> Option<Exclusive> {
    let mut lines = output.lines();
    let heading = lines.next()?;
    if heading.split_whitespace().take(4).ne(["Total", "Exclusive", "Set", "shared"]) {
        return None;
    }
    let mut columns = lines.next()?.split_whitespace();
    let total_bytes = columns.next()?.parse().ok()?;
    let exclusive_bytes = columns.next()?.parse().ok()?;
    let set_shared_bytes = match columns.next()? {
        "-" => None,
        shared => Some(shared.parse().ok()?),
    };
    Some(Exclusive { total_bytes, exclusive_bytes, set_shared_bytes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_are_read() {
        let output =
            "     Total   Exclusive  Set shared  Filename\n  72704       69632       -      /share/a b\n";
        let expected = Exclusive { total_bytes: 72704, exclusive_bytes: 69632, set_shared_bytes: None };
        assert_eq!(parse(output), Some(expected));
        let output = "     Total   Exclusive  Set shared  Filename\n  72704       69632       3072      /a\n";
        assert_eq!(parse(output), Some(Exclusive { set_shared_bytes: Some(3072), ..expected }));
        assert_eq!(parse("ERROR: cannot"), None);
    }

    #[test]
    fn a_directory_is_never_an_option() {
        assert_eq!(arguments(Path::new("/a")), ["filesystem", "du", "--raw", "-s", "--", "/a"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(output in "(     Total   Exclusive  Set shared  Filename\n)?.{0,80}\n?.{0,80}") {
            let _ = parse(&output);
        }
    }
}
