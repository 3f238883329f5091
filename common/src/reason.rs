//! Why something ended as it did: one closed list for records, journal, metrics, alerts and people.

use std::fmt;

use crate::status::Status;

/// One row of the list: the reason and what a person needs to know about it.
struct Entry {
    reason: Reason,
    name: &'static str,
    status: Status,
    /// The reason can pass by itself, so that another try in the same run makes sense.
    passes: bool,
    cause: &'static str,
    remedy: &'static str,
}

/// Declares the enum and its table together, so that no reason can lack a name, a cause or a remedy.
macro_rules! reasons {
    ($($variant:ident $name:literal $status:ident $passes:literal $cause:literal $remedy:literal;)*) => {
        #[expect(clippy::doc_markdown, reason = "the causes are shown to people, who want no backticks")]
        /// A way of ending. The meaning of each stands in [`Reason::cause`] and [`Reason::remedy`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $cause] $variant,)*
        }

        const ENTRIES: &[Entry] = &[$(Entry {
            reason: Reason::$variant,
            name: $name,
            status: Status::$status,
            passes: $passes,
            cause: $cause,
            remedy: $remedy,
        },)*];
    };
}

reasons! {
    Ok "ok" Success false
        "Everything was transferred."
        "Nothing to do.";
    PartialTransfer "partial_transfer" Warning false
        "Some single files could not be transferred (rsync exit code 23)."
        "Read the messages of the path; fix the permissions of the named files or exclude them.";
    VanishedFiles "vanished_files" Warning false
        "Files vanished on the source while they were transferred (rsync exit code 24)."
        "Usually harmless; exclude short-lived files or back up from a snapshot of the source.";
    Unreachable "unreachable" Failed true
        "The host does not answer."
        "Check that it is on and on the network; set optional: true for machines that come and go.";
    NameNotFound "name_not_found" Failed true
        "The host's name has no address."
        "Check hostname in the config and the resolver: getent hosts NAME.";
    ConnectionRefused "connection_refused" Failed true
        "The host is there, but nothing listens on the ssh port."
        "Start the ssh server on the host, or correct ssh_port.";
    AuthFailed "auth_failed" Failed false
        "The host refused the key."
        "Run backup-runner --verify-hosts on a terminal to install the key, or check ssh_user and ssh_key.";
    HostKeyChanged "host_key_changed" Failed false
        "The host shows another key than the one known."
        "Find out why; if the host was installed anew, remove the old key with ssh-keygen -R HOST and verify it again.";
    HostKeyUnknown "host_key_unknown" Failed false
        "The host's key has never been confirmed."
        "Run backup-runner --verify-hosts on a terminal and compare the fingerprint.";
    ConnectionLost "connection_lost" Failed true
        "The connection broke during the transfer."
        "Check the network and the host's logs; the next run continues where this one stopped.";
    Timeout "timeout" Failed true
        "A time limit was reached."
        "Look for a hung disk or network; raise connect_timeout, io_timeout or path_timeout if the work really takes longer.";
    RsyncMissing "rsync_missing" Failed false
        "rsync is not installed on the host, or not where it is looked for."
        "Install rsync on the host, or set rsync_path.";
    RsyncUsage "rsync_usage" Failed false
        "rsync did not accept its options (exit code 1)."
        "Check rsync_options against the rsync versions on both sides.";
    Protocol "protocol" Failed false
        "The two rsyncs did not understand each other (exit code 2 or 12)."
        "Make sure that the remote shell prints nothing on login: ssh HOST true; compare the rsync versions.";
    SourceMissing "source_missing" Failed false
        "The source directory is not there."
        "Check path in the config, and that the file system it is on is mounted.";
    PermissionDenied "permission_denied" Failed false
        "The source or the destination may not be read or written."
        "Give ssh_user the right to read it, for example with rsync_path: sudo rsync.";
    ReadOnly "read_only" Failed false
        "The destination's file system is read-only."
        "Look at dmesg for the cause, then remount it read-write.";
    NoSpace "no_space" Failed false
        "The backup volume is full."
        "Delete snapshots or enlarge the volume; for btrfs look at btrfs filesystem usage.";
    MaxDelete "max_delete" Failed false
        "More files would be deleted than the path's budget allows (exit code 25)."
        "Check that the source is whole; accept once with --force-delete HOST:PATH, or raise max_delete.";
    EmptySource "empty_source" Failed false
        "The source is empty, though it held files before."
        "Check that it is mounted; accept once with --force-delete HOST:PATH.";
    HookFailed "hook_failed" Failed false
        "A script failed."
        "Read its output in the messages; run it by hand.";
    HookSkip "hook_skip" Skipped false
        "The pre-script said \"not now\" (exit code 75)."
        "Nothing to do, unless it lasts.";
    HookTimeout "hook_timeout" Failed false
        "A script took longer than hook_timeout."
        "Look where it hangs, or raise hook_timeout.";
    Killed "killed" Failed true
        "rsync was killed by a signal from outside."
        "Look for the out-of-memory killer in the journal: journalctl -k.";
    Interrupted "interrupted" Failed false
        "The run was stopped by a signal before this was finished."
        "Start it again; the next run continues where this one stopped.";
    Died "died" Failed false
        "Started and never finished: the runner was killed, or the machine went down."
        "Look at the journal around that time; the next run continues where this one stopped.";
    OutOfMemory "out_of_memory" Failed true
        "The kernel killed the run because memory ran out."
        "Look at the memory limits of the service and at journalctl -k; lower parallel.";
    NotStarted "not_started" Failed false
        "systemd could not start the service, or did not because of a condition."
        "systemctl status UNIT names the cause: a missing program, a failed dependency, a condition.";
    Locked "locked" Failed false
        "Another run holds the lock."
        "Wait for it to end; fuser LOCK_FILE names the process.";
    ConfigInvalid "config_invalid" Failed false
        "The configuration has errors, so nothing was started."
        "backup-runner --check-config lists them all with their lines.";
    BaseMissing "base_missing" Failed false
        "The backup directory is not there, or is not the file system it should be."
        "Mount the backup volume; check backup_base.";
    Disabled "disabled" Skipped false
        "The host is switched off in the configuration (enabled: false)."
        "Set enabled: true to back it up again.";
    Other "other" Failed false
        "Something else went wrong."
        "Read the messages and the exit code.";
}

