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
    address: String,
    port: u16,
    server: Running,
}

/// Where a server runs and what it is told besides.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The address it listens on.
    pub address: &'a str,
    /// The network namespace it runs in (`ip netns`), if not the test's own.
    pub namespace: Option<&'a str>,
    /// Lines of `sshd_config` that go before its own, so that they win.
    pub config: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { address: "127.0.0.1", namespace: None, config: "" }
    }
}

impl Sshd {
    /// Starts a server whose files are in `folder`; it lets in the user of the test with [`Self::key`].
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, Setup::default())
    }

    /// Starts a server elsewhere or with more to its configuration.
    pub fn start_with(folder: &Path, setup: Setup<'_>) -> Self {
        let folder = folder.join("sshd");
        fs::create_dir_all(&folder).unwrap();
        for name in ["host_key", "key", "other_key"] {
            keygen(&folder.join(name));
        }
        fs::copy(folder.join("key.pub"), folder.join("authorized_keys")).unwrap();
        // Where the server changes to before it knows the user (sshd(8), PRIVSEP_PATH); made at boot elsewhere.
        let _ = fs::create_dir_all("/run/sshd");
        wait::until("a port for the ssh server", || Self::listen(&folder, process::free_port(), setup))
    }

    fn listen(folder: &Path, port: u16, setup: Setup<'_>) -> Option<Self> {
        let at = |name: &str| folder.join(name).display().to_string();
        let Setup { address, namespace, config: further } = setup;
        let config = format!(
            "{further}\nPort {port}\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 100\n",
            at("host_key"),
            at("authorized_keys")
        );
        fs::write(folder.join("config"), config).unwrap();
        let host_key = fs::read_to_string(folder.join("host_key.pub")).unwrap();
        fs::write(folder.join("known_hosts"), format!("[{address}]:{port} {host_key}")).unwrap();
        let mut words = Vec::new();
        if let Some(namespace) = namespace {
            words.extend(["ip", "netns", "exec", namespace]);
        }
        // sshd wants its absolute path, because it starts itself again for each connection.
        words.extend(["/usr/sbin/sshd", "-D", "-f"]);
        let mut server =
            Running::start(Command::new(words[0]).args(&words[1..]).arg(at("config")).stderr(Stdio::null()));
        wait::until("the ssh server", || {
            let listens = TcpStream::connect((address, port)).is_ok();
            (listens || !server.is_running()).then_some(())
        });
        // Somebody else may have taken the port in between.
        let address = address.to_owned();
        server.is_running().then(|| Self { folder: folder.to_owned(), address, port, server })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key that is let in.
    pub fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// Restricts the key that is let in with these options of `authorized_keys` (sshd(8)).
    pub fn restrict(&self, options: &str) {
        let key = fs::read_to_string(self.folder.join("key.pub")).unwrap();
        fs::write(self.folder.join("authorized_keys"), format!("{options} {key}")).unwrap();
    }

    /// The process id of the server.
    pub fn id(&self) -> u32 {
        self.server.id()
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
            "ssh_user: {}\n    hostname: {}\n    ssh_port: {}\n    ssh_key: {}\n    ssh_options: [UserKnownHostsFile={}]",
            user(),
            self.address,
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
