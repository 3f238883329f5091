//! `--verify-hosts` and the quick checks before a backup, with real ssh servers on the loopback address.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use backup_common::reason::Reason;
use backup_common::record::Body;
use backup_common::status::Status;
use backup_testkit::process::{Output, free_port, run};
use backup_testkit::sshd::{Setup, Sshd};
use support::{Site, host};

fn verify(site: &Site, arguments: &[&str]) -> Output {
    run(site.command(&["--verify-hosts"]).args(arguments))
}

/// The one line of a host, without the spaces that align it.
fn line(output: &Output, host: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let found: Vec<_> =
        output.stdout.lines().map(words).filter(|line| line.starts_with(&format!("{host} "))).collect();
    assert_eq!(found.len(), 1, "one line for {host}: {output:?}");
    found[0].clone()
}

fn installed_rsync() -> String {
    let text = run(Command::new("rsync").arg("--version")).stdout;
    text.split_whitespace().nth(2).unwrap().trim_start_matches('v').to_owned()
}

/// A file with the wrong key of a server, and an empty one.
fn known_hosts(site: &Site, sshd: &Sshd) -> (String, String) {
    let (changed, empty) = (site.path("changed"), site.path("empty"));
    let other = fs::read_to_string(sshd.other_key().with_extension("pub")).unwrap();
    fs::write(&changed, format!("[127.0.0.1]:{} {other}", sshd.port())).unwrap();
    fs::write(&empty, "").unwrap();
    (changed.display().to_string(), empty.display().to_string())
}

#[test]
fn each_host_has_one_line_with_its_reason_and_remedy() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("a b [c]*'$(id)", &[("f", "1")]);
    let (gone, file) = (site.path("gone"), source.join("f"));
    let keys = sshd.host_keys();
    let own_key = sshd.key().display().to_string();
    let known = sshd.known_hosts().display().to_string();
    let (changed, empty) = known_hosts(&site, &sshd);
    let port = format!("ssh_port: {}", sshd.port());
    let refused = format!("ssh_port: {}", free_port());
    let cases = [
        (
            "auth",
            keys.replace(&own_key, &sshd.other_key().display().to_string()),
            &source,
            Reason::AuthFailed,
        ),
        ("changed", keys.replace(&known, &changed), &source, Reason::HostKeyChanged),
        ("file", keys.clone(), &file, Reason::SourceMissing),
        ("here-bad", String::new(), &gone, Reason::SourceMissing),
        ("missing", keys.clone(), &gone, Reason::SourceMissing),
        ("name", keys.replace("127.0.0.1", "no-such-host.invalid"), &source, Reason::NameNotFound),
        ("no-rsync", format!("{keys}\n    rsync_path: /nonexistent/rsync"), &source, Reason::RsyncMissing),
        ("refused", keys.replace(&port, &refused), &source, Reason::ConnectionRefused),
        ("unknown", keys.replace(&known, &empty), &source, Reason::HostKeyUnknown),
    ];
    let quoted = |path: &Path| path.display().to_string().replace('\'', "''");
    let block = |name: &str, keys: &str, path: &Path| {
        let separator = if keys.is_empty() { "" } else { "    " };
        format!(
            "  {name}:\n{separator}{keys}\n    paths: [{{path: '{}', dest_subdir: data}}]\n",
            quoted(path)
        )
    };
    let mut hosts: String = cases.iter().map(|(name, keys, path, _)| block(name, keys, path)).collect();
    hosts += &block("good", &keys, &source);
    hosts += &block("here-good", "", &source);
    hosts += &block("off", "enabled: false", &gone);
    site.configure("", &hosts);
    let output = verify(&site, &[]);
    assert_eq!(output.code, 10, "{output:?}");
    for (name, _, _, reason) in &cases {
        let line = line(&output, name);
        assert!(line.starts_with(&format!("{name} failed {reason} ")), "{line}: {output:?}");
        assert!(line.contains(reason.cause()) && line.contains(reason.remedy()), "{line}");
    }
    let version = installed_rsync();
    let place = format!("{}@127.0.0.1:{}", backup_testkit::sshd::user(), sshd.port());
    assert_eq!(
        line(&output, "good"),
        format!("good success ok {place}, rsync {version}, 1 path readable, the key runs any command")
    );
    assert_eq!(
        line(&output, "here-good"),
        format!("here-good success ok this machine, rsync {version}, 1 path readable")
    );
    assert!(!output.stdout.contains("off ") && !output.stdout.contains('\u{1b}'), "{output:?}");
    // Nothing was written, and no question was asked without a terminal.
    assert_eq!(fs::read_dir(site.base()).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(&empty).unwrap(), "");
    assert!(!site.path("stats.log").exists());

    let chosen = verify(&site, &["--host", "good", "--host", "here-good"]);
    assert_eq!((chosen.code, chosen.stdout.lines().count()), (0, 3), "{chosen:?}");
    assert_eq!(verify(&site, &["--host", "nobody"]).code, 2);
    assert_eq!(verify(&site, &["--host", "off"]).code, 75);
}

