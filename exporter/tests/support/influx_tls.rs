//! Certificates made with openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use backup_testkit::process;

/// A certificate with its key.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// An authority of its own.
pub fn authority(directory: &Path, name: &str) -> Pair {
    let pair = pair(directory, name);
    let subject = format!("/CN={name}");
    openssl(
        &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", &subject],
        |command| {
            command.arg("-keyout").arg(&pair.key).arg("-out").arg(&pair.certificate);
        },
    );
    pair
}

/// One file with certificate and key of a server at 127.0.0.1.
pub fn server(directory: &Path, authority: &Pair) -> PathBuf {
    let pair = pair(directory, "server");
    let options = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=127.0.0.1"];
    openssl(&options, |command| {
        command
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"])
            .arg("-CA")
            .arg(&authority.certificate)
            .arg("-CAkey")
            .arg(&authority.key)
            .arg("-keyout")
            .arg(&pair.key)
            .arg("-out")
            .arg(&pair.certificate);
    });
    let both = directory.join("both.pem");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    std::fs::write(&both, read(&pair.certificate) + &read(&pair.key)).unwrap();
    both
}

fn pair(directory: &Path, name: &str) -> Pair {
    Pair { certificate: directory.join(format!("{name}.pem")), key: directory.join(format!("{name}.key")) }
}

fn openssl(options: &[&str], more: impl FnOnce(&mut Command)) {
    let mut command = Command::new("openssl");
    command.args(options);
    more(&mut command);
    let output = process::run(&mut command);
    assert_eq!(output.code, 0, "{}", output.stderr);
}
