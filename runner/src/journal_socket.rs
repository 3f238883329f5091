//! Hands entries to journald by its native protocol: one datagram of fields, or a sealed memory file with
//! them where they are too large for one (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! The protocol is small, and a path given from outside lets a test listen in; libsystemd would be one more
//! library in a process of root, and the crates for it bring a logging framework along.

use std::env;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest wait for a journald that does not read; the backup goes on meanwhile, and then without it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Severities of syslog(3), as the field `PRIORITY` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Something is not in the backup.
    Error = 3,
    /// Somebody should know.
    Warning = 4,
    /// What happened.
    Info = 6,
    /// For a closer look.
    Debug = 7,
}

/// One entry: its fields in the form of the protocol.
#[derive(Debug, Default)]
pub struct Entry(Vec<u8>);

impl Entry {
    /// Adds a field. A value with a newline gets its length before it, so that it can not forge another field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
        self
    }

    /// The bytes of the datagram.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A socket that needs no connection, so that a journald that was restarted is found again.
#[derive(Debug)]
pub struct JournalSocket {
    socket: UnixDatagram,
    path: PathBuf,
    gave_up: bool,
}

impl JournalSocket {
    /// A socket for the journald at this path, whether it is there or not.
    pub fn new(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, path: path.to_owned(), gave_up: false })
    }

    /// Sends an entry.
    ///
    /// # Errors
    /// When nobody listens, or does not read; an entry that waited in vain makes the next ones not wait.
    pub fn send(&mut self, entry: &Entry) -> io::Result<()> {
        let sent = match uninterrupted(|| self.socket.send_to(entry.as_bytes(), &self.path)) {
            Ok(_) => Ok(()),
            Err(error) if is_too_large(&error) => self.send_as_file(entry.as_bytes()),
            Err(error) => Err(error),
        };
        let gave_up = sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if gave_up != self.gave_up {
            self.gave_up = gave_up;
            self.socket.set_nonblocking(gave_up)?;
        }
        sent
    }

    fn send_as_file(&self, bytes: &[u8]) -> io::Result<()> {
        let file = sealed_file(bytes)?;
        let address = SocketAddrUnix::new(&self.path)?;
        let files = [file.as_fd()];
        uninterrupted(|| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&files));
            sendmsg_addr(&self.socket, &address, &[IoSlice::new(&[])], &mut control, SendFlags::NOSIGNAL)
                .map_err(io::Error::from)
        })?;
        Ok(())
    }
}

/// Calls again what a signal has ended. The kernel does not do so for a socket with a time limit, not even when the
/// process was only stopped and goes on (signal(7), "Interruption of system calls and library functions by stop
/// signals").
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

fn is_too_large(error: &io::Error) -> bool {
    [Errno::MSGSIZE, Errno::NOBUFS].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// journald reads only a file that nobody can change any more.
fn sealed_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd_create("journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut left = bytes;
    while !left.is_empty() {
        left = &left[rustix::io::write(&file, left)?..];
    }
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}

/// Whether standard error or standard output is the stream that systemd connected to the journal: its device
/// and inode stand in `JOURNAL_STREAM` (systemd.exec(5)).
///
/// The variable alone says nothing: a program that was started with another output inherits it as well.
pub fn is_connected() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    is_stream(&stream, io::stderr().as_fd()) || is_stream(&stream, io::stdout().as_fd())
}

