//! The user's own rsync options: which are kept, which are ours to decide, which are refused.
//!
//! The option tables follow rsync(1) of version 3.5.0. Options are only ever split here, by the
//! quoting rules of a shell and never by a shell.

/// Long options that take a value, so that `--exclude x` is one option and `x` is no second source.
const WITH_VALUE: &[&str] = &[
    "address",
    "backup-dir",
    "block-size",
    "bwlimit",
    "cc",
    "checksum-choice",
    "checksum-seed",
    "chmod",
    "chown",
    "compare-dest",
    "compress-choice",
    "compress-level",
    "compress-threads",
    "confine-root",
    "contimeout",
    "copy-as",
    "copy-dest",
    "debug",
    "early-input",
    "exclude",
    "exclude-from",
    "files-from",
    "filter",
    "groupmap",
    "iconv",
    "include",
    "include-from",
    "info",
    "link-dest",
    "log-file",
    "log-file-format",
    "max-alloc",
    "max-delete",
    "max-size",
    "min-size",
    "modify-window",
    "only-write-batch",
    "out-format",
    "outbuf",
    "partial-dir",
    "password-file",
    "port",
    "protocol",
    "read-batch",
    "remote-option",
    "rsh",
    "rsync-path",
    "skip-compress",
    "sockopts",
    "stderr",
    "stop-after",
    "stop-at",
    "suffix",
    "temp-dir",
    "time-limit",
    "timeout",
    "usermap",
    "write-batch",
    "zc",
    "zl",
];

/// Short options that take a value.
const SHORT_WITH_VALUE: &str = "@BMTef";

/// Options about what rsync prints; the runner sets them itself, so the user's are left out.
const DISPLAY: &[&str] = &[
    "-h",
    "-i",
    "-P",
    "-q",
    "-v",
    "--debug",
    "--human-readable",
    "--info",
    "--itemize-changes",
    "--log-format",
    "--no-human-readable",
    "--out-format",
    "--outbuf",
    "--progress",
    "--quiet",
    "--stats",
    "--stderr",
    "--verbose",
];

/// Options that are refused, each with its reason.
const REFUSED: &[(&str, &str)] = &[
    ("-e", CONNECTION),
    ("--rsh", CONNECTION),
    ("--blocking-io", CONNECTION),
    ("--rsync-path", "set the key rsync_path instead"),
    ("-M", "it changes the remote side behind the runner's back"),
    ("--remote-option", "it changes the remote side behind the runner's back"),
    ("--remove-source-files", "it deletes the originals"),
    ("--remove-sent-files", "it deletes the originals"),
    ("--ignore-errors", "it deletes from the backup what could not be read on the source"),
    ("--ignore-missing-args", "it hides that the source is missing"),
    ("--delete-missing-args", "it deletes the backup when the source is missing"),
    ("--max-delete", "set the key max_delete instead"),
    ("--force-delete", "say --force-delete HOST:PATH to the runner instead"),
    ("-K", SYMLINKS),
    ("--keep-dirlinks", SYMLINKS),
    ("--insecure-links", SYMLINKS),
    ("--trust-sender", "a hostile host could write outside of its directory"),
    ("--old-args", "file names would pass through the remote shell"),
    ("--old-dirs", "directories below the source would be left out"),
    ("--old-d", "directories below the source would be left out"),
    ("--write-devices", "a hostile host could write to the server's devices"),
    ("--copy-as", "the runner decides who writes"),
    ("--daemon", "it is not a transfer"),
    ("--server", "it is not a transfer"),
    ("--sender", "it is not a transfer"),
    ("--config", "it is not a transfer"),
    ("--help", "it is not a transfer"),
    ("-V", "it is not a transfer"),
    ("--version", "it is not a transfer"),
    ("-n", "nothing would ever be backed up; use backup-runner --dry-run"),
    ("--dry-run", "nothing would ever be backed up; use backup-runner --dry-run"),
    ("--list-only", "nothing would ever be backed up"),
    ("--read-batch", "nothing would be read from the host"),
    ("--only-write-batch", "nothing would ever be backed up"),
];

