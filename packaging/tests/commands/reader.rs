//! Somebody who sits at a machine and types what the documents say.

use std::fs;

use backup_testkit::process::Output;
use backup_testkit::wait;

use crate::site::Site;
use crate::support;
use crate::support::commands::{documents, of_text, typed};

/// Names that the documents use for hosts and a user, in a machine that is all of them.
const WORLD: &str = "set -e
echo '127.0.0.1 localhost server1 server1.example.com server2 server2.local server2.example.com' >/etc/hosts
usermod --home /home/backup --shell /bin/bash backup
install -d -o backup -g backup /home/backup /home/backup/.ssh
install -d -m 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/backup_key
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp /root/.ssh/backup_key /root/.ssh/backup
cp /root/.ssh/backup_key.pub /home/backup/.ssh/authorized_keys
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
printf 'ListenAddress 127.0.0.1\nPermitRootLogin prohibit-password\n' >/etc/ssh/sshd_config.d/test.conf
systemctl restart ssh.service
for name in server1 server1.example.com server2 server2.local server2.example.com; do
    ssh-keyscan -t ed25519 $name 2>/dev/null >>/root/.ssh/known_hosts
done
test -s /root/.ssh/known_hosts
mkdir -p /var/www/cache /srv/etc
echo page >/var/www/index.html
cp /etc/hosts /etc/fstab /srv/etc/
echo mine >/home/letter
# A person is slower than a test, and systemd refuses more than five starts in ten seconds.
mkdir -p /etc/systemd/system.conf.d
printf '[Manager]\\nDefaultStartLimitBurst=1000\\n' >/etc/systemd/system.conf.d/test.conf
systemctl daemon-reexec
# What a person answers when apt asks.
echo 'APT::Get::Assume-Yes \"true\";' >/etc/apt/apt.conf.d/90yes
";

/// What a command has said, and where it stands.
pub struct Said {
    pub command: String,
    pub output: Output,
}

impl Said {
    /// It ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        let Output { stdout, stderr, .. } = &self.output;
        assert_eq!(self.output.code, code, "{}: {stdout}{stderr}", self.command);
        self
    }

    /// It ended well.
    #[track_caller]
    pub fn well(self) -> Self {
        self.code(0)
    }

    /// It printed this.
    #[track_caller]
    pub fn shows(self, text: &str) -> Self {
        let Output { stdout, stderr, .. } = &self.output;
        assert!(stdout.contains(text) || stderr.contains(text), "{}: {stdout}{stderr}", self.command);
        self
    }

    /// It did not print this.
    #[track_caller]
    pub fn lacks(self, text: &str) -> Self {
        let Output { stdout, stderr, .. } = &self.output;
        assert!(!stdout.contains(text) && !stderr.contains(text), "{}: {stdout}{stderr}", self.command);
        self
    }
}

/// The reader, and what was typed so far.
pub struct Reader {
    pub site: Site,
    done: Vec<String>,
}

impl Reader {
    pub fn start() -> Self {
        let site = Site::start();
        let made = site.machine.shell(WORLD);
        assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
        site.step("the machine is up, and is every host of the documents");
        Self { site, done: Vec::new() }
    }

    /// What was typed, in its order.
    pub fn done(&self) -> &[String] {
        &self.done
    }

    /// Types a command of the documents, in root's home.
    pub fn types(&mut self, command: &str) -> Said {
        self.types_with(command, &[])
    }

    /// The same, with something in the place of what stands for it.
    pub fn types_with(&mut self, command: &str, names: &[(&str, &str)]) -> Said {
        let line = self.takes(command, names);
        let output = self.site.machine.run(&["bash", "-o", "pipefail", "-c", &format!("cd /root; {line}")]);
        Said { command: line, output }
    }

    /// The same on a terminal; both outputs are one.
    pub fn types_on_a_terminal(&mut self, command: &str, setting: &str) -> Said {
        let line = self.takes(command, &[]);
        let on_terminal = format!("cd /root; export {setting}; script -q -e -c '{line}' /dev/null");
        Said { command: line, output: self.site.machine.run(&["bash", "-c", &on_terminal]) }
    }

    /// Types a command that stays until it is interrupted, waits for another one to end well, and
    /// interrupts it.
    pub fn types_and_leaves_running(&mut self, command: &str, until: &str) {
        let line = self.takes(command, &[]);
        // A process that a shell starts in the background ignores Ctrl-C, unless it is told otherwise.
        let started =
            format!("cd /root; env --default-signal=INT {line} >/run/typed.log 2>&1 </dev/null & echo $!");
        let pid = self.site.machine.must(&["bash", "-c", &started]);
        wait::until(&format!("{line}: {until}"), || (self.site.machine.shell(until).code == 0).then_some(()));
        self.site.machine.must(&["kill", "-s", "INT", pid.trim()]);
        wait::until(&format!("the end of {line}"), || {
            (self.site.machine.shell(&format!("kill -0 {}", pid.trim())).code != 0).then_some(())
        });
    }

    /// Takes the command from the documents and notes it as typed.
    fn takes(&mut self, command: &str, names: &[(&str, &str)]) -> String {
        let mut line = typed(command);
        self.done.push(line.clone());
        for (name, value) in names {
            assert!(line.contains(name), "{line}: {name}");
            line = line.replace(name, value);
        }
        line
    }

    /// A setting of the documents as it stands there, for a file of `/etc/default`.
    pub fn notes(&mut self, setting: &str) -> String {
        self.takes(setting, &[])
    }

    /// The commands of a section were typed in the order in which they stand in it.
    pub fn followed_in_order(&self, document: &str, heading: &str) {
        let (_, text) = documents().into_iter().find(|(file, _)| file == document).unwrap();
        let wanted = of_text(&text).into_iter().filter(|(found, _)| found == heading);
        let mut wanted: Vec<String> = wanted.map(|(_, command)| command).collect();
        let whole = wanted.clone();
        for command in &self.done {
            if wanted.first() == Some(command) {
                wanted.remove(0);
            }
        }
        assert!(!whole.is_empty() && wanted.is_empty(), "{document}, {heading}: {wanted:#?}");
    }

    /// The block of a document that follows a text, without its fence.
    pub fn block(document: &str, after: &str) -> String {
        let text = fs::read_to_string(support::sources().join(document)).unwrap();
        let (_, rest) = text.split_once(after).unwrap_or_else(|| panic!("{document}: {after}"));
        let (_, rest) = rest.split_once("```").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        rest.split_once("\n```").unwrap().0.to_owned() + "\n"
    }

    /// Puts the package where the documents have it.
    pub fn fetches_the_package(&self) {
        let package = support::package();
        let name = package.file_name().unwrap().to_string_lossy().into_owned();
        fs::create_dir_all(self.site.path("/root/target/debian")).unwrap();
        for place in ["/root", "/root/target/debian"] {
            fs::copy(&package, self.site.path(place).join(&name)).unwrap();
        }
    }
}
