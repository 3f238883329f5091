//! Networks that fail: hosts in network namespaces of their own, cut off by their firewall, and a frozen peer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_testkit::noise::noise;
use backup_testkit::process::{Output, Running, run};
use backup_testkit::sshd::{Setup, Sshd};
use backup_testkit::wait;
use support::{Site, host};

/// A network namespace with one link to ours; it goes away with its processes when the test ends.
struct Namespace {
    name: String,
    address: String,
}

impl Namespace {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // An interface's name has at most 15 characters. 198.18.0.0/15 is for tests (RFC 2544).
        let name = format!("bk{process}-{number}");
        let net = format!("198.{}.{}", 18 + process / 256 % 2, process % 256);
        let (ours, theirs) = (format!("{net}.{}", number * 4 + 1), format!("{net}.{}", number * 4 + 2));
        must(&["ip", "netns", "add", &name]);
        let namespace = Self { address: theirs.clone(), name: name.clone() };
        must(&["ip", "link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name]);
        must(&["ip", "address", "add", &format!("{ours}/30"), "dev", &name]);
        must(&["ip", "link", "set", &name, "up"]);
        namespace.inside(&["ip", "address", "add", &format!("{theirs}/30"), "dev", "eth0"]);
        namespace.inside(&["ip", "link", "set", "eth0", "up"]);
        namespace.inside(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    fn inside(&self, words: &[&str]) {
        must(&[&["ip", "netns", "exec", &self.name], words].concat());
    }

    /// Drops what matches, in both directions, without a word to the other side.
    fn drop_packets(&self, matching: &str) {
        let rules = format!(
            "table inet cut {{ chain in {{ type filter hook input priority 0; {matching} drop\n}}\n\
             chain out {{ type filter hook output priority 0; {matching} drop\n}}\n}}"
        );
        self.inside(&["nft", &rules]);
    }

    fn sshd(&self, folder: &Path) -> Sshd {
        fs::create_dir_all(folder).unwrap();
        let setup = Setup { address: &self.address, namespace: Some(&self.name), ..Setup::default() };
        Sshd::start_with(folder, setup)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let inside = run(Command::new("ip").args(["netns", "pids", &self.name])).stdout;
        for process in inside.split_whitespace() {
            run(Command::new("kill").args(["-s", "KILL", process]));
        }
        run(Command::new("ip").args(["link", "delete", &self.name]));
        run(Command::new("ip").args(["netns", "delete", &self.name]));
    }
}

fn must(words: &[&str]) {
    let output = run(Command::new(words[0]).args(&words[1..]));
    assert_eq!(output.code, 0, "{words:?}: {output:?}");
}

/// The file under another name in which rsync collects what arrives.
fn arriving(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(".big."))
        .map(|entry| entry.path())
        .filter(|file| fs::metadata(file).is_ok_and(|found| found.len() > 0))
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
#[ignore = "needs root: network namespaces and a firewall"]
fn one_of_three_hosts_is_cut_off_in_the_middle() {
    let site = Site::new();
    let source = site.source("src", &[]);
    fs::write(source.join("big"), noise(4_000_000)).unwrap();
    let namespaces = [Namespace::new(), Namespace::new(), Namespace::new()];
    let servers: Vec<_> =
        namespaces.iter().map(|namespace| namespace.sshd(&site.path(&namespace.name))).collect();
    let hosts: String = servers
        .iter()
        .zip(1..)
        .map(|(sshd, number)| {
            let keys = format!("{}\n    rsync_options: --bwlimit=800\n    io_timeout: 8", sshd.host_keys());
            host(&format!("server{number}"), &keys, &source)
        })
        .collect();
    site.configure("  parallel: 3", &hosts);
    let mut runner =
        Running::start(site.command(&["--backup"]).stdout(fs::File::create(site.path("said")).unwrap()));
    let destination = |number: u32| site.base().join(format!("server{number}/data"));
    for number in 1..=3 {
        wait::until("data of every host", || arriving(&destination(number)));
    }
    namespaces[1].drop_packets("");
    let code = runner.wait().code();
    let said = fs::read_to_string(site.path("said")).unwrap();
    println!("{said}");

    assert_eq!(code, Some(10), "{said}");
    assert_eq!(site.verdict("server1", &source), (Status::Success, Reason::Ok), "{said}");
    assert_eq!(site.verdict("server3", &source), (Status::Success, Reason::Ok), "{said}");
    let cut = site.last("server2", &source);
    assert_eq!((cut.status, cut.reason), (Status::Failed, Reason::Timeout), "{cut:#?}");
    assert_eq!(names_in(&destination(1)), ["big"]);
    assert_eq!(names_in(&destination(2)), Vec::<String>::new(), "no part of a file is left");
    assert_eq!(fs::read(destination(3).join("big")).unwrap(), fs::read(source.join("big")).unwrap());

    // The next run skips it before rsync starts, and the others are backed up.
    assert_eq!(site.backup(&[]).code, 10);
    let cut = site.last("server2", &source);
    assert_eq!((cut.status, cut.reason, cut.attempts), (Status::Failed, Reason::Unreachable, 0), "{cut:#?}");
    assert_eq!(site.verdict("server3", &source), (Status::Success, Reason::Ok));
}

#[test]
#[ignore = "needs root: network namespaces and a limit on their rate"]
fn a_peer_at_a_byte_a_second_is_ended_by_its_time_limit() {
    let site = Site::new();
    let source = site.source("src", &[]);
    fs::write(source.join("big"), noise(8_000_000)).unwrap();
    let namespace = Namespace::new();
    let sshd = namespace.sshd(&site.path("peer"));
    let here = site.source("here", &[("f", "1")]);
    // Something arrives all the time, so that only the limit for the whole path can end it.
    let keys = format!("{}\n    rsync_options: --bwlimit=400\n    path_timeout: 12", sshd.host_keys());
    site.configure("", &(host("slow", &keys, &source) + &host("here", "", &here)));
    let mut runner = Running::start(site.command(&["--backup"]).stdout(Stdio::null()));
    wait::until("data of the host", || arriving(&site.base().join("slow/data")));
    // Eight bits a second; the burst must hold a whole packet (tc-tbf(8)).
    namespace.inside(&[
        "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "8bit", "burst", "1600", "limit",
        "1000000",
    ]);
    assert!(runner.is_running());
    assert_eq!(runner.wait().code(), Some(10));
    assert_eq!(site.verdict("slow", &source), (Status::Failed, Reason::Timeout));
    assert_eq!(site.verdict("here", &here), (Status::Success, Reason::Ok));
    assert_eq!(names_in(&site.base().join("slow/data")), Vec::<String>::new(), "no part of a file is left");
    assert!(Peer::find_local(&source).is_none(), "no rsync of the group is left");
    // Nobody holds the lock any more.
    assert_eq!(site.backup(&["--host", "here"]).code, 0);
}

fn verify(site: &Site) -> Output {
    run(&mut site.command(&["--verify-hosts"]))
}

#[test]
#[ignore = "needs root: network namespaces and a firewall"]
fn a_host_that_drops_pings_is_backed_up_and_told_of() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let namespace = Namespace::new();
    let sshd = namespace.sshd(&site.path("peer"));
    namespace.drop_packets("meta l4proto icmp");
    site.configure("", &host("h", &sshd.host_keys(), &source));
    let output = verify(&site);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stdout.contains("does not answer a ping") && output.stdout.contains("set ignore_ping: true"),
        "{output:?}"
    );
    assert_eq!(site.backup(&[]).code, 0);

    site.configure("", &host("h", &format!("{}\n    ignore_ping: true", sshd.host_keys()), &source));
    let output = verify(&site);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!output.stdout.contains("ping"), "{output:?}");
}

