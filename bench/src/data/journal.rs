//! Journal files with the entries of many units, made by systemd-journal-remote(8) from the export format.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::Advice;

const REMOTE: [&str; 2] = ["/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote"];

/// The unit that is looked for.
pub const UNIT: &str = "backup.service";

/// One entry in so many is the unit's.
pub const SHARE: usize = 50;

/// Entries of one session of the unit.
const SESSION: usize = 100;

/// Time of the first entry, in microseconds since 1970.
const BEGIN: usize = 1_767_225_600_000_000;

/// Identifiers of systemd's messages: a unit starts, and it has ended well.
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
const SUCCESS: &str = "7ad2d189f7e94e70a38c781354912448";

/// Writes a file with so many entries in a directory.
pub fn make(directory: &Path, entries: usize) {
    fs::create_dir_all(directory).unwrap();
    let remote =
        REMOTE.iter().find(|path| Path::new(path).exists()).expect("systemd-journal-remote is missing");
    let mut child = Command::new(remote)
        .arg("-o")
        .arg(directory.join("system.journal"))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufWriter::with_capacity(1 << 20, child.stdin.take().unwrap());
    for number in 0..entries {
        out.write_all(entry(number).as_bytes()).unwrap();
    }
    drop(out);
    assert!(child.wait().unwrap().success(), "systemd-journal-remote failed");
}

/// Lets the kernel forget the files and reads them from the disk again, as they are after a start of the machine: it
/// holds them in large folios then, where a file that was written by way of a mapping is in single pages.
pub fn read_back(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let mut file = File::open(entry.unwrap().path()).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        io::copy(&mut file, &mut io::sink()).unwrap();
    }
}

/// One entry with the fields that journald gives to what a service prints.
fn entry(number: usize) -> String {
    let mut text = format!(
        "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={:032x}\n_MACHINE_ID={:032x}\n_HOSTNAME=server\n\
         _RUNTIME_SCOPE=system\nPRIORITY=6\nSYSLOG_FACILITY=3\n_SELINUX_CONTEXT=unconfined\n",
        BEGIN + number * 1000,
        1_000_000 + number * 1000,
        1,
        2
    );
    let is_ours = number.is_multiple_of(SHARE);
    let place = number / SHARE;
    let invocation = format!("{:032x}", place / SESSION + 1);
    let manager = match place % SESSION {
        0 => Some((STARTING, "Starting backup.service - Backup...")),
        99 => Some((SUCCESS, "backup.service: Deactivated successfully.")),
        _ => None,
    };
    let _ = if let Some((id, message)) = manager.filter(|_| is_ours) {
        write!(
            text,
            "_PID=1\n_UID=0\n_GID=0\n_COMM=systemd\n_TRANSPORT=journal\nSYSLOG_IDENTIFIER=systemd\nUNIT={UNIT}\n\
             INVOCATION_ID={invocation}\nMESSAGE_ID={id}\nMESSAGE={message}\n\n"
        )
    } else {
        let (unit, program) = if is_ours {
            (UNIT.to_owned(), "rsync".to_owned())
        } else {
            (format!("service{}.service", number % 20), format!("program{}", number % 20))
        };
        let pid = 1000 + number % 20;
        write!(
            text,
            "_PID={pid}\n_UID=0\n_GID=0\n_COMM={program}\n_EXE=/usr/bin/{program}\n_CMDLINE=/usr/bin/{program} --all --of --it\n\
                 _CAP_EFFECTIVE=1ffffffffff\n_TRANSPORT=stdout\n_STREAM_ID={pid:032x}\n_SYSTEMD_CGROUP=/system.slice/{unit}\n\
                 _SYSTEMD_SLICE=system.slice\n_SYSTEMD_UNIT={unit}\n_SYSTEMD_INVOCATION_ID={invocation}\n\
                 SYSLOG_IDENTIFIER={program}\nMESSAGE=message {number} of {program}: received 1234 bytes and wrote them\n\n"
        )
    };
    text
}