fn is_stream(stream: &str, file: BorrowedFd<'_>) -> bool {
    let numbers = stream
        .split_once(':')
        .and_then(|(device, inode)| Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?)));
    numbers.is_some_and(|numbers| fstat(file).is_ok_and(|found| numbers == (found.st_dev, found.st_ino)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::process::Command;

    use backup_testkit::process::Running;
    use backup_testkit::wait;

    use rustix::fs::fcntl_get_seals;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    #[test]
    fn fields_have_the_form_of_the_protocol() {
        let entry = Entry::default().field("MESSAGE", "a=b").field("X", "1\nPRIORITY=0");
        assert_eq!(entry.as_bytes(), b"MESSAGE=a=b\nX\n\x0c\x00\x00\x00\x00\x00\x00\x001\nPRIORITY=0\n");
    }

    #[test]
    fn an_entry_is_one_datagram() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let mut socket = JournalSocket::new(&path).expect("a socket");
        let entry = Entry::default().field("MESSAGE", "one");
        assert!(socket.send(&entry).is_err(), "nobody listens");
        let journald = UnixDatagram::bind(&path).expect("bound");
        socket.send(&entry).expect("found when it comes");
        let mut buffer = [0; 100];
        let count = journald.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..count], b"MESSAGE=one\n");
    }

    #[test]
    fn a_large_entry_is_a_sealed_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("bound");
        let mut socket = JournalSocket::new(&path).expect("a socket");
        let entry = Entry::default().field("MESSAGE", &"x".repeat(5_000_000));
        socket.send(&entry).expect("sent");

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 10];
        let got =
            recvmsg(&journald, &mut [io::IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        assert_eq!(got.expect("received").bytes, 0);
        let Some(RecvAncillaryMessage::ScmRights(mut files)) = control.drain().next() else {
            panic!("no file came")
        };
        let file = files.next().expect("one file");
        let seals = fcntl_get_seals(&file).expect("seals");
        assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL));
        let mut content = Vec::new();
        // The offset is shared with the writer.
        let mut file = File::from(file);
        io::Seek::rewind(&mut file).expect("rewound");
        file.read_to_end(&mut content).expect("read");
        assert_eq!(content, entry.as_bytes());
    }

    #[test]
    fn a_journald_that_does_not_read_is_waited_for_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("bound");
        let mut socket = JournalSocket::new(&path).expect("a socket");
        let entry = Entry::default().field("MESSAGE", "x");
        let error = loop {
            if let Err(error) = socket.send(&entry) {
                break error;
            }
        };
        assert!(socket.gave_up, "{error}");
        assert!(socket.send(&entry).is_err());
        while socket.gave_up {
            journald.recv(&mut [0; 100]).expect("read");
            let _ = socket.send(&entry);
        }
    }

    #[test]
    fn what_a_signal_has_ended_is_called_again() {
        let mut answers = vec![Ok(1), Err(Errno::INTR), Err(Errno::INTR)];
        let mut call = || answers.pop().expect("called too often").map_err(io::Error::from);
        assert_eq!(uninterrupted(&mut call).expect("sent"), 1);
        let refused = uninterrupted(|| Err::<(), _>(io::Error::from(Errno::CONNREFUSED)));
        assert_eq!(refused.expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
    }

    /// A process that is stopped and goes on (Ctrl-Z and `fg`, a frozen control group) has its calls ended.
    #[test]
    fn an_entry_waits_through_a_stop() {
        const SOCKET_OF_THE_CHILD: &str = "BACKUP_TEST_JOURNAL_SOCKET";
        if let Some(path) = env::var_os(SOCKET_OF_THE_CHILD) {
            let mut socket = JournalSocket::new(Path::new(&path)).expect("a socket");
            socket.socket.set_write_timeout(Some(wait::DEADLINE)).expect("patient");
            return socket.send(&Entry::default().field("MESSAGE", "waited")).expect("sent in the end");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("bound");
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("set");
        while filler.send_to(b"full", &path).is_ok() {}

        let mut child = Running::start(
            Command::new(env::current_exe().expect("this program"))
                .args(["--exact", "journal_socket::tests::an_entry_waits_through_a_stop"])
                .env(SOCKET_OF_THE_CHILD, &path),
        );
        let tasks = format!("/proc/{}/task", child.id());
        let any_task = |file: &str, wanted: fn(&str) -> bool| {
            let mut tasks = fs::read_dir(&tasks).into_iter().flatten().flatten();
            tasks.any(|task| fs::read_to_string(task.path().join(file)).is_ok_and(|text| wanted(&text)))
        };
        // The number of sendto(2) on x86-64 and on the newer platforms.
        let sends = |call: &str| call.starts_with("44 ") || call.starts_with("206 ");
        wait::until("the child to wait for journald", || any_task("syscall", sends).then_some(()));
        child.signal("STOP");
        wait::until("the child to stop", || {
            any_task("status", |text| text.contains("T (stopped)")).then_some(())
        });
        child.signal("CONT");

        let mut bytes = [0; 100];
        let mut receive =
            || journald.recv(&mut bytes).map(|count| bytes[..count].to_vec()).expect("received");
        journald.set_read_timeout(Some(wait::DEADLINE)).expect("set");
        while receive() != b"MESSAGE=waited\n" {}
        assert!(child.wait().success());
    }

    #[test]
    fn the_stream_is_known_by_its_numbers() {
        let file = tempfile::tempfile().expect("a file");
        let found = fstat(&file).expect("found");
        assert!(is_stream(&format!("{}:{}", found.st_dev, found.st_ino), file.as_fd()));
        for other in ["", ":", "1", "a:b", &format!("{}:{}", found.st_dev, found.st_ino + 1)] {
            assert!(!is_stream(other, file.as_fd()), "{other}");
        }
    }
}
