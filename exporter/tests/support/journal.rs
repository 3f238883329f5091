//! Journal files, made by systemd-journal-remote(8) from the form of `journalctl -o export`.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

const REMOTE: [&str; 2] = ["/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote"];

/// Entries of `backup.service`, in their order.
#[derive(Clone)]
pub struct Journal {
    text: String,
    boot: String,
    /// Microseconds since 1970; each entry is a second after the one before.
    pub now: u64,
    monotonic: u64,
}

impl Journal {
    /// Begins this many seconds ago.
    pub fn ago(seconds: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - seconds;
        Self { text: String::new(), boot: "1".repeat(32), now: now * 1_000_000, monotonic: 1_000_000 }
    }

    /// The machine is started again.
    pub fn reboot(&mut self, boot: char) -> &mut Self {
        self.boot = boot.to_string().repeat(32);
        self.monotonic = 1_000_000;
        self
    }

    /// PID 1 says something about the unit.
    pub fn manager(
        &mut self,
        id: &str,
        invocation: &str,
        message: &str,
        fields: &[(&str, &str)],
    ) -> &mut Self {
        let mut all = vec![
            ("_PID", "1"),
            ("UNIT", "backup.service"),
            ("SYSLOG_IDENTIFIER", "systemd"),
            ("MESSAGE", message),
            ("INVOCATION_ID", invocation),
        ];
        if !id.is_empty() {
            all.push(("MESSAGE_ID", id));
        }
        all.extend(fields);
        self.add(&all)
    }

    /// A program of the unit says something.
    pub fn line(&mut self, invocation: &str, program: &str, message: &str) -> &mut Self {
        self.add(&[
            ("_PID", "4242"),
            ("_SYSTEMD_UNIT", "backup.service"),
            ("_SYSTEMD_INVOCATION_ID", invocation),
            ("SYSLOG_IDENTIFIER", program),
            ("MESSAGE", message),
        ])
    }

    /// A process that is not PID 1 says something in its name.
    pub fn claim(&mut self, id: &str, invocation: &str, message: &str) -> &mut Self {
        self.add(&[
            ("_PID", "4711"),
            ("_SYSTEMD_UNIT", "other.service"),
            ("UNIT", "backup.service"),
            ("SYSLOG_IDENTIFIER", "systemd"),
            ("MESSAGE", message),
            ("MESSAGE_ID", id),
            ("INVOCATION_ID", invocation),
        ])
    }

    pub fn starting(&mut self, invocation: &str) -> &mut Self {
        self.manager("7d4958e842da4a758f6c1cdc7b36dcc5", invocation, "Starting Backup...", &[])
    }

    pub fn killed(&mut self, invocation: &str) -> &mut Self {
        let exit = [("EXIT_CODE", "killed"), ("EXIT_STATUS", "9")];
        self.manager("98e322203f7a4ed290d09fe03c09fe15", invocation, "Main process exited", &exit);
        let result = [("UNIT_RESULT", "signal")];
        self.manager("d9b373ed55a64feb8242e02dbe79a49c", invocation, "Failed with result 'signal'.", &result)
    }

    pub fn success(&mut self, invocation: &str) -> &mut Self {
        self.manager("7ad2d189f7e94e70a38c781354912448", invocation, "Deactivated successfully.", &[])
    }

    fn add(&mut self, fields: &[(&str, &str)]) -> &mut Self {
        let Self { text, boot, now, monotonic } = self;
        let machine = "2".repeat(32);
        let _ = write!(
            text,
            "__REALTIME_TIMESTAMP={now}\n__MONOTONIC_TIMESTAMP={monotonic}\n_BOOT_ID={boot}\n_MACHINE_ID={machine}\n"
        );
        for (name, value) in fields {
            let _ = writeln!(text, "{name}={value}");
        }
        text.push('\n');
        *now += 1_000_000;
        *monotonic += 1_000_000;
        self
    }

    /// Writes what was added since the last time, as a file of its own or behind what is in it.
    pub fn write(&mut self, file: &Path) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let remote = REMOTE
            .iter()
            .find(|path| Path::new(path).exists())
            .expect("systemd-journal-remote; run make test");
        let mut child = Command::new(remote)
            .arg("-o")
            .arg(file)
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(self.text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        self.text.clear();
    }
}
