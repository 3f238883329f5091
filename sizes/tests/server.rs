//! The built `backup-sizes`: what it answers, whom, and what it can still do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use backup_sizes::client::{ClientError, ask};
use backup_sizes::exclusive;
use backup_sizes::protocol::Method;
use backup_testkit::btrfs::Volume;
use backup_testkit::process::{Running, run};
use backup_testkit::wait;
use support::{asked, figures};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

struct Served {
    process: Running,
    directory: TempDir,
}

impl Served {
    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }
}

fn start(volume: &Path, arguments: &[&str]) -> Served {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = directory.path().join("socket");
    let mut command = Command::new(env!("CARGO_BIN_EXE_backup-sizes"));
    command.arg("--volume").arg(volume).arg("--socket").arg(&socket).args(arguments).stderr(Stdio::piped());
    let process = Running::start(&mut command);
    wait::until("the socket", || UnixStream::connect(&socket).ok());
    Served { process, directory }
}

/// A volume with a directory and a file in it.
fn volume() -> Volume {
    let btrfs = Volume::temporary(256);
    fs::create_dir_all(btrfs.path().join("server1/etc")).unwrap();
    fs::write(btrfs.path().join("server1/etc/file"), vec![1; 10_000]).unwrap();
    run(Command::new("sync").arg("-f").arg(btrfs.path()));
    btrfs
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn it_answers_and_can_do_nothing_else() {
    let btrfs = volume();
    let served = start(btrfs.path(), &[]);
    let directories = || vec![PathBuf::from("server1/etc"), "missing".into(), "server1/etc/file".into()];
    let scanned = ask(&served.socket(), directories(), false, LIMIT).unwrap();
    assert_eq!(scanned.method, Method::Full);
    let etc = btrfs.path().join("server1/etc");
    assert_eq!(figures(&scanned.totals[0].unwrap()), asked(&etc));
    assert_eq!(scanned.totals[1..], [None, None]);
    fs::write(etc.join("more"), "more").unwrap();
    run(Command::new("sync").arg("-f").arg(btrfs.path()));
    let scanned = ask(&served.socket(), directories(), false, LIMIT).unwrap();
    assert_eq!(scanned.method, Method::Incremental);
    assert_eq!(figures(&scanned.totals[0].unwrap()), asked(&etc));
    assert_eq!(ask(&served.socket(), directories(), true, LIMIT).unwrap().differences, Some(0));

    let mode = fs::metadata(served.socket()).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o660);
    let status = fs::read_to_string(format!("/proc/{}/status", served.process.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap().to_owned()
    };
    // CAP_SYS_ADMIN is number 21.
    for (name, value) in
        [("CapInh", 0), ("CapPrm", 1 << 21), ("CapEff", 1 << 21), ("CapBnd", 1u64 << 21), ("CapAmb", 0)]
    {
        println!("{name} {}", field(name));
        assert_eq!(field(name), format!("{value:016x}"), "{name}");
    }
    // ioprio_get(2) and sched_getscheduler(2), as util-linux shows them.
    let id = served.process.id().to_string();
    assert_eq!(run(Command::new("ionice").args(["-p", &id])).stdout.trim(), "idle");
    assert!(run(Command::new("chrt").args(["-p", &id])).stdout.contains("SCHED_IDLE"));
    assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));

    // Nothing of the volume is open between two requests.
    btrfs.unmount();
    let error = ask(&served.socket(), directories(), false, LIMIT).unwrap_err();
    assert!(matches!(&error, ClientError::Failed(why) if why.contains("not on btrfs")), "{error}");
    btrfs.mount("defaults");
    let scanned = ask(&served.socket(), directories(), false, LIMIT).unwrap();
    assert_eq!(figures(&scanned.totals[0].unwrap()), asked(&etc));
}

