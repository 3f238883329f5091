//! How a distribution installs a program, told from its os-release file.

use std::fs;

use super::Program;

/// The package managers that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Debian, Ubuntu and their children.
    Apt,
    /// Fedora, RHEL and their children.
    Dnf,
    /// openSUSE and SUSE Linux Enterprise.
    Zypper,
    /// Arch and its children.
    Pacman,
    /// Alpine.
    Apk,
    /// Void.
    Xbps,
    /// Gentoo.
    Emerge,
    /// None of them.
    Unknown,
}

/// The `ID`s of os-release(5) and their package managers.
const IDS: &[(&str, Manager)] = &[
    ("debian", Manager::Apt),
    ("ubuntu", Manager::Apt),
    ("raspbian", Manager::Apt),
    ("fedora", Manager::Dnf),
    ("rhel", Manager::Dnf),
    ("centos", Manager::Dnf),
    ("rocky", Manager::Dnf),
    ("almalinux", Manager::Dnf),
    ("ol", Manager::Dnf),
    ("amzn", Manager::Dnf),
    ("suse", Manager::Zypper),
    ("opensuse", Manager::Zypper),
    ("sles", Manager::Zypper),
    ("opensuse-leap", Manager::Zypper),
    ("opensuse-tumbleweed", Manager::Zypper),
    ("arch", Manager::Pacman),
    ("manjaro", Manager::Pacman),
    ("alpine", Manager::Apk),
    ("void", Manager::Xbps),
    ("gentoo", Manager::Emerge),
];

impl Manager {
    /// That of the machine we run on (os-release(5) names the two places).
    pub fn of_this_machine() -> Self {
        let text =
            ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|file| fs::read_to_string(file).ok());
        text.map_or(Self::Unknown, |text| Self::of(&text))
    }

    /// That of an os-release file: its `ID`, else the first one known of `ID_LIKE`, which goes from near to far.
    pub fn of(os_release: &str) -> Self {
        let names = value(os_release, "ID").into_iter().chain(value(os_release, "ID_LIKE"));
        names
            .flat_map(|value| value.split_ascii_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>())
            .find_map(|name| IDS.iter().find(|(id, _)| *id == name).map(|(_, manager)| *manager))
            .unwrap_or(Self::Unknown)
    }

    /// The command that installs these programs, as an argument list.
    pub fn install(self, programs: &[Program]) -> Option<Vec<String>> {
        let words: &[&str] = match self {
            Self::Apt => &["apt-get", "install"],
            Self::Dnf => &["dnf", "install"],
            Self::Zypper => &["zypper", "install"],
            Self::Pacman => &["pacman", "-S", "--needed"],
            Self::Apk => &["apk", "add"],
            Self::Xbps => &["xbps-install", "-S"],
            Self::Emerge => &["emerge", "--ask"],
            Self::Unknown => return None,
        };
        let packages = programs.iter().map(|program| self.package(*program));
        Some(words.iter().copied().chain(packages).map(str::to_owned).collect())
    }

    fn package(self, program: Program) -> &'static str {
        match (program, self) {
            (Program::Rsync, Self::Emerge) => "net-misc/rsync",
            (Program::Rsync, _) => "rsync",
            (Program::Ssh, Self::Apt) => "openssh-client",
            (Program::Ssh, Self::Dnf | Self::Zypper) => "openssh-clients",
            (Program::Ssh, Self::Apk) => "openssh-client-default",
            (Program::Ssh, Self::Emerge) => "net-misc/openssh",
            (Program::Ssh, _) => "openssh",
            (Program::Ping, Self::Apt | Self::Apk) => "iputils-ping",
            (Program::Ping, Self::Emerge) => "net-misc/iputils",
            (Program::Ping, _) => "iputils",
        }
    }
}

/// The value of a variable; the format is that of shell assignments with simple quotes (os-release(5)).
fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    Some(line.trim().trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distributions_and_their_commands() {
        for (text, command) in [
            ("ID=debian\n", "apt-get install rsync openssh-client iputils-ping"),
            (
                "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n",
                "apt-get install rsync openssh-client iputils-ping",
            ),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                "apt-get install rsync openssh-client iputils-ping",
            ),
            ("ID=fedora\n", "dnf install rsync openssh-clients iputils"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install rsync openssh-clients iputils"),
            (
                "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n",
                "zypper install rsync openssh-clients iputils",
            ),
            ("ID='arch'\n", "pacman -S --needed rsync openssh iputils"),
            ("ID=endeavouros\nID_LIKE=arch\n", "pacman -S --needed rsync openssh iputils"),
            ("ID=alpine\n", "apk add rsync openssh-client-default iputils-ping"),
            ("ID=\"void\"\n", "xbps-install -S rsync openssh iputils"),
            ("ID=gentoo\n", "emerge --ask net-misc/rsync net-misc/openssh net-misc/iputils"),
        ] {
            let all = [Program::Rsync, Program::Ssh, Program::Ping];
            assert_eq!(
                Manager::of(text).install(&all).map(|words| words.join(" ")).as_deref(),
                Some(command),
                "{text}"
            );
        }
    }

    #[test]
    fn an_unknown_distribution_has_no_command() {
        for text in ["", "ID=plan9\n", "ID_LIKE=\n", "VERSION_ID=debian\n"] {
            assert_eq!(Manager::of(text), Manager::Unknown, "{text}");
        }
        assert_eq!(Manager::Unknown.install(&[Program::Rsync]), None);
    }

    proptest! {
        #[test]
        fn no_text_becomes_a_command(text: String) {
            // Only words of our own tables are ever run.
            if let Some(words) = Manager::of(&text).install(&[Program::Ping]) {
                prop_assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '/'))));
            }
        }
    }
}
