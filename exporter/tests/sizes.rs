//! Stored sizes on `/metrics`: by a walk, from the trees of btrfs, and when something hangs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_testkit::btrfs::Volume;
use backup_testkit::process::{Running, run};
use backup_testkit::wait;
use rustix::io::{FdFlags, fcntl_setfd};
use support::{Exporter, Home, path_finished};

/// Two hosts below a backup directory.
fn configure(home: &Home, base: &Path) {
    home.configure(&format!(
        "config: {{backup_base: {}}}\nhosts:\n  a: {{ssh_user: '', paths: [{{path: /x}}]}}\n  \
         b: {{ssh_user: '', paths: [{{path: /y}}, {{path: /never}}]}}\n",
        base.display()
    ));
}

fn fill(base: &Path) {
    for (directory, bytes) in [("a/x/deep", 100_000), ("b/y", 5)] {
        fs::create_dir_all(base.join(directory)).unwrap();
        fs::write(base.join(directory).join("file"), vec![1; bytes]).unwrap();
    }
    run(Command::new("sync").arg("-f").arg(base));
}

fn series(name: &str, place: (&str, &str)) -> String {
    format!("backup_path_{name}{{host=\"{}\",path=\"{}\"}}", place.0, place.1)
}

fn du(directory: &Path) -> f64 {
    let output = run(Command::new("du").args(["-s", "--block-size=1"]).arg(directory));
    output.stdout.split('\t').next().unwrap().parse().unwrap()
}

fn scanned(exporter: &Exporter) -> f64 {
    wait::until("a scan", || exporter.value("backup_size_scan_timestamp_seconds"))
}

#[test]
fn a_walk_is_shown_remembered_and_repeated() {
    let home = Home::new();
    let base = home.path().join("base");
    configure(&home, &base);
    fill(&base);
    home.append("");
    let exporter = home.start();
    scanned(&exporter);
    exporter.until(&series("stored_bytes", ("a", "/x")), du(&base.join("a/x")));
    exporter.until(&series("stored_files", ("a", "/x")), 3.0);
    exporter.until(&series("stored_files", ("b", "/y")), 2.0);
    assert!(exporter.value(&series("apparent_bytes", ("a", "/x"))).unwrap() >= 100_000.0);
    assert_eq!(
        exporter.value("backup_path_stored_method{host=\"a\",path=\"/x\",method=\"walk\"}"),
        Some(1.0)
    );
    assert_eq!(exporter.value(&series("stored_files", ("b", "/never"))), None);
    assert_eq!(exporter.value("backup_size_scan_success"), Some(1.0));
    let volume = |name: &str| exporter.value(&format!("backup_volume_{name}_bytes")).unwrap();
    assert!(volume("size") >= volume("used") + volume("free") && volume("free") > 0.0);

    // A path that was backed up is measured soon after.
    fs::write(base.join("b/y/more"), "more").unwrap();
    home.append(path_finished("b", "/y", Reason::Ok));
    exporter.until(&series("stored_files", ("b", "/y")), 3.0);
    drop(exporter);

    // After a restart the figures are there without a scan, and stay when the directories are gone.
    fs::remove_dir_all(&base).unwrap();
    let exporter = home.start_with(home.command().args(["--size.interval", "1s"]));
    exporter.until(&series("stored_files", ("b", "/y")), 3.0);
    scanned(&exporter);
    exporter.until("backup_size_scan_success", 0.0);
    assert_eq!(exporter.value(&series("stored_files", ("b", "/y"))), Some(3.0));
    // They come back, also to a configuration that was read again.
    fill(&base);
    exporter.until("backup_size_scan_success", 1.0);
    exporter.until(&series("stored_files", ("b", "/y")), 2.0);
}

#[test]
fn an_interval_of_zero_measures_nothing() {
    let home = Home::new();
    let base = home.path().join("base");
    configure(&home, &base);
    fill(&base);
    let exporter = home.start_with(home.command().args(["--size.interval", "0"]));
    home.append(path_finished("b", "/y", Reason::Ok));
    exporter.until(support::RECORDS, 1.0);
    assert!(!exporter.scrape().contains("backup_path_stored_bytes"));
}

/// `backup-sizes` of the same build; cargo tells a test only of its own package's programs.
fn backup_sizes() -> PathBuf {
    let exporter = Path::new(env!("CARGO_BIN_EXE_backup-exporter"));
    let folder = exporter.parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--package", "backup-sizes"])
        .arg("--target-dir")
        .arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let output = run(&mut build);
    assert_eq!(output.code, 0, "{}", output.stderr);
    folder.join("backup-sizes")
}

