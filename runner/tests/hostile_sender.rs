//! A source host that speaks rsync's protocol and means harm: its file list names what was never asked for.
//!
//! The sender is a script of some fifty lines that speaks protocol 27, as rsync 2.6.0 did, which every later rsync
//! understands. It is started over a real ssh in the place of the remote rsync.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/rsync.rs"]
mod rsync;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_testkit::process::Output;
use backup_testkit::sshd::Sshd;
use support::{Site, host};

/// Sends the version, a seed, a list with these names, and the content `PLANTED` for each file that is asked for.
const SENDER: &str = r"#!/usr/bin/perl
use strict;
$| = 1; binmode STDOUT; binmode STDIN;
$SIG{ALRM} = sub { exit 1 }; alarm 60;
# Everything behind the version and the seed goes in packets of channel 0 (MPLEX_BASE 7).
sub data { my $d = shift; syswrite STDOUT, pack('V', (7 << 24) | length $d) . $d }
sub number { my $d = ''; while (length $d < 4) { sysread(STDIN, $d, 4 - length $d, length $d) or exit 0 } unpack 'l<', $d }
syswrite STDOUT, pack('V', 27) . pack('V', 12345);
number();                                             # the other side's version
while (my $length = number()) { my $rule; sysread STDIN, $rule, $length }
my $list = '';
for my $entry (NAMES) {
    my ($name, $mode) = @$entry;
    # flags XMIT_LONG_NAME | XMIT_SAME_UID | XMIT_SAME_GID; name; size, time and mode
    $list .= pack('C', 0x40 | 0x08 | 0x10) . pack('V', length $name) . $name . pack('VVV', 7, 1700000000, $mode);
}
data($list . pack('C', 0) . pack('V', 0));            # the end of the list, and no I/O error
my $phase = 0;
while (1) {
    my $index = number();
    if ($index == -1) { data(pack 'l<', -1); last if ++$phase > 1; next }
    number() for 1 .. 4;                              # checksums of what the other side has: none
    data(pack('l<', $index) . pack('V4', 0, 700, 2, 0) . pack('V', 7) . 'PLANTED' . pack('V', 0)
        . pack('H32', '10f191f1708af04a7962c8f6220c8251'));    # MD4 of the seed and the content
}
data(pack('V3', 10, 10, 7));                          # the figures
number();
";

const FILE: u32 = 0o100_644;
const DIRECTORY: u32 = 0o40_755;

/// Backs up from a host that sends this list, next to one that is well.
fn receive(site: &Site, options: &str, names: &[(&str, u32)]) -> Output {
    let entries: Vec<String> = names.iter().map(|(name, mode)| format!("['{name}', {mode}]")).collect();
    let sender = rsync::program(site, "sender", &SENDER.replace("NAMES", &entries.join(", ")));
    let sshd = Sshd::start(&site.path("."));
    let keys =
        format!("{}\n    rsync_path: {}\n    rsync_options: '{options}'", sshd.host_keys(), sender.display());
    let good = site.source("good", &[("f", "1")]);
    site.configure("", &(host("bad", &keys, Path::new("/data")) + &host("good", "", &good)));
    let output = site.backup(&[]);
    assert_eq!(site.verdict("good", &good), (Status::Success, Reason::Ok), "{output:?}");
    output
}

/// Every file below the site in which the sender's content stands.
fn planted(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(planted(&path));
        } else if fs::read(&path).is_ok_and(|content| content == b"PLANTED") {
            found.push(path);
        }
    }
    found
}

#[test]
fn an_honest_list_is_received_so_that_the_others_prove_something() {
    let site = Site::new();
    let output = receive(&site, "", &[(".", DIRECTORY), ("a", FILE), ("b", FILE)]);
    println!("{}", output.stdout);
    assert_eq!(planted(&site.path("")).len(), 2, "{:#?}", site.last("bad", Path::new("/data")));
}

#[test]
fn a_list_that_leads_out_of_the_destination_is_refused() {
    for name in ["../escaped", "d/../../escaped", "../../good/data/f"] {
        let site = Site::new();
        let output = receive(&site, "", &[(".", DIRECTORY), (name, FILE)]);
        assert_eq!(output.code, 10, "{name}: {output:?}");
        let finished = site.last("bad", Path::new("/data"));
        assert_eq!((finished.status, finished.stats), (Status::Failed, None), "{finished:#?}");
        assert!(finished.messages.iter().any(|line| line.contains("unsafe pathname")), "{finished:#?}");
        assert_eq!(planted(&site.path("")), Vec::<PathBuf>::new(), "{name}");
    }
}

