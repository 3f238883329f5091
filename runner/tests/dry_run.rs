//! A dry run says what a backup would do, and does nothing at all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_testkit::process::{self, Output, Running, free_port};
use backup_testkit::sshd::Sshd;
use backup_testkit::wait;
use support::{Site, host};

fn dry_run(site: &Site, arguments: &[&str]) -> Output {
    process::run(site.command(&["--dry-run"]).args(arguments))
}

/// The words of the table's line for a host.
fn row(output: &Output, host: &str) -> Vec<String> {
    let line = output.stdout.lines().find(|line| line.starts_with(&format!(" {host} ")));
    line.unwrap_or_else(|| panic!("no line for {host}: {output:?}"))
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Everything below a directory with what changes when somebody touches it; `..` is the directory itself.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, u64)> {
    let mut out = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        out.insert(path, (found.ino(), found.ctime(), found.ctime_nsec(), found.size()));
    }
    out
}

/// Three hosts: one whose destination is not there yet, one over its budget, one without its source.
fn mixed_site() -> (Site, PathBuf) {
    let site = Site::new();
    let source = site.source("src", &[("a", &"x".repeat(5000)), ("b/c", "y")]);
    for number in 0..60 {
        let folder = site.base().join("full/data");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{number}")), "old").unwrap();
    }
    let gone = site.path("gone");
    site.configure("", &(host("new", "", &source) + &host("full", "", &source) + &host("lost", "", &gone)));
    (site, source)
}

#[test]
fn it_tells_what_would_be_transferred_and_deleted_and_changes_nothing() {
    let (site, source) = mixed_site();
    let before = tree(&site.path(""));
    let output = dry_run(&site, &[]);
    assert_eq!(tree(&site.path("")), before);
    assert_eq!(output.code, 10, "{output:?}");
    let path = source.display().to_string();
    // Host, path, end, files, size, to transfer, of size, to delete, may delete.
    let whole = ["4.88", "KiB"];
    assert_eq!(
        row(&output, "new"),
        [&["new", &path, "success", "4"][..], &whole, &["2"], &whole, &["0", "50"]].concat()
    );
    assert_eq!(
        row(&output, "full"),
        [&["full", &path, "failed", "4"][..], &whole, &["2"], &whole, &["60", "50"]].concat()
    );
    assert!(output.stdout.contains("(max_delete)") && output.stdout.contains("--force-delete"), "{output:?}");
    assert!(output.stdout.contains("(source_missing)"), "{output:?}");

    // What it said comes true.
    assert_eq!(site.backup(&["--host", "new"]).code, 0);
    let stats = site.last("new", &source).stats.unwrap();
    assert_eq!((stats.files, stats.files_transferred, stats.files_deleted), (4, 2, 0));
    let accepted = ["--host", "full", "--force-delete", &format!("full:{path}")];
    assert_eq!(row(&dry_run(&site, &accepted), "full")[2], "success");
    assert_eq!(site.backup(&accepted).code, 0);
    assert_eq!(site.last("full", &source).stats.unwrap().files_deleted, 60);
    assert_eq!(row(&dry_run(&site, &["--host", "full"]), "full")[6], "0", "nothing is left to do");
}

#[test]
fn each_path_is_a_line_of_json_on_request() {
    let (site, _) = mixed_site();
    let output = dry_run(&site, &["--json"]);
    assert_eq!(output.code, 10, "{output:?}");
    let lines: Vec<serde_json::Value> =
        output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |host: &str| lines.iter().find(|line| line["host"] == host).unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&of("new")["status"], &of("new")["stats"]["files_transferred"]),
        (&"success".into(), &2.into())
    );
    assert_eq!(
        (&of("full")["reason"], &of("full")["stats"]["files_deleted"]),
        (&"max_delete".into(), &60.into())
    );
    assert_eq!(of("lost")["reason"], "source_missing");
    assert_eq!(of("new")["command"][0], "rsync");
}

#[test]
fn the_commands_can_be_pasted() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("we[i]rd* $(id) \"q\" it's", &[("f", "1")]);
    let quoted = format!("paths: [{{path: {}, dest_subdir: \"a b's\"}}]", serde_json::json!(source));
    site.configure(
        "",
        &format!("  remote:\n    {}\n    {quoted}\n  local:\n    {quoted}\n", sshd.host_keys()),
    );
    let output = dry_run(&site, &[]);
    assert_eq!(output.code, 0, "{output:?}");
    let commands: Vec<&str> = output.stdout.lines().filter_map(|line| line.strip_prefix("    cd ")).collect();
    assert_eq!(commands.len(), 2, "{output:?}");
    for (name, command) in ["remote", "local"].iter().zip(commands) {
        let destination = site.base().join(name).join("a b's");
        assert!(!destination.exists());
        fs::create_dir_all(&destination).unwrap();
        let pasted = process::run(
            Command::new("sh")
                .args(["-c", &format!("cd {command}")])
                .env_clear()
                .env("PATH", "/usr/bin:/bin"),
        );
        assert_eq!(pasted.code, 0, "{command}: {pasted:?}");
        assert_eq!(fs::read_to_string(destination.join("f")).unwrap(), "1");
    }
}