#[test]
fn each_path_is_told_apart_and_a_required_file_must_be_there() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[(".backup me", "1")]);
    let bare = site.source("bare", &[]);
    let gone = site.path("gone");
    let (source, bare, gone) = (source.display(), bare.display(), gone.display());
    let paths = |paths: &str| format!("    {}\n    paths: [{paths}]\n", sshd.host_keys());
    let good = format!("{{path: {source}, dest_subdir: a, require: .backup me}}");
    let bad_file = format!("{{path: {bare}, dest_subdir: b, require: .other}}");
    let bad_path = format!("{{path: {gone}, dest_subdir: c}}");
    site.configure(
        "",
        &format!(
            "  good:\n{}  mixed:\n{}",
            paths(&good),
            paths(&[good.as_str(), &bad_file, &bad_path].join(", "))
        ),
    );
    let output = verify(&site, &[]);
    assert_eq!(output.code, 10);
    assert!(line(&output, "good").starts_with("good success ok "), "{output:?}");
    assert!(line(&output, "mixed").starts_with("mixed failed source_missing "), "{output:?}");
    let details = output.stdout.split("\nmixed:\n").nth(1).unwrap();
    assert!(details.contains(&format!("required file {bare}/.other cannot be found")), "{details}");
    assert!(details.contains(&format!("{gone}: {}", Reason::SourceMissing.cause())), "{details}");
}

#[test]
#[ignore = "needs root: a directory is only unreadable for somebody else"]
fn an_unreadable_path_is_named_for_the_user_that_reads_it() {
    let site = Site::new();
    // The temporary directory of a test is closed, so somebody else has to be let through it.
    fs::set_permissions(site.path("."), Permissions::from_mode(0o755)).unwrap();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("closed", &[("f", "1")]);
    fs::set_permissions(&source, Permissions::from_mode(0o700)).unwrap();
    // rsync as nobody, as a login without rights would be.
    let keys = format!("{}\n    rsync_path: setpriv --reuid=65534 --clear-groups rsync", sshd.host_keys());
    site.configure("", &(host("closed", &keys, &source) + &host("open", &sshd.host_keys(), &source)));
    let output = verify(&site, &[]);
    assert!(line(&output, "closed").starts_with("closed failed permission_denied "), "{output:?}");
    assert!(line(&output, "open").starts_with("open success ok "), "{output:?}");
}