/// The exporter as nobody, who can read nothing of the backup, and `backup-sizes` as root.
#[test]
#[ignore = "needs root: mounts a btrfs and starts programs as two users"]
fn trees_are_read_for_an_exporter_without_privilege() {
    const NOBODY: u32 = 65534;
    let home = Home::new();
    let btrfs = Volume::temporary(256);
    configure(&home, btrfs.path());
    fill(btrfs.path());
    let closed = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    closed(&btrfs.path().join("a"), 0o700);
    closed(&btrfs.path().join("b"), 0o700);
    home.append("");
    closed(home.path(), 0o777);
    closed(btrfs.path().parent().unwrap(), 0o755);
    let program = home.path().join("backup-exporter");
    fs::copy(env!("CARGO_BIN_EXE_backup-exporter"), &program).unwrap();
    let start = || {
        let plain = home.command();
        let mut command = Command::new(&program);
        command.args(plain.get_args()).args(["--size.interval", "1s"]).uid(NOBODY).gid(NOBODY);
        home.start_with(&mut command)
    };

    // Alone it says that it can not, and shows no figure.
    let exporter = start();
    exporter.until("backup_size_scan_success", 0.0);
    assert_eq!(exporter.value(&series("stored_bytes", ("a", "/x"))), None);

    let socket = home.path().join("sizes");
    let mut command = Command::new(backup_sizes());
    command.arg("--volume").arg(btrfs.path()).arg("--socket").arg(&socket).args(["--socket-group", "65534"]);
    let mut server = Running::start(command.stderr(Stdio::null()));
    exporter.until(&series("stored_bytes", ("a", "/x")), du(&btrfs.path().join("a/x")));
    exporter.until("backup_size_scan_success", 1.0);
    assert_eq!(
        exporter.value("backup_path_stored_method{host=\"a\",path=\"/x\",method=\"tree\"}"),
        Some(1.0)
    );
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.process.id())).unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");

    fs::write(btrfs.path().join("a/x/new"), "new").unwrap();
    exporter.until(&series("stored_files", ("a", "/x")), 4.0);
    // Unmounted in the middle, the last figures stay; it can be unmounted, since nothing is held open.
    btrfs.unmount();
    exporter.until("backup_size_scan_success", 0.0);
    assert_eq!(exporter.value(&series("stored_files", ("a", "/x"))), Some(4.0));
    btrfs.mount("defaults");
    exporter.until("backup_size_scan_success", 1.0);
    assert!(server.is_running());
}

/// A mount whose file system never answers: FUSE without a server.
struct Hung {
    at: PathBuf,
    _connection: File,
}

impl Hung {
    fn mount(at: &Path) -> Self {
        use std::os::fd::AsRawFd;
        let connection = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        fcntl_setfd(&connection, FdFlags::empty()).unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", connection.as_raw_fd());
        let output = run(Command::new("mount").args(["-i", "-t", "fuse", "-o", &options, "hung"]).arg(at));
        assert_eq!(output.code, 0, "{}", output.stderr);
        fcntl_setfd(&connection, FdFlags::CLOEXEC).unwrap();
        Self { at: at.to_owned(), _connection: connection }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).output();
    }
}

#[test]
#[ignore = "needs root: mounts a file system that hangs"]
fn a_hung_mount_keeps_nobody_else_waiting() {
    let home = Home::new();
    let base = home.path().join("base");
    configure(&home, &base);
    fill(&base);
    home.append("");
    let mut command = home.command();
    command.args(["--size.interval", "1s", "--size.timeout", "1s"]);
    let exporter = home.start_with(&mut command);
    exporter.until(&series("stored_files", ("a", "/x")), 3.0);
    exporter.until(&series("stored_timed_out", ("a", "/x")), 0.0);

    let hung = Hung::mount(&base.join("a/x"));
    exporter.until(&series("stored_timed_out", ("a", "/x")), 1.0);
    assert_eq!(exporter.value(&series("stored_files", ("a", "/x"))), Some(3.0), "the last figure stays");
    fs::write(base.join("b/y/more"), "more").unwrap();
    exporter.until(&series("stored_files", ("b", "/y")), 3.0);
    // However often it tries, one thread is stuck.
    let before = scanned(&exporter);
    wait::until("further scans", || (scanned(&exporter) > before + 3.0).then_some(()));
    let walkers = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", exporter.process.id())).unwrap();
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim() == "walk").count()
    };
    wait::until("one stuck thread between two scans", || (walkers() == 1).then_some(()));
    drop(hung);
    exporter.until(&series("stored_timed_out", ("a", "/x")), 0.0);
    exporter.until("backup_size_scan_success", 1.0);
}