/// The scan is stopped where it is, and the volume taken away under it.
#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn a_volume_is_unmounted_in_the_middle_of_a_scan() {
    let btrfs = volume();
    for number in 0..20_000 {
        fs::write(btrfs.path().join(format!("server1/etc/{number}")), "x").unwrap();
    }
    run(Command::new("sync").arg("-f").arg(btrfs.path()));
    let expected = asked(&btrfs.path().join("server1/etc"));
    let served = start(btrfs.path(), &[]);
    let socket = served.socket();
    let scan = || ask(&socket, vec![PathBuf::from("server1/etc")], true, LIMIT);
    let descriptors = format!("/proc/{}/fd", served.process.id());
    let scans = || {
        let open = fs::read_dir(&descriptors).unwrap().flatten();
        let mut places = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        places.any(|place| place.starts_with(btrfs.path()))
    };
    let scanned = std::thread::scope(|scope| {
        loop {
            let asking = scope.spawn(scan);
            while !scans() && !asking.is_finished() {}
            served.process.signal("STOP");
            let in_the_middle = scans();
            if in_the_middle {
                let umount = |how: &[&str]| run(Command::new("umount").args(how).arg(btrfs.path())).code;
                assert_ne!(umount(&[]), 0, "it is in use");
                assert_eq!(umount(&["--lazy"]), 0);
                assert!(!btrfs.is_mounted());
            }
            served.process.signal("CONT");
            let scanned = asking.join().unwrap();
            if in_the_middle {
                break scanned;
            }
        }
    });
    // What was begun is read to its end, since the descriptor is still of the volume.
    assert_eq!(figures(&scanned.unwrap().totals[0].unwrap()), expected);
    let error = scan().unwrap_err();
    assert!(matches!(&error, ClientError::Failed(why) if why.contains("not on btrfs")), "{error}");
    btrfs.mount("defaults");
    assert_eq!(figures(&scan().unwrap().totals[0].unwrap()), expected);
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn nonsense_is_refused_and_changes_nothing() {
    let btrfs = volume();
    let served = start(btrfs.path(), &[]);
    let say = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(served.socket()).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let begin = r#"{"v":2,"full":false,"directories":["#;
    for line in [
        "GET / HTTP/1.1\n".to_owned(),
        "{}\n".to_owned(),
        format!("{begin}\"/etc\"]}}\n"),
        format!("{begin}\"../../etc\"]}}\n"),
        format!("{begin}\"a\"]}}"),
        r#"{"v":7,"full":false,"directories":[]}"#.to_owned() + "\n",
    ] {
        let answer = say(line.as_bytes());
        assert!(answer.starts_with(r#"{"failed":"#) && answer.ends_with("}}\n"), "{line}: {answer}");
    }
    assert_eq!(say(b""), "");
    say(&vec![b'x'; 5 << 20]);
    let scanned = ask(&served.socket(), vec!["server1/etc".into()], false, LIMIT).unwrap();
    assert_eq!(scanned.totals[0].unwrap().entries(), 2);
}

#[test]
#[ignore = "needs root: speaks as another user"]
fn only_the_group_of_the_socket_may_ask() {
    use std::os::unix::process::CommandExt;
    let btrfs = volume();
    let served = start(btrfs.path(), &["--socket-group", "65534"]);
    let say = r#"use IO::Socket::UNIX; $SIG{PIPE} = 'IGNORE'; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "refused\n";
        print $s "{\"v\":2,\"full\":false,\"directories\":[\"server1\"]}\n"; $s->flush; print while <$s>;"#;
    let ask_as = |user: u32, group: u32| {
        run(Command::new("perl").args(["-e", say]).arg(served.socket()).uid(user).gid(group))
    };
    let allowed = ask_as(12345, 65534);
    assert!(allowed.stdout.contains("\"end\""), "{allowed:?}");
    let refused = ask_as(12345, 12345);
    assert!(refused.stderr.contains("refused"), "the file's mode says no: {refused:?}");
    // Who gets at the socket all the same is asked who he is.
    fs::set_permissions(served.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let refused = ask_as(12345, 12345);
    assert!(refused.stdout.contains("only root and the group"), "{refused:?}");
}

#[test]
#[ignore = "needs root: gives up capabilities"]
fn without_the_capability_it_does_not_start() {
    use std::os::unix::process::CommandExt;
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = directory.path().join("backup-sizes");
    fs::copy(env!("CARGO_BIN_EXE_backup-sizes"), &program).unwrap();
    let output = run(Command::new(program)
        .args(["--volume", "/"])
        .arg("--socket")
        .arg(directory.path().join("socket"))
        .uid(65534)
        .gid(65534));
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("cannot keep CAP_SYS_ADMIN and nothing else"), "{output:?}");
}

#[test]
#[ignore = "needs root: mounts a btrfs"]
fn exclusive_bytes_and_quota_groups_are_read() {
    let btrfs = Volume::temporary(256);
    let one = btrfs.path().join("one");
    assert_eq!(run(Command::new("btrfs").args(["subvolume", "create"]).arg(&one)).code, 0);
    fs::write(one.join("file"), vec![1; 1 << 20]).unwrap();
    fs::write(one.join("own"), vec![2; 1 << 18]).unwrap();
    let copy = Command::new("cp").arg("--reflink=always").arg(one.join("file")).arg(btrfs.path()).status();
    assert!(copy.unwrap().success());
    fs::create_dir(btrfs.path().join("two")).unwrap();
    run(Command::new("sync").arg("-f").arg(btrfs.path()));
    let found = exclusive::measure(&one, LIMIT).unwrap();
    assert_eq!((found.total_bytes, found.exclusive_bytes), ((1 << 20) + (1 << 18), 1 << 18));
    assert_eq!(found.set_shared_bytes, Some(1 << 20));
    let error = exclusive::measure(Path::new("/proc/self"), LIMIT).unwrap_err();
    assert!(error.to_string().starts_with("cannot measure /proc/self: "), "{error}");
    assert!(matches!(exclusive::measure(&one, Duration::ZERO), Err(exclusive::ExclusiveError::TimedOut(..))));

    let served = start(btrfs.path(), &[]);
    let quotas = || {
        let scanned =
            ask(&served.socket(), vec!["one".into(), "".into(), "two".into()], false, LIMIT).unwrap();
        assert_eq!((scanned.quotas.len(), scanned.quotas[2]), (3, None), "no subvolume, no group");
        (scanned.quotas[0], scanned.quotas[1])
    };
    assert_eq!(quotas(), (None, None), "quotas are off");
    for arguments in [&["quota", "enable"] as &[&str], &["quota", "rescan", "-w"]] {
        assert_eq!(run(Command::new("btrfs").args(arguments).arg(&one)).code, 0);
    }
    let quota =
        wait::until("the quota group", || quotas().0.filter(|quota| quota.referenced_bytes > 1 << 20));
    assert!(quota.exclusive_bytes >= 1 << 18 && quota.exclusive_bytes < 1 << 20, "{quota:?}");
    // As btrfs itself shows them.
    let shown = run(Command::new("btrfs").args(["qgroup", "show", "--raw", "--sync"]).arg(&one)).stdout;
    let line = shown.lines().find(|line| line.starts_with("0/256 ")).unwrap();
    let expected = [quota.referenced_bytes.to_string(), quota.exclusive_bytes.to_string()];
    assert_eq!(line.split_whitespace().skip(1).take(2).collect::<Vec<_>>(), expected, "{shown}");
    assert!(quotas().1.is_some(), "the uppermost subvolume has a group too");
    assert_eq!(run(Command::new("btrfs").args(["quota", "disable"]).arg(&one)).code, 0);
    assert_eq!(quotas(), (None, None), "they were turned off");
}
