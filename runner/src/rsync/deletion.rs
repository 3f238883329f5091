//! Deletions that wait until rsync has counted them.
//!
//! rsync deletes as it goes, and `--max-delete` stops it only when so many are gone. An empty source would so take
//! that many files of the backup along. So a path is transferred with `--max-delete=0` first: rsync says at the end how
//! much it would have deleted, and how many files the source has. Only where both are as they should be, a second
//! call deletes, which transfers nothing ([`super::command::Step`]). Where nothing is gone, there is no second call.
//!
//! A directory that has become a file or a link on the source is not replaced by the first call, because what is in it
//! would have to go. That is an error of rsync (23), and the second call then does everything, within the limit.

use backup_common::reason::Reason;
use backup_common::record::TransferStats;
use backup_common::status::Status;
use backup_common::units;

/// rsync's exit code where deletions were left out because of `--max-delete`, and nothing else went wrong.
pub const LIMIT_REACHED: i32 = 25;

/// What follows a call that has deleted nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: there is nothing to delete, or the call has failed.
    End,
    /// A call that deletes.
    Delete,
    /// A call that deletes, and transfers what this one could not.
    Again,
    /// The path fails, and nothing is deleted.
    Refuse(Reason),
}

/// Decides from how the first call ended, its figures, and how many deletions it has left out.
///
/// That number is text, which a host can forge: a smaller one gets it the second call, which has the same limit, and a
/// larger one fails its own path. Without the text the exit code tells that there is something to delete.
pub fn next(
    code: Option<i32>,
    reason: Reason,
    figures: Option<&TransferStats>,
    left_out: Option<u64>,
    limit: Option<u64>,
) -> Next {
    let stopped = code == Some(LIMIT_REACHED);
    let is_good = matches!(reason.status(), Status::Success | Status::Warning);
    let count = match left_out {
        Some(count) => count,
        None if stopped => 0,
        None => return Next::End,
    };
    if !(stopped || is_good) {
        return Next::End;
    }
    // The source's own directory is counted too.
    if figures.is_none_or(|figures| figures.files <= 1) {
        return Next::Refuse(Reason::EmptySource);
    }
    if limit.is_some_and(|limit| count > limit) {
        return Next::Refuse(Reason::MaxDelete);
    }
    if reason == Reason::PartialTransfer { Next::Again } else { Next::Delete }
}

/// The figures of both calls as one: the source and the rates of the first, and what both have done.
pub fn together(first: TransferStats, second: TransferStats) -> TransferStats {
    TransferStats {
        files_created: first.files_created + second.files_created,
        files_deleted: first.files_deleted + second.files_deleted,
        files_transferred: first.files_transferred + second.files_transferred,
        transferred_size_bytes: first.transferred_size_bytes + second.transferred_size_bytes,
        literal_bytes: first.literal_bytes + second.literal_bytes,
        matched_bytes: first.matched_bytes + second.matched_bytes,
        sent_bytes: first.sent_bytes + second.sent_bytes,
        received_bytes: first.received_bytes + second.received_bytes,
        ..first
    }
}

/// What is said of an empty source.
pub fn of_empty_source(path: &str, held_files: bool) -> String {
    let before = if held_files { " and has held files" } else { ", and its backup is not" };
    format!("{path} is empty{before}: nothing was deleted")
}

/// What is said of a source that has lost too much.
pub fn of_shrunk_source(gone: u64, limit: u64) -> String {
    let gone = units::counted(gone, "file");
    format!(
        "{gone} of the backup would go, and max_delete allows {}: nothing was deleted",
        units::grouped(limit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(files: u64) -> TransferStats {
        TransferStats { files, ..TransferStats::default() }
    }

    fn of(code: i32, reason: Reason, files: u64, left_out: Option<u64>) -> Next {
        next(Some(code), reason, Some(&listed(files)), left_out, Some(50))
    }

    #[test]
    fn nothing_to_delete_is_the_end() {
        for reason in [Reason::Ok, Reason::VanishedFiles, Reason::PartialTransfer, Reason::EmptySource] {
            assert_eq!(of(0, reason, 9, None), Next::End, "{reason}");
        }
    }

    #[test]
    fn what_is_within_the_limit_is_deleted_after_good_ends_only() {
        assert_eq!(of(25, Reason::MaxDelete, 9, Some(50)), Next::Delete);
        assert_eq!(of(25, Reason::MaxDelete, 9, None), Next::Delete, "the limit of the second call counts");
        // Vanished files and those that can not be read have exit codes that come before.
        assert_eq!(of(24, Reason::VanishedFiles, 9, Some(1)), Next::Delete);
        assert_eq!(of(23, Reason::PartialTransfer, 9, Some(1)), Next::Again);
        for reason in
            [Reason::SourceMissing, Reason::PermissionDenied, Reason::Timeout, Reason::ConnectionLost]
        {
            assert_eq!(of(23, reason, 9, Some(1)), Next::End, "{reason}");
        }
        assert_eq!(next(None, Reason::Killed, None, Some(1), Some(50)), Next::End);
    }

    #[test]
    fn an_empty_source_and_a_shrunk_one_delete_nothing() {
        assert_eq!(of(25, Reason::EmptySource, 1, Some(1)), Next::Refuse(Reason::EmptySource));
        assert_eq!(of(24, Reason::VanishedFiles, 1, Some(1)), Next::Refuse(Reason::EmptySource));
        assert_eq!(of(25, Reason::MaxDelete, 9, Some(51)), Next::Refuse(Reason::MaxDelete));
        assert_eq!(of(24, Reason::VanishedFiles, 9, Some(51)), Next::Refuse(Reason::MaxDelete));
        assert_eq!(
            next(Some(25), Reason::MaxDelete, None, Some(1), Some(50)),
            Next::Refuse(Reason::EmptySource)
        );
    }

    #[test]
    fn the_figures_are_those_of_the_transfer_and_what_was_deleted() {
        let transfer =
            TransferStats { files: 9, files_transferred: 3, sent_bytes: 10, ..TransferStats::default() };
        let deletion =
            TransferStats { files: 8, files_deleted: 2, sent_bytes: 5, ..TransferStats::default() };
        let both = together(transfer, deletion);
        assert_eq!((both.files, both.files_transferred, both.files_deleted, both.sent_bytes), (9, 3, 2, 15));
    }
}