#[test]
fn a_host_that_is_away_is_asked_once_and_the_others_as_well() {
    let site = Site::new();
    let here = site.source("here", &[("f", "1")]);
    let port = free_port();
    site.configure(
        "",
        &format!(
            "  away:\n    ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {port}\n    paths: [{{path: /a}}, {{path: /b}}]\n  off:\n    enabled: false\n    paths: [{{path: /c}}]\n{}",
            host("here", "", &here)
        ),
    );
    let output = dry_run(&site, &[]);
    assert_eq!(output.code, 10, "{output:?}");
    assert_eq!(output.stdout.matches("Connection refused").count(), 1, "{output:?}");
    assert_eq!(row(&output, "here")[2], "success");
    assert!(output.stdout.contains("off: skipped, it is switched off"), "{output:?}");
    assert_eq!(fs::read_dir(site.base()).unwrap().count(), 0);
}

#[test]
fn it_works_while_a_backup_runs() {
    let site = Site::new();
    let source = site.source("src", &[("big", &"x".repeat(30_000_000))]);
    site.configure("", &host("h", "rsync_options: --bwlimit=100", &source));
    let mut run = Running::start(site.command(&["--backup"]).stdout(Stdio::null()).stderr(Stdio::null()));
    wait::until("the first path", || site.types().contains(&"path_started").then_some(()));
    let output = dry_run(&site, &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(run.is_running());
    run.signal("TERM");
    run.wait();
    assert!(!site.types().contains(&"run_refused"));
}

#[test]
fn what_would_be_refused_is_said() {
    let (site, _) = mixed_site();
    fs::remove_dir_all(site.base()).unwrap();
    let output = dry_run(&site, &[]);
    assert_eq!(output.code, 12, "{output:?}");
    assert!(
        output.stderr.contains("the backup would be refused: cannot open the backup directory"),
        "{output:?}"
    );
    assert!(!site.base().exists() && !site.path("stats.log").exists() && !site.path("lock").exists());
    site.configure("", "  h:\n    paths: [{path: etc}]\n");
    assert_eq!(dry_run(&site, &[]).code, 2);
}

/// System calls that change a file system, or could.
const CHANGES: &[&str] = &[
    "creat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "truncate",
    "ftruncate",
    "fallocate",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "copy_file_range",
    "sendfile",
    "flock",
];

/// What a run asks the kernel to change: the lines of strace over it and all its children.
fn changes(site: &Site, mode: &str) -> Vec<String> {
    let trace = site.path("trace");
    let calls = format!("trace=?open,openat,openat2,?ioctl,write,pwrite64,?{}", CHANGES.join(",?"));
    // A ? lets strace pass over a call that this machine does not have.
    // -y shows the path behind every descriptor, also that of the working directory.
    let output = process::run(
        Command::new("strace")
            .args(["-f", "-y", "-qq", "-e", "signal=none", "-e", &calls, "-o"])
            .arg(&trace)
            .arg(env!("CARGO_BIN_EXE_backup-runner"))
            .arg("--config")
            .arg(site.path("backup.yaml"))
            .arg(mode),
    );
    assert!([0, 10].contains(&output.code), "{output:?}");
    let text = String::from_utf8_lossy(&fs::read(&trace).unwrap()).into_owned();
    assert!(text.contains("openat2("), "strace saw the runner");
    fs::remove_file(trace).unwrap();
    text.lines().filter(|line| is_change(line, site)).map(str::to_owned).collect()
}

fn is_change(line: &str, site: &Site) -> bool {
    // `PID name(arguments) = result`
    let Some((name, arguments)) =
        line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('))
    else {
        return false;
    };
    let descriptor = arguments.split(',').next().unwrap_or_default();
    let ours = descriptor.contains(&site.path("").display().to_string());
    match name {
        "open" | "openat" | "openat2" => {
            let writes =
                ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| arguments.contains(flag));
            writes && !["\"/dev/null\"", "\"/dev/tty\""].iter().any(|device| arguments.contains(device))
        }
        // Pipes and sockets are no files; only what is below the site matters here.
        "ioctl" | "write" | "pwrite64" => ours,
        name => CHANGES.contains(&name),
    }
}

#[test]
fn the_kernel_is_asked_for_no_change() {
    let (site, _) = mixed_site();
    assert_eq!(changes(&site, "--dry-run"), Vec::<String>::new());
    assert!(!site.path("stats.log").exists() && !site.path("lock").exists());
    // The same eyes see what a backup does.
    let seen = changes(&site, "--backup").join("\n");
    for expected in ["mkdirat(", "rename", "flock(", "stats.log", "/lock\"", "O_CREAT", "write("] {
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
}
