//! Edge: `btrfs filesystem du` on a slow schedule. It takes minutes where a scan takes seconds, so it runs
//! in a thread of its own that keeps nobody waiting.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use backup_common::error_chain::ErrorChain;
use backup_sizes::exclusive;
use backup_sizes::sys;
use tracing::debug;

use super::lane::Setting;
use super::{Message, Target};
use crate::event::sizes::ExclusiveBytes;

/// Measures one directory after the other, and says when it has been everywhere.
pub fn start(setting: Setting, directories: Vec<Target>, inbox: Sender<Message>) -> io::Result<()> {
    let look = move || {
        // The programs that it starts inherit that.
        sys::be_idle();
        for (place, directory) in directories {
            match exclusive::measure(&setting.base.join(directory), setting.options.limit) {
                Ok(found) => setting.ledger.exclusive(&place, of(&found)),
                Err(error) => debug!(error = %ErrorChain(&error), "exclusive bytes stay unknown"),
            }
        }
        let _ = inbox.send(Message::ExclusiveEnded);
    };
    thread::Builder::new().name("exclusive".to_owned()).spawn(look).map(|_| ())
}

fn of(found: &exclusive::Exclusive) -> ExclusiveBytes {
    ExclusiveBytes { exclusive_bytes: found.exclusive_bytes, set_shared_bytes: found.set_shared_bytes }
}