#[test]
fn an_absolute_name_is_refused() {
    let site = Site::new();
    let victim = site.path("victim");
    let output = receive(&site, "", &[(".", DIRECTORY), (victim.to_str().unwrap(), FILE)]);
    assert_eq!(output.code, 10, "{output:?}");
    assert_eq!(site.last("bad", Path::new("/data")).status, Status::Failed);
    assert!(!victim.exists());
    assert_eq!(planted(&site.path("")), Vec::<PathBuf>::new());
}

#[test]
fn what_was_excluded_is_refused() {
    let site = Site::new();
    let output = receive(&site, "--exclude=secret", &[(".", DIRECTORY), ("secret", FILE)]);
    assert_eq!(output.code, 10, "{output:?}");
    assert_eq!(site.last("bad", Path::new("/data")).status, Status::Failed);
    assert_eq!(planted(&site.path("")), Vec::<PathBuf>::new());
}

#[test]
fn a_stream_of_garbage_is_one_failed_path() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let good = site.source("good", &[("f", "1")]);
    let mut hosts = host("good", "", &good);
    // Random bytes at once, and behind a right beginning.
    for (name, text) in [
        ("noise", "exec head -c 1000000 /dev/urandom"),
        ("behind", "printf '\\037\\0\\0\\0'; exec head -c 1000000 /dev/urandom"),
        ("endless", "printf '\\033\\0\\0\\0\\1\\0\\0\\0'; exec cat /dev/zero"),
        ("silent", "exit 0"),
    ] {
        let program = rsync::program(&site, name, text);
        let keys = format!(
            "{}\n    io_timeout: 5\n    path_timeout: 20\n    rsync_path: {}",
            sshd.host_keys(),
            program.display()
        );
        hosts += &host(name, &keys, Path::new("/data"));
    }
    site.configure("  parallel: 5", &hosts);
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    for name in ["noise", "behind", "endless", "silent"] {
        let finished = site.last(name, Path::new("/data"));
        println!("{name}: {} {:?} {:?}", finished.reason, finished.exit_code, finished.messages);
        assert_eq!(finished.status, Status::Failed, "{finished:#?}");
        assert_eq!(fs::read_dir(site.base().join(name).join("data")).unwrap().count(), 0, "{name}");
    }
    assert_eq!(site.verdict("good", &good), (Status::Success, Reason::Ok));
}

#[test]
fn an_rsync_that_is_too_old_has_its_reason() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    // Protocol 19, before 2.3.0 of 1999; no such program is to be had any more.
    let old = rsync::program(&site, "old", "printf '\\023\\0\\0\\0'; exec cat >/dev/null");
    let keys = format!("{}\n    rsync_path: {}", sshd.host_keys(), old.display());
    site.configure("", &host("old", &keys, Path::new("/data")));
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    let finished = site.last("old", Path::new("/data"));
    assert_eq!(
        (finished.status, finished.reason, finished.exit_code),
        (Status::Failed, Reason::Protocol, Some(2))
    );
    assert!(finished.messages.iter().any(|line| line.contains("protocol version mismatch")), "{finished:#?}");
}

#[test]
fn a_directory_that_becomes_a_link_and_back_is_only_replaced() {
    let site = Site::new();
    let victim = site.source("victim", &[("kept", "1")]);
    let source = site.source("src", &[("d/f", "1")]);
    site.configure("", &host("h", "", &source));
    let flip = |to_link: bool| {
        let d = source.join("d");
        if to_link {
            fs::remove_dir_all(&d).unwrap();
            std::os::unix::fs::symlink(&victim, &d).unwrap();
        } else {
            fs::remove_file(&d).unwrap();
            fs::create_dir(&d).unwrap();
            fs::write(d.join("planted"), "PLANTED").unwrap();
        }
    };
    let copy = site.base().join("h/data/d");
    assert_eq!(site.backup(&[]).code, 0);
    for to_link in [true, false, true, false] {
        flip(to_link);
        let output = site.backup(&[]);
        assert_eq!(output.code, 0, "{output:?}");
        assert_eq!(copy.is_symlink(), to_link);
        let names: Vec<_> = fs::read_dir(&victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"], "the link's target is left alone");
    }
    assert_eq!(fs::read_to_string(copy.join("planted")).unwrap(), "PLANTED");
}
