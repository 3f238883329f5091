//! A whole Debian with a real systemd as its first process, in a container of systemd-nspawn.
//!
//! The tree is made once by debootstrap and copied for each machine. A machine has a network of its own with
//! nothing in it but the loopback device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{self, Output, Running};
use crate::wait;

/// What the tree has beside Debian's smallest base.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,rsync,openssh-server,openssh-client,btrfs-progs,iputils-ping,\
curl,procps,logrotate,adduser,libsystemd0,ca-certificates";

/// systemd-nspawn ends with this when the machine inside wants to start again and its caller is to do it.
const REBOOT: i32 = 133;

/// A machine; it is switched off when it is dropped.
pub struct Machine {
    root: PathBuf,
    binds: Vec<String>,
    process: Option<Running>,
    leader: u32,
}

/// Makes the tree below `cache`, unless it is there already, and returns its place.
///
/// It is built beside its place and renamed, so that half a tree is never taken for one.
pub fn tree(cache: &Path) -> PathBuf {
    let place = cache.join("bookworm");
    if !place.exists() {
        let building = cache.join(format!("bookworm.{}", std::process::id()));
        fs::create_dir_all(cache).unwrap();
        let made = process::run(
            Command::new("debootstrap")
                .args(["--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"])
                .arg(&building)
                .arg("http://deb.debian.org/debian"),
        );
        assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
        if fs::rename(&building, &place).is_err() {
            // Another test was faster.
            fs::remove_dir_all(&building).unwrap();
        }
    }
    place
}

impl Machine {
    /// Copies the tree to `root` and switches the machine on; each bind is `OUTSIDE:INSIDE`.
    pub fn start(tree: &Path, root: &Path, binds: &[&str]) -> Self {
        let copied = process::run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(tree).arg(root));
        assert_eq!(copied.code, 0, "{}", copied.stderr);
        // Each machine has an identity of its own, made at its first start.
        fs::write(root.join("etc/machine-id"), "").unwrap();
        let binds = binds.iter().map(|bind| format!("--bind={bind}")).collect();
        let mut machine = Self { root: root.to_owned(), binds, process: None, leader: 0 };
        machine.switch_on();
        machine
    }

    /// The machine's root directory, seen from outside.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn switch_on(&mut self) {
        let console = File::create(self.root.with_extension("console")).unwrap();
        let process = Running::start(
            Command::new("systemd-nspawn")
                .arg("--directory")
                .arg(&self.root)
                .args(["--register=no", "--keep-unit", "--boot", "--console=read-only", "--private-network"])
                .args(&self.binds)
                .stdin(Stdio::null())
                .stderr(console.try_clone().unwrap())
                .stdout(console),
        );
        let id = process.id();
        self.process = Some(process);
        wait::until("the machine to be up", || {
            // The first child is a helper of systemd-nspawn for a moment.
            self.leader = first_child(id)?;
            let state = self.run(&["systemctl", "is-system-running"]);
            matches!(state.stdout.trim(), "running" | "degraded").then_some(())
        });
    }

    /// Starts it again, as `reboot` does.
    pub fn reboot(&mut self) {
        self.restart(&["systemctl", "--no-block", "reboot"]);
    }

    /// Starts it again without a word to anything that runs, as the reset button does.
    pub fn reset(&mut self) {
        self.restart(&["systemctl", "reboot", "--force", "--force"]);
    }

    fn restart(&mut self, command: &[&str]) {
        self.run(command);
        let mut process = self.process.take().expect("the machine is on");
        assert_eq!(process.wait().code(), Some(REBOOT), "the machine wants to start again");
        self.switch_on();
    }

    /// Runs a command inside, to its end.
    pub fn run(&self, command: &[&str]) -> Output {
        process::run(
            Command::new("nsenter")
                .args([
                    "--target",
                    &self.leader.to_string(),
                    "--mount",
                    "--uts",
                    "--ipc",
                    "--net",
                    "--pid",
                    "--",
                ])
                .args(command)
                .env_clear()
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", "/root")
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    }

    /// The process id outside of a process inside; the machine's processes are seen from outside as well.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        let namespace = |id: u32| fs::read_link(format!("/proc/{id}/ns/pid")).ok();
        let wanted = namespace(self.leader);
        let ids = fs::read_dir("/proc").ok()?.flatten();
        let mut ids = ids.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        ids.find(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let last = ids.and_then(|ids| ids.split_whitespace().last());
            last == Some(&inside.to_string()) && namespace(*id) == wanted
        })
    }

    /// Runs a command inside that has to end well, and returns what it printed.
    pub fn must(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert_eq!(output.code, 0, "{command:?}: {}{}\n{}", output.stdout, output.stderr, self.console());
        output.stdout
    }

    /// A line for `sh`.
    pub fn shell(&self, line: &str) -> Output {
        self.run(&["sh", "-c", line])
    }

    /// Starts a program of the system outside in the network of the machine.
    pub fn in_its_network(&self, command: &[&str]) -> Running {
        let leader = self.leader.to_string();
        Running::start(
            Command::new("nsenter")
                .args(["--target", &leader, "--net", "--"])
                .args(command)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )
    }

    /// Waits until a command inside prints a text.
    pub fn until(&self, command: &[&str], text: &str) -> String {
        wait::until(&format!("{command:?} to print {text:?}"), || {
            Some(self.run(command).stdout).filter(|printed| printed.contains(text))
        })
    }

    /// What it wrote to its console.
    pub fn console(&self) -> String {
        let text = fs::read(self.root.with_extension("console")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Without its first process a machine is gone; systemd-nspawn alone would leave it running.
        if self.leader != 0 {
            let _ = Command::new("kill").args(["-s", "KILL", &self.leader.to_string()]).output();
        }
    }
}

/// The only child of systemd-nspawn is the machine's first process; it has a child itself when it is up.
fn first_child(process: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
