//! Edge: the space of the file system of the backup directory.

use std::path::Path;

use super::QUESTION;
use super::beside::Beside;
use crate::event::Event;
use crate::event::sizes::{SizesEvent, VolumeBytes};

/// The space of the file system of a directory; none if it does not answer.
pub fn volume(base: &Path) -> Option<Event> {
    ask(&mut Beside::default(), base)
}

/// The same, unless an earlier question is still without an answer.
pub fn ask(beside: &mut Beside, base: &Path) -> Option<Event> {
    let base = base.to_owned();
    let found = beside.ask(QUESTION, move || rustix::fs::statvfs(&base))?.ok()?;
    Some(Event::Sizes(SizesEvent::Volume(space(&found))))
}

fn space(found: &rustix::fs::StatVfs) -> VolumeBytes {
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    VolumeBytes {
        size: bytes(found.f_blocks),
        used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        free: bytes(found.f_bavail),
    }
}