const CONNECTION: &str = "the runner sets the connection; use ssh_port, ssh_key and ssh_options";
const SYMLINKS: &str = "a hostile host could write through a symlink";

/// An option that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Quotes that do not close.
    #[error("can not be split into options: a quote is not closed")]
    Quotes,
    /// Not an option, so rsync would take it for another source.
    #[error("{0} is not an option (it does not begin with -); rsync would take it for another source")]
    Operand(String),
    /// An option that needs a value stands at the end.
    #[error("{0} needs a value")]
    NoValue(String),
    /// An option that would change the transport or the safety.
    #[error("{option} is refused: {why}")]
    Refused {
        /// The option as written.
        option: String,
        /// What it would do.
        why: &'static str,
    },
}

/// Splits a line of options by the quoting rules of a shell.
pub fn split(text: &str) -> Result<Vec<String>, OptionError> {
    shell_words::split(text).map_err(|_| OptionError::Quotes)
}

/// Checks a list of options and leaves out those about display.
///
/// Returns every problem, not only the first.
pub fn check(options: &[String]) -> Result<Vec<String>, Vec<OptionError>> {
    let mut kept = Vec::with_capacity(options.len());
    let mut errors = Vec::new();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let outcome = if let Some(long) = option.strip_prefix("--") {
            check_long(option, long, &mut rest, &mut kept)
        } else if let Some(letters) = option.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            check_short(option, letters, &mut rest, &mut kept)
        } else {
            Err(OptionError::Operand(option.clone()))
        };
        errors.extend(outcome.err());
    }
    if errors.is_empty() { Ok(kept) } else { Err(errors) }
}

fn check_long<'a>(
    option: &str,
    long: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    kept: &mut Vec<String>,
) -> Result<(), OptionError> {
    let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
    let value = match value {
        None if WITH_VALUE.contains(&name) => {
            Some(rest.next().ok_or_else(|| OptionError::NoValue(option.to_owned()))?.as_str())
        }
        value => value,
    };
    if name.is_empty() {
        return Err(OptionError::Operand(option.to_owned()));
    }
    let flag = format!("--{name}");
    refuse(&flag)?;
    if !DISPLAY.contains(&flag.as_str()) {
        kept.push(value.map_or_else(|| flag.clone(), |value| format!("{flag}={value}")));
    }
    Ok(())
}

/// Takes a cluster such as `-avz` apart, because a refused letter may stand in its middle.
fn check_short<'a>(
    option: &str,
    letters: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    kept: &mut Vec<String>,
) -> Result<(), OptionError> {
    let mut cluster = String::from("-");
    for (index, letter) in letters.char_indices() {
        // Anything else is no option of rsync's; a second - would even become the end of all options.
        if !letter.is_ascii_alphanumeric() && letter != '@' {
            return Err(OptionError::Operand(option.to_owned()));
        }
        let flag = format!("-{letter}");
        refuse(&flag)?;
        if SHORT_WITH_VALUE.contains(letter) {
            let inline = &letters[index + letter.len_utf8()..];
            let value = match inline {
                "" => rest.next().ok_or_else(|| OptionError::NoValue(option.to_owned()))?,
                _ => inline.strip_prefix('=').unwrap_or(inline),
            };
            if cluster.len() > 1 {
                kept.push(cluster);
            }
            if value.is_empty() {
                // Without anything behind it, the option would take the next one for its value.
                return Err(OptionError::NoValue(flag));
            }
            // popt drops one `=` between a letter and its value.
            let separator = if value.starts_with('=') { "=" } else { "" };
            kept.push(format!("{flag}{separator}{value}"));
            return Ok(());
        }
        match letter {
            // -P is --partial --progress; only its second half is about display.
            'P' => kept.push("--partial".to_owned()),
            _ if DISPLAY.contains(&flag.as_str()) => {}
            _ => cluster.push(letter),
        }
    }
    if cluster.len() > 1 {
        kept.push(cluster);
    }
    Ok(())
}