/// However long the limit is: what hangs keeps neither the other mounts nor a scrape waiting, and a path
/// that was backed up is measured meanwhile.
#[test]
#[ignore = "needs root: mounts a file system that hangs"]
fn what_hangs_is_waited_for_beside_everything_else() {
    let home = Home::new();
    let base = home.path().join("base");
    configure(&home, &base);
    fill(&base);
    home.append("");
    let _hung = Hung::mount(&base.join("a/x"));
    let exporter = home.start_with(home.command().args(["--size.timeout", "1h"]));
    exporter.until(&series("stored_files", ("b", "/y")), 2.0);
    fs::write(base.join("b/y/more"), "more").unwrap();
    home.append(path_finished("b", "/y", Reason::Ok));
    exporter.until(&series("stored_files", ("b", "/y")), 3.0);
    assert_eq!(exporter.value(&series("stored_files", ("a", "/x"))), None);
    assert_eq!(exporter.value("backup_size_scan_timestamp_seconds"), None, "the scan is still under way");
}

/// A stand-in for `backup-sizes` that answers for one directory and then takes its time: each figure is shown
/// when it comes, and what is on another mount is walked meanwhile.
#[test]
#[ignore = "needs root: mounts a tmpfs"]
fn each_figure_is_shown_as_soon_as_it_is_known() {
    let home = Home::new();
    let base = home.path().join("base");
    configure(&home, &base);
    fill(&base);
    let mounted = Mounted::tmpfs(&base.join("b/y"));
    fs::write(base.join("b/y/file"), vec![1; 5000]).unwrap();
    let listener = UnixListener::bind(home.path().join("sizes")).unwrap();
    home.append("");
    let exporter = home.start_with(home.command().args(["--size.timeout", "1h"]));
    let (mut slow, _) = listener.accept().unwrap();
    let mut request = String::new();
    BufReader::new(&slow).read_line(&mut request).unwrap();
    assert!(request.contains(r#""directories":["a/x","b/never"]"#), "{request}");
    let totals = r#"{"disk_bytes":12345,"apparent_bytes":1,"directory_bytes":0,"names":6,"directories":1}"#;
    writeln!(slow, r#"{{"directory":{{"index":0,"totals":{totals},"quota":null}}}}"#).unwrap();
    exporter.until(&series("stored_bytes", ("a", "/x")), 12345.0);
    exporter.until(&series("stored_files", ("a", "/x")), 7.0);
    exporter.until(&series("stored_bytes", ("b", "/y")), du(&base.join("b/y")));
    assert_eq!(exporter.value("backup_size_scan_timestamp_seconds"), None, "the scan is still under way");

    // It fails in the end: what it has told stays, and the rest is walked.
    writeln!(slow, r#"{{"failed":{{"message":"the volume went away"}}}}"#).unwrap();
    exporter.until("backup_size_scan_success", 1.0);
    assert_eq!(exporter.value(&series("stored_bytes", ("a", "/x"))), Some(12345.0));
    drop((exporter, mounted));
}

/// A stand-in for `backup-sizes` whose full scan finds something else than the incremental ones had known.
#[test]
fn differences_of_a_full_scan_are_counted() {
    let home = Home::new();
    let base = home.path().join("base");
    configure(&home, &base);
    fill(&base);
    let listener = UnixListener::bind(home.path().join("sizes")).unwrap();
    home.append("");
    let exporter = home.start_with(home.command().args(["--size.interval", "1s"]));
    let figures = r#""totals":{"disk_bytes":1,"apparent_bytes":1,"directory_bytes":0,"names":6,"directories":1},"quota":null"#;
    for (differences, counted) in [("null", 0.0), ("3", 3.0), ("0", 3.0), ("2", 5.0)] {
        let (mut asked, _) = listener.accept().unwrap();
        BufReader::new(&asked).read_line(&mut String::new()).unwrap();
        for index in [2, 0, 1] {
            writeln!(asked, r#"{{"directory":{{"index":{index},{figures}}}}}"#).unwrap();
        }
        let end =
            format!(r#"{{"end":{{"method":"full","duration_seconds":1.5,"differences":{differences}}}}}"#);
        writeln!(asked, "{end}").unwrap();
        exporter.until("backup_size_scan_differences_total", counted);
        exporter.until(&series("stored_files", ("b", "/never")), 7.0);
    }
}

/// What is mounted at a directory, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path) -> Self {
        assert_eq!(run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(at)).code, 0);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// Exclusive bytes on a schedule, and those of a quota group where quotas are on.
#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn what_is_exclusive_is_shown_and_remembered() {
    let home = Home::new();
    let btrfs = Volume::temporary(256);
    configure(&home, btrfs.path());
    btrfs.subvolume("b/y");
    fill(btrfs.path());
    fs::write(btrfs.path().join("b/y/shared"), vec![3; 300 << 10]).unwrap();
    let copy = ["b/y/shared", "a/x/shared"].map(|name| btrfs.path().join(name));
    assert_eq!(run(Command::new("cp").arg("--reflink=always").args(&copy)).code, 0);
    btrfs.btrfs(&["filesystem", "sync", "."]);
    home.append("");
    let socket = home.path().join("sizes");
    let mut command = Command::new(backup_sizes());
    command.arg("--volume").arg(btrfs.path()).arg("--socket").arg(&socket);
    let _server = Running::start(command.stderr(Stdio::null()));
    wait::until("the socket", || UnixStream::connect(&socket).ok());
    let start =
        |arguments: &[&str]| home.start_with(home.command().args(["--size.interval", "1s"]).args(arguments));

    // As btrfs itself says. 100,000 bytes take 25 blocks.
    let exporter = start(&["--size.exclusive-interval", "1s"]);
    exporter.until(&series("exclusive_bytes", ("a", "/x")), 102_400.0);
    exporter.until(&series("set_shared_bytes", ("a", "/x")), 307_200.0);
    exporter.until(&series("exclusive_bytes", ("b", "/y")), 0.0);
    assert_eq!(exporter.value(&series("referenced_bytes", ("b", "/y"))), None, "quotas are off");
    // It is repeated.
    fs::write(btrfs.path().join("a/x/new"), vec![4; 200_000]).unwrap();
    btrfs.btrfs(&["filesystem", "sync", "."]);
    exporter.until(&series("exclusive_bytes", ("a", "/x")), 102_400.0 + 200_704.0);
    drop(exporter);

    // Without the schedule they are still known, to the summary as well.
    let exporter = start(&[]);
    exporter.until(&series("exclusive_bytes", ("a", "/x")), 303_104.0);
    let summary = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backup-metrics"));
        command.arg("--config").arg(home.config()).arg("--stats-file").arg(home.log());
        command.arg("--state-directory").arg(home.path().join("state"));
        run(command.arg("--journal-directory").arg(home.journal())).stdout
    };
    assert!(summary().contains("exclusive") && summary().contains("296 KiB"), "{}", summary());

    btrfs.btrfs(&["quota", "enable", "b/y"]);
    btrfs.btrfs(&["quota", "rescan", "-w", "b/y"]);
    let group = |column: usize| {
        let shown = btrfs.btrfs(&["qgroup", "show", "--raw", "--sync", "b/y"]).stdout;
        let line = shown.lines().find(|line| line.starts_with("0/256 ")).unwrap().to_owned();
        line.split_whitespace().nth(column).unwrap().parse::<f64>().unwrap()
    };
    exporter.until(&series("referenced_bytes", ("b", "/y")), group(1));
    exporter.until(&series("exclusive_bytes", ("b", "/y")), group(2));
    assert!(group(1) > 307_200.0 && group(2) > 0.0 && group(2) < 100_000.0, "{} {}", group(1), group(2));
    assert_eq!(exporter.value(&series("referenced_bytes", ("a", "/x"))), None, "it is no subvolume");
    let kept = home.path().join("state/exclusive.jsonl");
    wait::until("the file", || {
        fs::read_to_string(&kept).ok()?.contains("\"referenced_bytes\"").then_some(())
    });
    btrfs.btrfs(&["quota", "disable", "b/y"]);
    wait::until("the end of the group", || {
        exporter.value(&series("referenced_bytes", ("b", "/y"))).is_none().then_some(())
    });
    exporter.until(&series("exclusive_bytes", ("b", "/y")), 0.0);
}
