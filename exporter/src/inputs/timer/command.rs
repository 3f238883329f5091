//! Edge: runs one of systemd's tools for at most five seconds.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Longest time for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Most bytes that are read.
const OUTPUT_BYTES: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not installed, or the system refuses a process.
    #[error("cannot start {0}")]
    Start(String, #[source] io::Error),
    /// It took too long and was killed.
    #[error("cannot wait any longer for {0}")]
    Deadline(String),
    /// It says that something is wrong.
    #[error("cannot use the answer of {0}: {1}")]
    Failed(String, String),
}

/// What a command prints, if it succeeds.
///
/// Its environment is fixed but for the time zone, which calendar expressions are read in.
pub fn output(program: &str, arguments: &[&str]) -> Result<String, CommandError> {
    output_within(program, arguments, DEADLINE)
}

fn output_within(program: &str, arguments: &[&str], deadline: Duration) -> Result<String, CommandError> {
    let start = |error| CommandError::Start(program.to_owned(), error);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
    command.envs(std::env::var_os("TZ").map(|zone| ("TZ", zone)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Killed(command.spawn().map_err(start)?);
    let (stdout, stderr) = (child.0.stdout.take(), child.0.stderr.take());
    let (sender, answers) = mpsc::channel();
    thread::Builder::new()
        .name("command".to_owned())
        .spawn(move || {
            // The tools write little to standard error, so it is read after standard output.
            let said = (text(stdout), text(stderr));
            let _ = sender.send(said);
        })
        .map_err(start)?;
    // Both pipes are at their end once the child is, and never if it hangs.
    let late = || CommandError::Deadline(program.to_owned());
    let until = Instant::now() + deadline;
    let (stdout, stderr) = answers.recv_timeout(deadline).map_err(|_| late())?;
    match child.wait_until(until).map_err(start)? {
        Some(status) if status.success() => Ok(stdout),
        None => Err(late()),
        Some(_) => {
            Err(CommandError::Failed(program.to_owned(), backup_common::text::clean(stderr.trim(), 500)))
        }
    }
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(OUTPUT_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A child that does not outlive its use.
struct Killed(Child);

impl Killed {
    /// Its end, if it comes in time; as a rule it is there at once, because the pipes are closed.
    fn wait_until(&mut self, until: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let status = self.0.try_wait()?;
            if status.is_some() || Instant::now() >= until {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It fails for a child that has ended, and whose end is already known.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_prints() {
        assert_eq!(output("echo", &["a"]).unwrap(), "a\n");
        assert!(matches!(output("no-such-program", &[]), Err(CommandError::Start(..))));
        let failed = output("ls", &["--", "/no/such/file"]).unwrap_err();
        assert!(failed.to_string().contains("No such file"), "{failed}");
    }

    #[test]
    fn one_that_hangs_is_killed() {
        // The second one closes its pipes first.
        for (program, arguments) in [("sleep", &["1000"][..]), ("sh", &["-c", "exec sleep 1000 >&- 2>&-"])] {
            let hung = output_within(program, arguments, Duration::from_millis(50));
            assert!(matches!(hung, Err(CommandError::Deadline(_))), "{hung:?}");
        }
    }
}
