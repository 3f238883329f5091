//! `--verify-hosts` with a person at a terminal: a pseudo terminal, a real ssh server, a real ssh-copy-id.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use backup_testkit::process::{Running, run};
use backup_testkit::sshd::{Setup, Sshd};
use backup_testkit::wait;
use support::{Site, host};

/// A program on a pseudo terminal (script(1)), with somebody who reads and types.
struct Terminal {
    script: Child,
    shown: Arc<Mutex<String>>,
    read: usize,
}

impl Terminal {
    fn start(site: &Site, environment: &[(&str, &Path)]) -> Self {
        Self::start_by(site, "", environment)
    }

    /// The same by way of another program.
    fn start_by(site: &Site, prefix: &str, environment: &[(&str, &Path)]) -> Self {
        let line = format!(
            "{prefix}{} --config {} --verify-hosts",
            env!("CARGO_BIN_EXE_backup-runner"),
            site.path("backup.yaml").display()
        );
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
            .envs(environment.iter().copied())
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut pipe, text) = (script.stdout.take().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = pipe.read(&mut buffer)
                && count > 0
            {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { script, shown, read: 0 }
    }

    fn text(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits for a question behind what was read so far, and types the answer.
    fn answer(&mut self, question: &str, answer: &str) {
        let end = wait::until(question, || {
            let text = self.text();
            assert!(self.read <= text.len());
            let found = text[self.read..].find(question).map(|at| self.read + at + question.len());
            // Somebody who looks at a failed test wants to see where it stood.
            found.or_else(|| {
                self.script
                    .try_wait()
                    .unwrap()
                    .map(|status| panic!("ended with {status} before {question}: {text}"))
            })
        });
        self.read = end;
        writeln!(self.script.stdin.as_mut().unwrap(), "{answer}").unwrap();
    }

    /// Waits for the end: exit code and everything that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        let status = wait::until("the end of the program", || self.script.try_wait().unwrap());
        wait::until("the last of its output", || (Arc::strong_count(&self.shown) == 1).then_some(()));
        (status.code(), self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// A server whose users live in a directory of the test, where one key opens already.
struct House {
    site: Site,
    sshd: Sshd,
    agent: Running,
}

impl House {
    fn new() -> Self {
        let site = Site::new();
        let home = site.path("home");
        fs::create_dir_all(home.join(".ssh")).unwrap();
        let authorized = home.join(".ssh/authorized_keys");
        let config = format!("SetEnv HOME={}\nAuthorizedKeysFile {}", home.display(), authorized.display());
        let sshd = Sshd::start_with(&site.path("."), Setup { config: &config, ..Setup::default() });
        fs::copy(sshd.other_key().with_extension("pub"), authorized).unwrap();
        // What a password would be for a person: a way in that the backup itself does not have.
        let socket = site.path("agent");
        let agent =
            Running::start(Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()));
        // The socket is there before the agent listens on it.
        wait::until("the ssh agent", || {
            let mut add = Command::new("ssh-add");
            let added = run(add.arg("-q").arg(sshd.other_key()).env("SSH_AUTH_SOCK", &socket));
            (added.code == 0).then_some(())
        });
        Self { site, sshd, agent }
    }

    /// A host block with a key of our own that is not there yet, and nothing known of the host.
    fn configure(&self) {
        let source = self.site.source("src", &[("f", "1")]);
        let keys = self
            .sshd
            .host_keys()
            .replace(
                &self.sshd.key().display().to_string(),
                &self.site.path("keys/new").display().to_string(),
            )
            .replace(
                &self.sshd.known_hosts().display().to_string(),
                &self.site.path("known").display().to_string(),
            );
        self.site.configure("", &host("h", &keys, &source));
    }

    fn terminal(&self) -> Terminal {
        let (home, agent) = (self.site.path("our-home"), self.site.path("agent"));
        Terminal::start(&self.site, &[("HOME", &home), ("SSH_AUTH_SOCK", &agent)])
    }

    fn known(&self) -> String {
        fs::read_to_string(self.site.path("known")).unwrap_or_default()
    }
}

#[test]
fn from_an_unknown_host_without_a_key_to_a_backup() {
    let mut house = House::new();
    house.configure();
    let mut terminal = house.terminal();
    terminal.answer("Trust this key and add it to", "y");
    terminal.answer("Make a new ed25519 key", "yes");
    terminal.answer("with ssh-copy-id?", "y");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(0), "{text}");

    // The fingerprint that was shown is the server's.
    let public = house.sshd.known_hosts().with_file_name("host_key.pub");
    let shown = run(Command::new("ssh-keygen").arg("-lf").arg(public)).stdout;
    let fingerprint = shown.split_whitespace().nth(1).unwrap();
    assert!(text.contains(&format!("ED25519 {fingerprint}")), "{text}");
    // Exactly that key is known now, by the name that ssh looks for.
    let key = fs::read_to_string(house.sshd.known_hosts()).unwrap();
    let key = key.split_whitespace().nth(2).unwrap().to_owned();
    assert_eq!(house.known().lines().count(), 1, "{}", house.known());
    assert!(house.known().contains(&key), "{}", house.known());
    let name = format!("[127.0.0.1]:{}", house.sshd.port());
    let found = run(Command::new("ssh-keygen").args(["-F", &name, "-f"]).arg(house.site.path("known")));
    assert_eq!(found.code, 0, "{found:?}");
    assert_eq!(fs::metadata(house.site.path("keys/new")).unwrap().permissions().mode() & 0o777, 0o600);

    // And the backup needs neither terminal nor agent.
    house.agent.signal("TERM");
    house.agent.wait();
    let output = house.site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    let again = run(&mut house.site.command(&["--verify-hosts"]));
    assert_eq!(again.code, 0, "{again:?}");
}

#[test]
fn without_a_yes_nothing_changes() {
    let house = House::new();
    house.configure();
    let mut terminal = house.terminal();
    terminal.answer("Trust this key and add it to", "n");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(10), "{text}");
    assert!(house.known().is_empty() && !text.contains("ssh-copy-id?"), "{text}");

    let mut terminal = house.terminal();
    terminal.answer("Trust this key and add it to", "y");
    terminal.answer("Make a new ed25519 key", "");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(10), "{text}");
    assert!(!house.site.path("keys").exists());

