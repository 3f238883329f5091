//! A real ssh server on the loopback address, with keys of its own.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{self, Running};
use crate::wait;

/// A running server; it ends with its test.
pub struct Sshd {
    folder: PathBuf,
    port: u16,
    _server: Running,
}

impl Sshd {
    /// Starts a server whose files are in `folder`; it lets in the user of the test with [`Self::key`].
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("sshd");
        fs::create_dir_all(&folder).unwrap();
        for name in ["host_key", "key", "other_key"] {
            keygen(&folder.join(name));
        }
        fs::copy(folder.join("key.pub"), folder.join("authorized_keys")).unwrap();
        // Where the server changes to before it knows the user (sshd(8), PRIVSEP_PATH); made at boot elsewhere.
        let _ = fs::create_dir_all("/run/sshd");
        wait::until("a port for the ssh server", || Self::listen(&folder, process::free_port()))
    }

    fn listen(folder: &Path, port: u16) -> Option<Self> {
        let at = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 100\n",
            at("host_key"),
            at("authorized_keys")
        );
        fs::write(folder.join("config"), config).unwrap();
        let host_key = fs::read_to_string(folder.join("host_key.pub")).unwrap();
        fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        let mut server = Running::start(
            // sshd wants its absolute path, because it starts itself again for each connection.
            Command::new("/usr/sbin/sshd").args(["-D", "-f", &at("config")]).stderr(Stdio::null()),
        );
        wait::until("the ssh server", || {
            let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
            (listens || !server.is_running()).then_some(())
        });
        // Somebody else may have taken the port in between.
        server.is_running().then(|| Self { folder: folder.to_owned(), port, _server: server })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key that is let in.
    pub fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// A private key that is not let in.
    pub fn other_key(&self) -> PathBuf {
        self.folder.join("other_key")
    }

    /// A file of known hosts that holds the server's key.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    /// The keys of a host block that lead here, without a newline at the end.
    pub fn host_keys(&self) -> String {
        format!(
            "ssh_user: {}\n    hostname: 127.0.0.1\n    ssh_port: {}\n    ssh_key: {}\n    ssh_options: [UserKnownHostsFile={}]",
            user(),
            self.port,
            self.key().display(),
            self.known_hosts().display()
        )
    }
}

/// The user who runs the test.
pub fn user() -> String {
    process::run(Command::new("id").arg("-un")).stdout.trim().to_owned()
}

fn keygen(path: &Path) {
    let file = path.display().to_string();
    let made = process::run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &file]));
    assert_eq!(made.code, 0, "{}", made.stderr);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
