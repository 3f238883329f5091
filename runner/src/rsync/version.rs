//! The version of an rsync, and what is known to be wrong with it.

use std::fmt;

/// A version such as 3.2.7; what follows the numbers (`pre1`, `-dev`) is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// Escapes the names in its own remote command line from here on (NEWS of 3.2.4); older ones need `--secluded-args`.
const ESCAPES_NAMES: Version = Version(3, 2, 4);
/// Fixed CVE-2024-12084 to 12088 and 12747: a host can read and write files of the machine that pulls (NEWS of 3.4.0).
const FIXED_2024: Version = Version(3, 4, 0);
/// Fixed CVE-2026-53785 to 53799 and 70458: writes by a race of symlinks, heap writes in the receiver (NEWS of 3.5.0).
const FIXED_2026: Version = Version(3, 5, 0);

impl Version {
    /// Finds the version in what `rsync --version` prints; lines of a talkative login shell are passed over.
    ///
    /// `rsync  version 3.2.7  protocol version 31`, also with a `v` before the number. The rsync of OpenBSD and
    /// macOS names the version that it is compatible with: `rsync version 2.6.9 compatible`.
    pub fn find(text: &str) -> Option<Self> {
        text.lines().take(100).find_map(|line| {
            let rest = line.strip_prefix("rsync")?.trim_start().strip_prefix("version")?.trim_start();
            Self::read(rest.strip_prefix('v').unwrap_or(rest))
        })
    }

    fn read(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.');
        let mut number = || numbers.next()?.parse().ok();
        Some(Self(number()?, number()?, number().unwrap_or(0)))
    }

    /// Whether it escapes the names in its remote command line, so that the remote shell takes them literally.
    pub fn escapes_names(self) -> bool {
        self >= ESCAPES_NAMES
    }

    /// What is wrong enough to be said in every run.
    ///
    /// The later faults are left to `--verify-hosts`: a warning that each run repeats for years is not read any more.
    pub fn warning(self) -> Option<String> {
        (self < FIXED_2024).then(|| self.advice()).flatten()
    }

    /// What the person who runs this version on the backup server should know.
    ///
    /// Distributions put the corrections into their own older versions, so the number alone proves nothing.
    pub fn advice(self) -> Option<String> {
        let what = if self < FIXED_2024 {
            "3.4.0 corrected faults by which a host that is backed up can read and write files here (CVE-2024-12084 to 12088, 12747)"
        } else if self < FIXED_2026 {
            "3.5.0 corrected faults by which a host that is backed up can write outside of its destination (CVE-2026-53785 to 53799, 70458)"
        } else {
            return None;
        };
        Some(format!(
            "rsync {self} is installed here; {what}; check that your distribution has brought the corrections into its version, or update rsync"
        ))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn real_first_lines_are_read() {
        for (text, version) in [
            ("rsync  version 3.5.0  protocol version 32\nCopyright (C) 1996-2026", Version(3, 5, 0)),
            ("rsync  version v3.4.1  protocol version 32\n", Version(3, 4, 1)),
            ("rsync  version 3.2.7  protocol version 31\n", Version(3, 2, 7)),
            ("rsync  version 3.4.0pre1  protocol version 32\n", Version(3, 4, 0)),
            ("openrsync: protocol version 29\nrsync version 2.6.9 compatible\n", Version(2, 6, 9)),
            ("Welcome to server1\nrsync  version 3.1.3  protocol version 31\n", Version(3, 1, 3)),
        ] {
            assert_eq!(Version::find(text), Some(version), "{text}");
        }
        for text in ["", "rsync", "rsync  version x", "rsync  version 3", "bash: rsync: command not found"] {
            assert_eq!(Version::find(text), None, "{text}");
        }
    }

    #[test]
    fn versions_before_the_corrections_get_advice() {
        let about = |version: Version| version.advice().unwrap_or_default();
        assert!(about(Version(3, 2, 7)).contains("CVE-2024-12084"));
        assert!(about(Version(3, 4, 3)).contains("CVE-2026-53785"));
        assert_eq!(Version(3, 5, 0).advice(), None);
        assert_eq!(
            (Version(3, 4, 0).warning(), Version(3, 3, 0).warning()),
            (None, Version(3, 3, 0).advice())
        );
        assert!(!Version(3, 2, 3).escapes_names() && Version(3, 2, 4).escapes_names());
    }

    proptest! {
        #[test]
        fn any_version_is_read_back(a: u32, b: u32, c: u32) {
            let version = Version(a, b, c);
            prop_assert_eq!(Version::find(&format!("rsync  version {version}  protocol version 32")), Some(version));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,200}") {
            let _ = Version::find(&format!("rsync version {text}"));
        }
    }
}