    // The terminal's own interrupt is a no, and ends the program as a signal does.
    fs::write(house.site.path("known"), "").unwrap();
    let mut terminal = house.terminal();
    terminal.answer("Trust this key and add it to", "\u{3}");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(130), "{text}");
    assert!(house.known().is_empty());
}

#[test]
fn a_changed_key_is_explained_and_never_taken() {
    let house = House::new();
    house.configure();
    let other = fs::read_to_string(house.sshd.other_key().with_extension("pub")).unwrap();
    let changed = format!("[127.0.0.1]:{} {other}", house.sshd.port());
    fs::write(house.site.path("known"), &changed).unwrap();
    let (code, text) = house.terminal().end();
    assert_eq!(code, Some(10), "{text}");
    assert!(text.contains("host_key_changed") && text.contains("ssh-keygen -R"), "{text}");
    assert!(!text.contains("[y/N]"), "{text}");
    assert_eq!(house.known(), changed);
}

#[test]
fn without_a_terminal_there_are_no_questions() {
    let house = House::new();
    house.configure();
    let output = run(&mut house.site.command(&["--verify-hosts"]));
    assert_eq!(output.code, 10, "{output:?}");
    assert!(output.stdout.contains("host_key_unknown") && !output.stdout.contains("[y/N]"), "{output:?}");
    assert!(!house.site.path("known").exists() && !house.site.path("keys").exists());
}

/// In a mount namespace of its own, where ping is hidden and the package manager is a stand-in that brings it back:
/// the real one would change the machine.
#[test]
#[ignore = "needs root: hides programs in a mount namespace"]
fn a_missing_program_is_installed_after_a_yes() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", &sshd.host_keys(), &source));
    let at = |name: &str| site.path(name).display().to_string();
    fs::write(site.path("os-release"), "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n").unwrap();
    fs::write(
        site.path("apt-get"),
        format!("#!/bin/sh\necho \"$0 $*\" >>{}\nexec umount /usr/bin/ping\n", at("installed")),
    )
    .unwrap();
    fs::set_permissions(site.path("apt-get"), fs::Permissions::from_mode(0o755)).unwrap();
    let stage = format!(
        "set -e\nmount --bind {} /etc/os-release\nmount --bind {} /usr/bin/apt-get\nmount --bind /dev/null /usr/bin/ping\nexec \"$@\"\n",
        at("os-release"),
        at("apt-get")
    );
    fs::write(site.path("stage"), stage).unwrap();
    let prefix = format!("unshare --mount sh {} ", at("stage"));
    let question = "Run apt-get install iputils-ping?";

    let mut terminal = Terminal::start_by(&site, &prefix, &[]);
    terminal.answer(question, "n");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("cannot find ping") && !site.path("installed").exists(), "{text}");

    let mut terminal = Terminal::start_by(&site, &prefix, &[]);
    terminal.answer(question, "y");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("cannot find ping"), "{text}");
    assert_eq!(
        fs::read_to_string(site.path("installed")).unwrap(),
        "/usr/bin/apt-get install iputils-ping\n"
    );
}