#[test]
#[ignore = "needs root: network namespaces and a firewall"]
fn a_host_that_answers_nothing_is_unreachable() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let namespace = Namespace::new();
    let sshd = namespace.sshd(&site.path("peer"));
    namespace.drop_packets("");
    let keys = sshd.host_keys();
    site.configure(
        "",
        &[
            // Far more than the test may take: only the ping tells in time.
            host("pinged", &format!("{keys}\n    connect_timeout: 1 h"), &source),
            host("ignored", &format!("{keys}\n    connect_timeout: 1\n    ignore_ping: true"), &source),
            host("optional", &format!("{keys}\n    connect_timeout: 1 h\n    optional: true"), &source),
            host("here", "", &source),
        ]
        .concat(),
    );
    let output = verify(&site);
    assert_eq!(output.code, 10, "{output:?}");
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    for (name, status, message) in [
        ("pinged", Status::Failed, "answers neither a ping nor a connection to port"),
        ("ignored", Status::Failed, "no answer from"),
        ("optional", Status::Skipped, "answers neither a ping nor a connection to port"),
    ] {
        let finished = site.last(name, &source);
        assert_eq!((finished.status, finished.reason, finished.attempts), (status, Reason::Unreachable, 0));
        assert!(finished.messages[0].contains(message), "{finished:#?}");
    }
    assert_eq!(site.verdict("here", &source), (Status::Success, Reason::Ok));
}