#[test]
fn a_key_restricted_to_rrsync_is_enough_to_verify_and_to_back_up() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    sshd.restrict("restrict,command=\"rrsync -ro /\"");
    let source = site.source("a b [c]*?", &[("d e/f", "1")]);
    let keys = format!("{}\n    rsync_options: -z --exclude '*.tmp'", sshd.host_keys());
    site.configure("", &host("h", &keys, &source));
    let output = verify(&site, &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(line(&output, "h").ends_with("rsync, 1 path readable, restricted key"), "{output:?}");
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(fs::read_to_string(site.base().join("h/data/d e/f")).unwrap(), "1");

    // The same key, another directory: the source is not there for it.
    sshd.restrict(&format!("restrict,command=\"rrsync -ro {}\"", site.base().display()));
    let output = verify(&site, &[]);
    assert_eq!(output.code, 10, "{output:?}");
}

#[test]
fn an_ipv6_address_is_an_address() {
    let site = Site::new();
    let sshd = Sshd::start_with(&site.path("."), Setup { address: "::1", ..Setup::default() });
    let source = site.source("src", &[("f", "1")]);
    let keys = sshd.host_keys().replace("hostname: ::1", "hostname: '::1'");
    site.configure("", &host("h", &keys, &source));
    let output = verify(&site, &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(line(&output, "h").contains(&format!("@[::1]:{},", sshd.port())), "{output:?}");
    assert_eq!(site.backup(&[]).code, 0);
}

#[test]
fn a_talkative_login_shell_is_found() {
    let site = Site::new();
    let config = "ForceCommand echo Welcome; sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let sshd = Sshd::start_with(&site.path("."), Setup { config, ..Setup::default() });
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", &sshd.host_keys(), &source));
    let output = verify(&site, &[]);
    assert_eq!(output.code, 10);
    assert!(line(&output, "h").starts_with("h failed protocol "), "{output:?}");
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Protocol));
}

#[test]
fn what_a_host_prints_can_not_move_the_cursor() {
    let site = Site::new();
    let config = "ForceCommand printf 'rsync: \\033[2Jgone\\n' >&2; exit 12";
    let sshd = Sshd::start_with(&site.path("."), Setup { config, ..Setup::default() });
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", &sshd.host_keys(), &source));
    let output = verify(&site, &[]);
    assert_eq!(output.code, 10);
    assert!(output.stdout.contains("\\u1b[2Jgone") && !output.stdout.contains('\u{1b}'), "{output:?}");
}

#[test]
fn behind_a_jump_host_only_ssh_can_tell() {
    let site = Site::new();
    fs::create_dir_all(site.path("jump")).unwrap();
    let (target, jump) = (Sshd::start(&site.path(".")), Sshd::start(&site.path("jump")));
    let source = site.source("src", &[("f", "1")]);
    let ssh_config = site.path("ssh_config");
    let (user, at) = (backup_testkit::sshd::user(), |path: &Path| path.display().to_string());
    let text = format!(
        "Host jump\n  HostName 127.0.0.1\n  Port {}\n  User {user}\n  IdentityFile {}\n  UserKnownHostsFile {}\n\
         Host proxied\n  HostName only-there.invalid\n  ProxyCommand ssh -F {} -W 127.0.0.1:{} jump\n  HostKeyAlias [127.0.0.1]:{}\n",
        jump.port(),
        at(&jump.key()),
        at(&jump.known_hosts()),
        at(&ssh_config),
        target.port(),
        target.port(),
    );
    fs::write(&ssh_config, text).unwrap();
    let options = |further: &str| {
        format!(
            "ssh_options: [\"-F {}\", UserKnownHostsFile={}{further}]",
            at(&ssh_config),
            at(&target.known_hosts())
        )
    };
    let keys = format!("ssh_user: {user}\n    ssh_key: {}", at(&target.key()));
    let jumped = format!(
        "{keys}\n    hostname: 127.0.0.1\n    ssh_port: {}\n    {}",
        target.port(),
        options(", \"-J jump\"")
    );
    let proxied = format!("{keys}\n    hostname: proxied\n    {}", options(""));
    site.configure("", &(host("jumped", &jumped, &source) + &host("proxied", &proxied, &source)));
    let output = verify(&site, &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("neither ping nor port was tried"), "{output:?}");
    // The name can not be found from here, and is not looked for.
    assert_eq!(site.backup(&[]).code, 0);
    assert_eq!(site.verdict("proxied", &source), (Status::Success, Reason::Ok));
    drop(jump);
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("jumped", &source).0, Status::Failed);
}

