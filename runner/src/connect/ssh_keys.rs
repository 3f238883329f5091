//! Our own ssh key: which file it is, how it is made, and how it comes to a host.

use std::fs;
use std::path::{Path, PathBuf};

use backup_common::config::SshTarget;
use rustix::process::getuid;

/// What ssh tries by itself, in the order that we prefer.
const USUAL_NAMES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// The private key of a host: `ssh_key`, else the first usual one that is there, else the one to be made.
pub fn private_key(target: &SshTarget) -> Option<PathBuf> {
    if let Some(key) = &target.key {
        return Some(key.clone());
    }
    let folder = home()?.join(".ssh");
    let there = USUAL_NAMES.iter().map(|name| folder.join(name)).find(|key| key.exists());
    Some(there.unwrap_or_else(|| folder.join(USUAL_NAMES[0])))
}

/// The public half beside a private key.
pub fn public_key(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// The user's home directory as ssh finds it: in the list of users, whatever `HOME` says.
pub fn home() -> Option<PathBuf> {
    let listed = fs::read_to_string("/etc/passwd").ok();
    let listed = listed.and_then(|text| home_in(&text, getuid().as_raw()));
    listed.or_else(|| std::env::var_os("HOME").map(PathBuf::from)).filter(|home| home.is_absolute())
}

/// The home directory of a user id in the text of passwd(5).
fn home_in(passwd: &str, user_id: u32) -> Option<PathBuf> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let id: u32 = fields.get(2)?.parse().ok()?;
        (id == user_id).then(|| fields.get(5).map(PathBuf::from)).flatten()
    })
}

/// The arguments of ssh-keygen for a new key without a passphrase, because a timer can type none.
pub fn keygen_arguments(private: &Path) -> Vec<String> {
    let file = private.display().to_string();
    ["-q", "-t", "ed25519", "-N", "", "-C", "backup-runner", "-f", &file].map(str::to_owned).to_vec()
}

/// The arguments of ssh-copy-id. It takes options in their long form only, and may ask for a password.
pub fn copy_arguments(target: &SshTarget, public: &Path) -> Vec<String> {
    let mut arguments = vec!["-i".to_owned(), public.display().to_string()];
    if let Some(port) = target.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    for option in [
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "PermitLocalCommand=no",
        "ControlPath=none",
    ] {
        arguments.extend(["-o".to_owned(), option.to_owned()]);
    }
    arguments.extend(long_options(&target.options));
    arguments.push(format!("{}@{}", target.user, target.hostname));
    arguments
}

/// The user's ssh options (see [`backup_common::ssh_options`]) without single letters.
fn long_options(options: &[String]) -> Vec<String> {
    let mut long = Vec::new();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let named = |name: &str, value: Option<&String>| value.map(|value| format!("{name}={value}"));
        let option = match word.as_str() {
            "-4" => Some("AddressFamily=inet".to_owned()),
            "-6" => Some("AddressFamily=inet6".to_owned()),
            "-C" => Some("Compression=yes".to_owned()),
            "-F" => {
                long.extend(words.next().map(|file| ["-F".to_owned(), file.clone()]).into_iter().flatten());
                None
            }
            "-o" => words.next().cloned(),
            "-B" => named("BindInterface", words.next()),
            "-b" => named("BindAddress", words.next()),
            "-c" => named("Ciphers", words.next()),
            "-I" => named("PKCS11Provider", words.next()),
            "-i" => named("IdentityFile", words.next()),
            "-J" => named("ProxyJump", words.next()),
            "-m" => named("MACs", words.next()),
            // -q changes nothing of the connection.
            _ => None,
        };
        long.extend(option.map(|option| ["-o".to_owned(), option]).into_iter().flatten());
    }
    long
}

#[cfg(test)]
mod tests {
    use backup_common::ssh_options;
    use proptest::prelude::*;

    use super::*;

    fn target(options: Vec<String>) -> SshTarget {
        SshTarget {
            user: "backup".to_owned(),
            hostname: "server1".to_owned(),
            port: Some(2222),
            key: Some(PathBuf::from("/root/.ssh/backup")),
            options,
        }
    }

    #[test]
    fn every_flag_of_the_configuration_has_its_long_form() {
        for (entry, expected) in [
            ("-4", "AddressFamily=inet"),
            ("-J jump.example.com", "ProxyJump=jump.example.com"),
            ("-B eth0", "BindInterface=eth0"),
            ("-b 192.0.2.1", "BindAddress=192.0.2.1"),
            ("-c aes128-ctr", "Ciphers=aes128-ctr"),
            ("-m hmac-sha2-256", "MACs=hmac-sha2-256"),
            ("-I /lib/x.so", "PKCS11Provider=/lib/x.so"),
            ("-i /k", "IdentityFile=/k"),
            ("UserKnownHostsFile=/k", "UserKnownHostsFile=/k"),
        ] {
            let arguments = ssh_options::arguments(entry).expect("an accepted option");
            assert_eq!(long_options(&arguments), ["-o", expected], "{entry}");
        }
        assert_eq!(long_options(&["-F".to_owned(), "/c".to_owned(), "-q".to_owned()]), ["-F", "/c"]);
    }

    #[test]
    fn the_key_is_copied_to_the_configured_user() {
        let arguments = copy_arguments(&target(Vec::new()), Path::new("/root/.ssh/backup.pub"));
        assert_eq!(arguments[..4], ["-i", "/root/.ssh/backup.pub", "-p", "2222"]);
        assert_eq!(arguments.last().map(String::as_str), Some("backup@server1"));
        assert!(arguments.contains(&"StrictHostKeyChecking=yes".to_owned()));
    }

    #[test]
    fn the_home_is_that_of_the_user_id() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nu:x:1000:1000::/home/u:/bin/sh\n";
        assert_eq!(home_in(passwd, 1000), Some(PathBuf::from("/home/u")));
        assert_eq!(home_in(passwd, 0), Some(PathBuf::from("/root")));
        assert_eq!(home_in(passwd, 7), None);
    }

    proptest! {
        #[test]
        fn a_value_never_becomes_an_option(value in "[ -~]{0,40}") {
            if let Ok(arguments) = ssh_options::arguments(&format!("-o ProxyCommand={value}")) {
                let long = long_options(&arguments);
                prop_assert_eq!(long.len() % 2, 0);
                prop_assert!(long.iter().step_by(2).all(|word| word == "-o" || word == "-F"));
            }
        }
    }
}