#[test]
#[ignore = "needs root: network namespaces and a firewall"]
fn a_signal_ends_the_wait_for_a_silent_host() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let namespace = Namespace::new();
    let sshd = namespace.sshd(&site.path("peer"));
    namespace.drop_packets("");
    let keys = format!("{}\n    connect_timeout: 1 h\n    ignore_ping: true", sshd.host_keys());
    site.configure("", &host("h", &keys, &source));
    let mut runner = Running::start(site.command(&["--backup"]).stdout(Stdio::null()));
    wait::until("the start of the run", || site.types().contains(&"run_started").then_some(()));
    runner.signal("TERM");
    assert_eq!(runner.wait().code(), Some(128 + 15));
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Interrupted));
}

/// The process on the other side, which is ended even where the test fails.
struct Peer(String);

impl Peer {
    fn find(source: &Path) -> Option<Self> {
        let source = source.display().to_string();
        fs::read_dir("/proc").unwrap().filter_map(Result::ok).find_map(|entry| {
            let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            (name.trim() == "rsync" && line.contains("--sender") && line.contains(&source))
                .then(|| Self(entry.file_name().to_string_lossy().into_owned()))
        })
    }

    /// The process on our side.
    fn find_local(source: &Path) -> Option<String> {
        let source = format!(":{}/", source.display());
        fs::read_dir("/proc").unwrap().filter_map(Result::ok).find_map(|entry| {
            let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            (line.starts_with("rsync") && line.contains(&source)).then_some(line)
        })
    }

    fn signal(&self, name: &str) {
        run(Command::new("kill").args(["-s", name, &self.0]));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

#[test]
fn a_frozen_peer_is_given_up() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[]);
    fs::write(source.join("big"), noise(4_000_000)).unwrap();
    let keys = format!("{}\n    rsync_options: --bwlimit=500\n    io_timeout: 8", sshd.host_keys());
    site.configure(
        "",
        &(host("frozen", &keys, &source) + &host("here", "", &site.source("other", &[("f", "1")]))),
    );
    let mut runner = Running::start(site.command(&["--backup"]).stdout(Stdio::null()));
    let destination = site.base().join("frozen/data");
    wait::until("data of the host", || arriving(&destination));
    let peer = Peer::find(&source).expect("the sender runs on this machine");
    peer.signal("STOP");
    assert_eq!(runner.wait().code(), Some(10));
    assert_eq!(site.verdict("frozen", &source), (Status::Failed, Reason::Timeout));
    assert_eq!(names_in(&destination), Vec::<String>::new(), "no part of a file is left");
    assert_eq!(site.verdict("here", &site.path("other")), (Status::Success, Reason::Ok));
}

#[test]
fn a_host_that_was_reached_last_time_is_not_asked_first_and_its_absence_is_told_all_the_same() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    let keys = format!("{}\n    optional: true", sshd.host_keys());
    site.configure("", &host("h", &keys, &source));
    assert_eq!(site.backup(&[]).code, 0);
    drop(sshd);
    // First rsync finds out, and from then on the question beforehand, without an rsync.
    for by_rsync in [true, false, false] {
        let output = site.backup(&[]);
        let finished = site.last("h", &source);
        let end = (finished.status, finished.reason, finished.exit_code.is_some());
        assert_eq!(end, (Status::Skipped, Reason::ConnectionRefused, by_rsync), "{finished:#?} {output:?}");
    }
    assert!(site.base().join("h/data/f").exists());
}
