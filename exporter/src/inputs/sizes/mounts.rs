//! Which mount a path is on, without touching it: a hung mount would not answer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The mounts of this process, from `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
#[derive(Clone, Debug, Default)]
pub struct Mounts(Vec<(PathBuf, String)>);

impl Mounts {
    /// As they are now; none where they can not be read.
    pub fn read() -> Self {
        Self::parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n');
        Self(
            lines
                .filter_map(|line| {
                    let mut fields = line.split(|byte| *byte == b' ');
                    let id = String::from_utf8(fields.next()?.to_vec()).ok()?;
                    Some((unescape(fields.nth(3)?), id))
                })
                .collect(),
        )
    }

    /// The id of the mount that a path is on: the innermost, and of those in the same place the last.
    pub fn of(&self, path: &Path) -> String {
        let above = self.0.iter().filter(|(point, _)| path.starts_with(point));
        above
            .max_by_key(|(point, _)| point.components().count())
            .map(|(_, id)| id.clone())
            .unwrap_or_default()
    }
}

/// Blanks and backslashes stand there as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) if byte == b'\\' => {
                out.push(code);
                rest = &after[3..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_last_mount_counts() {
        let mounts = Mounts::parse(
            b"22 1 0:20 / / rw - ext4 /dev/a rw\n30 22 0:30 / /share rw - btrfs /dev/b rw\n\
              31 30 0:31 / /share/a\\040b rw shared:1 - nfs x rw\n32 30 0:32 / /share rw - btrfs /dev/c rw\nbad\n",
        );
        for (path, id) in [("/etc", "22"), ("/share/backup", "32"), ("/share/a b/c", "31"), ("/shared", "22")]
        {
            assert_eq!(mounts.of(Path::new(path)), id, "{path}");
        }
        assert_eq!(Mounts::default().of(Path::new("/")), "");
    }
}