fn refuse(flag: &str) -> Result<(), OptionError> {
    match REFUSED.iter().find(|(name, _)| *name == flag) {
        Some((_, why)) => Err(OptionError::Refused { option: flag.to_owned(), why }),
        None => Ok(()),
    }
}

/// Whether these options let rsync delete in the destination.
pub fn deletes(options: &[String]) -> bool {
    options.iter().any(|option| option == "--del" || option.starts_with("--delete"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(text: &str) -> Result<Vec<String>, String> {
        check(&split(text).map_err(|error| error.to_string())?)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn the_older_default_keeps_what_matters() {
        assert_eq!(
            checked("-avz --delete --numeric-ids --stats --human-readable"),
            Ok(vec!["-az".to_owned(), "--delete".to_owned(), "--numeric-ids".to_owned()])
        );
        assert_eq!(checked("-v --progress -q -i"), Ok(vec![]));
        assert_eq!(checked("-aP"), Ok(vec!["--partial".to_owned(), "-a".to_owned()]));
    }

    #[test]
    fn values_belong_to_their_option() {
        assert_eq!(
            checked("--exclude '*.o bj' --bwlimit=1m -f '- /tmp' -aB 512 -T/x"),
            Ok(["--exclude=*.o bj", "--bwlimit=1m", "-f- /tmp", "-a", "-B512", "-T/x"]
                .map(str::to_owned)
                .to_vec())
        );
        assert_eq!(checked("--info progress2 -a"), Ok(vec!["-a".to_owned()]));
    }

    #[test]
    fn dangerous_options_are_refused_by_name_wherever_they_stand() {
        for option in [
            "-e ssh",
            "-essh",
            "-ae ssh",
            "--rsh=ssh",
            "--rsh ssh",
            "--rsync-path=x",
            "--remove-source-files",
            "--ignore-errors",
            "--trust-sender",
            "--old-args",
            "-K",
            "-avK",
            "--daemon",
            "--server",
            "-M--x",
            "-aM --x",
            "--remote-option=x",
            "--keep-dirlinks",
            "--max-delete=1",
            "-n",
            "-an",
            "--dry-run",
            "--write-devices",
            "--insecure-links",
            "--ignore-missing-args",
        ] {
            let error = checked(option).expect_err(option);
            assert!(error.contains("is refused"), "{option}: {error}");
        }
        assert!(checked("/etc").expect_err("operand").contains("not an option"));
        assert!(checked("-- /etc").expect_err("end of options").contains("not an option"));
        assert!(checked("-").is_err());
        assert!(checked("-v- /etc").is_err(), "must not become the end of the options");
        assert!(checked("--exclude").expect_err("value").contains("needs a value"));
        assert!(checked("-f '' --exclude=x").expect_err("an empty value").contains("needs a value"));
        assert_eq!(checked("-f==x"), Ok(vec!["-f==x".to_owned()]));
        assert!(checked("'a").expect_err("quotes").contains("quote"));
        assert_eq!(checked("-K --rsh=x").expect_err("both").matches("is refused").count(), 2);
    }

    #[test]
    fn delete_is_seen_in_all_its_forms() {
        let list = |text: &str| split(text).expect("splits");
        assert!(deletes(&list("-a --delete")));
        assert!(deletes(&list("--delete-after")));
        assert!(deletes(&list("--del")));
        assert!(!deletes(&list("-a")));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_an_option_and_passes_again(text in "[-aeKMnPvzf =x'\"]{0,30}") {
            if let Ok(options) = split(&text) && let Ok(kept) = check(&options) {
                prop_assert!(kept.iter().all(|option| option.starts_with('-')));
                prop_assert_eq!(check(&kept), Ok(kept.clone()));
            }
        }
    }
}
