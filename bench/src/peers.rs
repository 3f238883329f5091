//! The web servers that the exporter is measured beside.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use backup_testkit::process::{self, Running, free_port};
use backup_testkit::wait;

/// A running server.
pub struct Server {
    process: Running,
    /// Address and port.
    pub address: String,
}

impl Server {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn start(command: &mut Command, port: u16) -> Self {
        let process = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let address = format!("127.0.0.1:{port}");
        wait::until("a server to listen", || TcpStream::connect(&address).ok().map(drop));
        Self { process, address }
    }
}

impl Drop for Server {
    /// In order, as nginx's workers outlive a master that was killed.
    fn drop(&mut self) {
        if self.process.is_running() {
            self.process.signal("TERM");
            self.process.wait();
        }
    }
}

/// Prometheus's own exporter of the machine, as the distribution starts it.
pub fn node_exporter() -> Server {
    let port = free_port();
    Server::start(
        Command::new("prometheus-node-exporter").arg(format!("--web.listen-address=127.0.0.1:{port}")),
        port,
    )
}

/// A program with Prometheus's Go client and so many gauges, in as many families as the exporter's paths have.
///
/// It is built in the directory of the programs, where Go's own cache stays too.
pub fn go_client(programs: &Path, hosts: usize, paths: usize) -> Server {
    let program = programs.join("go-client");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go-client/main.go");
    let made = process::run(
        Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(source)
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", programs.join("go-cache")),
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let port = free_port();
    Server::start(
        Command::new(program).args([format!("127.0.0.1:{port}"), hosts.to_string(), paths.to_string()]),
        port,
    )
}

/// nginx with these bytes as a static file, and the same compressed beforehand.
pub fn nginx(folder: &Path, plain: &[u8], gzip: &[u8]) -> Server {
    let root = folder.join("nginx");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("metrics"), plain).unwrap();
    fs::write(root.join("metrics.gz"), gzip).unwrap();
    let port = free_port();
    let home = root.display();
    let config = format!(
        "daemon off; pid {home}/pid; error_log stderr crit; user root; worker_processes auto;\n\
         events {{ }}\nhttp {{ access_log off; sendfile on; tcp_nopush on; gzip_static on; default_type text/plain;\n\
         server {{ listen 127.0.0.1:{port}; root {home}; }} }}\n"
    );
    fs::write(root.join("nginx.conf"), config).unwrap();
    File::create(root.join("error.log")).unwrap();
    Server::start(Command::new("nginx").arg("-p").arg(&root).arg("-c").arg(root.join("nginx.conf")), port)
}