#[test]
fn a_host_that_is_away_is_left_out_before_rsync_starts() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let away = format!("ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {}", free_port());
    let nameless = "ssh_user: root\n    hostname: no-such-host.invalid";
    site.configure(
        "",
        &[
            host("away", &away, &source),
            host("here", "", &source),
            host("nameless", nameless, &source),
            host("optional", &format!("{away}\n    optional: true"), &source),
        ]
        .concat(),
    );
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    for (name, status, reason, message) in [
        ("away", Status::Failed, Reason::ConnectionRefused, "cannot connect to 127.0.0.1:"),
        ("nameless", Status::Failed, Reason::NameNotFound, "cannot find the address of no-such-host.invalid"),
        ("optional", Status::Skipped, Reason::ConnectionRefused, "cannot connect to 127.0.0.1:"),
    ] {
        let finished = site.last(name, &source);
        assert_eq!(
            (finished.status, finished.reason, finished.attempts),
            (status, reason, 0),
            "{finished:#?}"
        );
        assert!(finished.messages[0].starts_with(message), "{finished:#?}");
        assert!(!site.base().join(name).exists(), "no directory was made for {name}");
    }
    assert_eq!(site.verdict("here", &source), (Status::Success, Reason::Ok));
    let verified = verify(&site, &["--host", "optional"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(line(&verified, "optional").starts_with("optional skipped connection_refused "), "{verified:?}");
}

#[test]
fn the_record_of_a_run_names_the_rsync_that_made_it() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 0);
    let Body::RunStarted(started) = &site.records()[0].body else { panic!("{:#?}", site.records()) };
    assert_eq!(started.rsync_version.as_deref(), Some(installed_rsync().as_str()));
}

/// The same command with some programs hidden by a device in their place, for it alone.
fn without(programs: &[&str], command: &Command) -> Output {
    let hide = "for program; do [ \"$program\" != -- ] || { shift; break; }; \
                for folder in /usr/local/bin /usr/bin /bin; do \
                [ ! -f $folder/$program ] || mount --bind /dev/null $folder/$program; done; shift; done; exec \"$@\"";
    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "sh", "-c", hide, "sh"]).args(programs).arg("--");
    run(hidden.arg(command.get_program()).args(command.get_args()))
}

#[test]
#[ignore = "needs root: hides programs in a mount namespace"]
fn missing_programs_are_named_with_what_installs_them() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &(host("here", "", &source) + &host("there", &sshd.host_keys(), &source)));

    let output = without(&["rsync"], &site.command(&["--backup"]));
    assert_eq!(output.code, 12, "{output:?}");
    assert_eq!(site.types(), ["run_refused"]);
    let Body::RunRefused(refused) = &site.records()[0].body else { panic!("{:#?}", site.records()) };
    assert_eq!(refused.reason, Reason::RsyncMissing);
    assert!(
        refused.message.contains("cannot find rsync: it is not installed on this machine; install"),
        "{refused:?}"
    );
    assert_eq!(without(&["rsync"], &site.command(&["--verify-hosts"])).code, 10);

    let output = without(&["ssh"], &site.command(&["--backup"]));
    assert_eq!(output.code, 10, "{output:?}");
    assert_eq!(site.verdict("here", &source), (Status::Success, Reason::Ok));
    assert_eq!(site.verdict("there", &source), (Status::Failed, Reason::Other));
    assert!(site.last("there", &source).messages[0].starts_with("cannot start ssh: it is not installed"));

    let output = without(&["ping"], &site.command(&["--backup"]));
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("cannot find ping"), "{output:?}");
}