impl Reason {
    /// Every reason, in the order of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| entry.reason)
    }

    /// The name used in records, journal fields and metric labels.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The reason of this name, if it is one of the closed list.
    pub fn from_name(name: &str) -> Option<Self> {
        ENTRIES.iter().find(|entry| entry.name == name).map(|entry| entry.reason)
    }

    /// The status that this reason means for a path.
    pub fn status(self) -> Status {
        self.entry().status
    }

    /// Whether the reason can pass by itself; auth and host key problems never do.
    pub fn passes(self) -> bool {
        self.entry().passes
    }

    /// What happened, in one sentence.
    pub fn cause(self) -> &'static str {
        self.entry().cause
    }

    /// What to do about it, in one sentence.
    pub fn remedy(self) -> &'static str {
        self.entry().remedy
    }

    fn entry(self) -> &'static Entry {
        // The table is written in the order of the variants; `table_follows_the_enum` checks it.
        &ENTRIES[self as usize]
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn table_follows_the_enum() {
        for (index, entry) in ENTRIES.iter().enumerate() {
            assert_eq!(entry.reason as usize, index);
            assert_eq!(Reason::from_name(entry.name), Some(entry.reason));
            assert!(entry.cause.ends_with('.') && entry.remedy.ends_with('.'), "{}", entry.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = Reason::all().map(Reason::name).collect();
        assert_eq!(names.len(), Reason::all().count());
        assert_eq!(names.len(), 33);
    }

    #[test]
    fn only_ok_is_a_success() {
        let good: Vec<_> = Reason::all().filter(|reason| reason.status() == Status::Success).collect();
        assert_eq!(good, [Reason::Ok]);
    }
}
