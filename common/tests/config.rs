//! The configuration: what older files say is understood, and what is wrong is said all at once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backup_common::config::{Access, Amount, Checked, Config, MaxDelete, PathJob, Schedule};
use proptest::prelude::*;

/// The file of the older shell system, as its documentation shows it.
const OLDER: &str = include_str!("configs/older.yaml");

fn checked(text: &str) -> Checked {
    Config::parse(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn errors(text: &str) -> Vec<String> {
    match Config::parse(text) {
        Ok(checked) => panic!("accepted: {checked:#?}"),
        Err(problems) => problems.errors.iter().map(ToString::to_string).collect(),
    }
}

/// A file with one host whose block holds these lines.
fn with_host(lines: &str) -> String {
    format!("hosts:\n  h:\n    {}\n", lines.replace('\n', "\n    "))
}

#[test]
fn the_older_file_works_unchanged() {
    let Checked { config, warnings } = checked(OLDER);
    assert_eq!(config.backup_base, Path::new("/share/backup/"));
    assert_eq!(config.lock_file, Path::new("/tmp/backup.fil"));
    assert_eq!(
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "line 3: config.lock_file: any user of this machine can hold a lock in this directory and stop all backups; leave the key out to use /run/backup-runner.lock"
        ]
    );

    let server1 = &config.hosts[0];
    let ssh = server1.access.ssh().unwrap();
    assert_eq!((ssh.user.as_str(), ssh.hostname.as_str()), ("backup", "server1.example.com"));
    assert_eq!(ssh.key.as_deref(), Some(Path::new("/root/.ssh/backup_key")));
    assert_eq!(*server1.paths[0].destination, *Path::new("server1/etc"));
    assert_eq!(*server1.paths[0].settings.rsync_options, ["-az", "--delete", "--numeric-ids"]);
    assert_eq!(
        server1.paths[1].settings.exclude_file.as_deref(),
        Some(Path::new("/etc/backup/excludes/home.txt"))
    );

    let server2 = &config.hosts[1];
    let ssh = server2.access.ssh().unwrap();
    assert_eq!((ssh.user.as_str(), ssh.hostname.as_str()), ("root", "server2.local"));
    assert!(server2.ignore_ping);
    assert_eq!(server2.paths[0].settings.scripts.pre.as_deref(), Some("stop_apache"));
    assert_eq!(server2.paths[0].settings.scripts.post.as_deref(), Some("start_apache"));

    let snapshots = config.snapshots.unwrap();
    assert_eq!(snapshots.directory, Path::new("/share/.snapshots"));
    assert!(config.require_mount, "a volume that takes snapshots must be mounted");
    assert_eq!(
        snapshots.schedules[1],
        Schedule { tag: "daily".to_owned(), count: 7, interval: Duration::from_secs(86_400) }
    );
}

#[test]
fn the_other_keys_of_older_files_are_understood() {
    let config = checked(include_str!("configs/older-keys.yaml")).config;
    let [smallest, scripts, here] = &config.hosts[..] else { panic!("{config:#?}") };
    let ssh = smallest.access.ssh().unwrap();
    assert_eq!((ssh.user.as_str(), ssh.hostname.as_str()), ("backup", "smallest"));
    assert_eq!(*smallest.paths[0].destination, *Path::new("smallest/etc"));
    assert_eq!(scripts.scripts.pre_local.as_deref(), Some("mount_usb"));
    assert_eq!(scripts.scripts.post_local.as_deref(), Some("umount_usb"));
    let path = &scripts.paths[0];
    assert_eq!(*path.settings.rsync_options, ["-az", "--delete", "--numeric-ids", "--exclude=cache", "-z"]);
    assert_eq!(path.settings.scripts.pre_local.as_deref(), Some("before"));
    assert_eq!(path.settings.scripts.post_local.as_deref(), Some("after"));
    assert_eq!((&here.access, here.ignore_ping), (&Access::Local, true));
}

#[test]
fn an_empty_list_of_options_asks_for_none() {
    for (options, expected) in
        [("[]", vec![]), ("''", vec![]), ("~", vec!["-a", "--delete", "--numeric-ids"])]
    {
        let text =
            format!("{{config: {{rsync_options: {options}}}, hosts: {{h: {{paths: [{{path: /a}}]}}}}}}");
        assert_eq!(*checked(&text).config.hosts[0].paths[0].settings.rsync_options, expected, "{options}");
    }
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let config = checked("hosts: {h: {paths: [{path: /data}]}}").config;
    assert_eq!(config.lock_file, Path::new("/run/backup-runner.lock"));
    assert_eq!(config.stats_file, Path::new("/var/log/backup-stats.log"));
    assert!(!config.require_mount);
    let host = &config.hosts[0];
    assert_eq!(host.access, Access::Local);
    assert_eq!(host.connect_timeout, Duration::from_secs(10));
    assert!(host.enabled && !host.optional);
    let path = &host.paths[0];
    assert_eq!(*path.destination, *Path::new("h/data"));
    assert_eq!(*path.settings.rsync_options, ["-a", "--delete", "--numeric-ids"]);
    assert_eq!((path.settings.io_timeout, path.settings.path_timeout), (Duration::from_secs(600), None));
    assert_eq!(path.settings.max_delete, MaxDelete::Default);
}

#[test]
fn values_are_inherited_from_config_to_host_to_path() {
    let config = checked(
        "config: {rsync_options: -a, io_timeout: 5, max_delete: 10%, min_free: 5 GiB}\n\
         hosts:\n  h:\n    rsync_options: [--delete, '--exclude \"a b\"']\n    io_timeout: 6\n    exclude_file: /x\n\
         \x20   paths:\n    - {path: /a}\n    - {path: /b, io_timeout: 7, max_delete: 0, host_options: -z, exclude_file: /y}\n",
    )
    .config;
    let [a, b] = &config.hosts[0].paths[..] else { panic!() };
    assert_eq!(*a.settings.rsync_options, ["-a", "--delete", "--exclude=a b"]);
    assert_eq!(*b.settings.rsync_options, ["-a", "--delete", "--exclude=a b", "-z"]);
    assert_eq!((a.settings.io_timeout.as_secs(), b.settings.io_timeout.as_secs()), (6, 7));
    assert_eq!((a.settings.max_delete, b.settings.max_delete), (MaxDelete::Percent(10), MaxDelete::Off));
    assert_eq!(
        (a.settings.exclude_file.as_deref(), b.settings.exclude_file.as_deref()),
        (Some(Path::new("/x")), Some(Path::new("/y")))
    );
    assert_eq!(config.min_free, Some(Amount::Count(5 << 30)));
}

#[test]
fn all_problems_are_reported_together_with_key_line_and_nearest_key() {
    let found = errors(
        "config:\n  backup_bsae: /b\n  parallel: many\nhosts:\n  server1:\n    ssh_user: backup\n    ssh_prot: 22\n\
         \x20   paths:\n      - path: /etc\n        dest_subdir: etc\n      - dest_subdir: home\n  server1:\n    paths: /x\nsnapshot: {}\n",
    );
    assert_eq!(
        found,
        [
            "line 2: config.backup_bsae: unknown key; did you mean backup_base?",
            "line 3: config.parallel: expected a whole number, found \"many\"",
            "line 7: hosts.server1.ssh_prot: unknown key; did you mean ssh_port?",
            "line 11: hosts.server1.paths[1]: path is missing: say which directory to back up",
            "line 12: hosts.server1: stands here for the second time; the first is on line 5, and only one of them would count",
            "line 14: snapshot: unknown key; did you mean snapshots?",
        ]
    );
}

#[test]
fn overlapping_destinations_are_refused_also_when_a_default_makes_them() {
    for paths in [
        "[{path: /etc}, {path: /etc/ssh}]",
        "[{path: /a, dest_subdir: x}, {path: /b, dest_subdir: x/y}]",
        "[{path: /a, dest_subdir: x}, {path: /b, dest_subdir: ./x/}]",
        "[{path: /}, {path: /boot}]",
    ] {
        let found = errors(&with_host(&format!("paths: {paths}")));
        assert!(found.len() == 1 && found[0].contains("is inside of"), "{paths}: {found:?}");
    }
    assert!(
        errors(&with_host("paths: [{path: /etc}, {path: /etc/, dest_subdir: b}]"))[0]
            .contains("stands already")
    );
    checked(&with_host("paths: [{path: /etc, dest_subdir: a}, {path: /etc/ssh, dest_subdir: b}]"));
}

#[test]
fn an_empty_dest_subdir_is_the_hosts_own_directory_and_holds_no_other() {
    let config = checked(&with_host("paths: [{path: /a, dest_subdir: ''}]")).config;
    assert_eq!(*config.hosts[0].paths[0].destination, *Path::new("h"));
    let found = errors(&with_host("paths: [{path: /a, dest_subdir: ''}, {path: /b}]"));
    assert!(found[0].contains("is inside of"), "{found:?}");
}

#[test]
fn odd_source_paths_are_taken_as_they_are() {
    for path in ["/a*", "/[b]?", "/c d", "/$(id)", "/it's", "/-rf", "/~x", "/ü"] {
        let text = with_host(&format!("paths: [{{path: \"{path}\"}}]"));
        assert_eq!(*checked(&text).config.hosts[0].paths[0].path, *path);
    }
}

#[test]
fn what_could_become_an_option_or_leave_its_place_is_refused() {
    let path = "paths: [{path: /a}]";
    for (lines, expected) in [
        (format!("ssh_user: -oProxyCommand=x\n{path}"), "can not begin with -"),
        (format!("ssh_user: root@-oProxyCommand=x\n{path}"), "can not begin with -"),
        (format!("ssh_user: root\nhostname: 'a;b'\n{path}"), "letters, digits"),
        (format!("ssh_user: root\nssh_port: 70000\n{path}"), "1 to 65535"),
        (format!("ssh_user: root\nssh_key: id_ed25519\n{path}"), "absolute path"),
        (format!("ssh_user: root\nssh_options: [-R 1:a:2]\n{path}"), "refused"),
        (format!("rsync_options: -e ssh\n{path}"), "refused"),
        (format!("rsync_path: --x\n{path}"), "a program"),
        (format!("pre_script: ../x\n{path}"), "plain name"),
        ("paths: [{path: -rf}]".to_owned(), "must be absolute"),
        ("paths: [{path: /a/../b}]".to_owned(), "can not hold .."),
        ("paths: [{path: \"/a\\nb\"}]".to_owned(), "control characters"),
        ("paths: [{path: /a, dest_subdir: ../x}]".to_owned(), "can not hold .."),
        ("paths: [{path: /a, dest_subdir: /x}]".to_owned(), "must be relative"),
        ("paths: [{path: /a, dest_subdir: \"a\\0b\"}]".to_owned(), "control characters"),
        ("paths: [{path: \"/a\\0b\"}]".to_owned(), "control characters"),
        ("paths: [{path: '~/x'}]".to_owned(), "must be absolute"),
        ("ssh_user: 'a b'\npaths: [{path: /a}]".to_owned(), "user name has"),
        (format!("ssh_user: root\nssh_options: [-oLocalCommand=id]\n{path}"), "refused"),
        (format!("rsync_options: --trust-sender\n{path}"), "refused"),
        ("paths: []".to_owned(), "at least one path"),
        ("ssh_user: root\nhostname: b\nssh_user: root@a\npaths: [{path: /a}]".to_owned(), "second time"),
        ("ssh_user: root@a\nhostname: b\npaths: [{path: /a}]".to_owned(), "keep one of them"),
    ] {
        let found = errors(&with_host(&lines));
        assert!(found.iter().any(|error| error.contains(expected)), "{lines}: {found:?}");
    }
    assert!(errors("hosts: {'../x': {paths: [{path: /a}]}}")[0].contains("can not begin with ."));
}

#[test]
fn this_machine_is_never_backed_up_in_the_name_of_another() {
    let found = errors(&with_host("hostname: server1.example.com\npaths: [{path: /etc}]"));
    assert!(found[0].contains("ssh_user is empty, which means this machine"), "{found:?}");
    assert_eq!(
        checked(&with_host("ssh_user: ''\npaths: [{path: /etc}]")).config.hosts[0].access,
        Access::Local
    );
}

#[test]
fn yaml_1_1_booleans_are_understood() {
    for (text, expected) in [("yes", true), ("no", false), ("On", true), ("false", false)] {
        let config = checked(&with_host(&format!("ignore_ping: {text}\npaths: [{{path: /a}}]"))).config;
        assert_eq!(config.hosts[0].ignore_ping, expected, "{text}");
    }
    assert!(errors(&with_host("ignore_ping: 2\npaths: [{path: /a}]"))[0].contains("true or false"));
}

#[test]
fn a_file_without_hosts_is_an_error() {
    assert_eq!(
        errors("config: {parallel: 2}"),
        ["line 1: hosts: no host is configured; add one with its ssh_user and paths"]
    );
    assert!(errors("hosts: [a]")[0].contains("expected a block of keys, found a list"));
}

proptest! {
    #[test]
    fn any_text_is_accepted_or_refused_with_a_reason(text in "(config|hosts|snapshots|h|paths|path|: |\n|  |- |/a|\\{|\\}|\\[|\\]|,|'|-K|\\.\\.){0,30}") {
        match Config::parse(&text) {
            Ok(checked) => prop_assert!(!checked.config.hosts.is_empty()),
            Err(problems) => prop_assert!(!problems.errors.is_empty()),
        }
    }
}

const EXAMPLE: &str = include_str!("../../backup.yaml.example");

#[test]
fn the_example_is_right_as_it_stands_and_with_everything_switched_on() {
    assert_eq!(checked(EXAMPLE).warnings, []);
    // A comment that begins without a space is a key; scripts and the rest are only checked here, not run.
    let everything: String = EXAMPLE.split_inclusive('\n').map(without_mark).collect();
    let config = checked(&everything).config;
    assert!(config.require_mount && config.snapshots.is_some());
    assert_eq!(config.hosts[0].paths[1].settings.rsync_options.last().map(String::as_str), Some("-z"));
}

/// `  #key: value` as `  key: value`.
fn without_mark(line: &str) -> String {
    let key = line.trim_start();
    match key.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '\n']) || rest.starts_with("  ")) {
        Some(rest) => format!("{}{rest}", &line[..line.len() - key.len()]),
        None => line.to_owned(),
    }
}

#[test]
fn the_snapshot_directory_is_apart_from_all_destinations() {
    let text = |directory: &str| {
        format!(
            "config: {{backup_base: /share}}\nhosts: {{a: {{paths: [{{path: /x}}]}}}}\nsnapshots:\n  volume: /share\n  directory: {directory}\n  schedules: []\n"
        )
    };
    assert!(Config::parse(&text(".snapshots")).is_ok());
    for directory in ["a", "a/x", "a/x/y"] {
        let problems = Config::parse(&text(directory)).unwrap_err();
        let found: Vec<String> = problems.errors.iter().map(ToString::to_string).collect();
        assert!(
            found.len() == 1
                && found[0].starts_with("line 5: snapshots.directory: ")
                && found[0].contains("a /x"),
            "{found:?}"
        );
    }
}

#[test]
fn hosts_say_the_same_before_and_after_what_they_inherit() {
    let global = "config: {rsync_options: -rt, io_timeout: 7, lock_file: relative}\n";
    let hosts = "hosts:\n  a: {paths: [{path: /x}, {path: /y, colour: red}]}\n  b: {hostname: h, paths: [{path: x}]}\n";
    let snapshots = "snapshots: {volume: /v, shedules: []}\n";
    let found = |text: &str| {
        let mut found: Vec<_> = Config::parse(text)
            .unwrap_err()
            .errors
            .into_iter()
            .map(|error| (error.key, error.message))
            .collect();
        found.sort();
        found
    };
    let first = found(&format!("{global}{hosts}{snapshots}"));
    assert_eq!(first.len(), 5, "{first:#?}");
    assert_eq!(found(&format!("{hosts}{snapshots}{global}")), first);
    assert_eq!(found(&format!("{snapshots}{hosts}{global}")), first);

    let (global, hosts) =
        (global.replace("relative", "/l"), "hosts: {a: {paths: [{path: /x}, {path: /y, io_timeout: 9}]}}\n");
    for text in [format!("{global}{hosts}"), format!("{hosts}{global}")] {
        let config = checked(&text).config;
        let paths = &config.hosts[0].paths;
        let told = |job: &PathJob| (job.settings.io_timeout.as_secs(), job.settings.rsync_options.join(" "));
        assert_eq!(
            (told(&paths[0]), told(&paths[1])),
            ((7, "-rt".to_owned()), (9, "-rt".to_owned())),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_breaks_off_has_no_other_problem() {
    let broken = "config: {parallel: 0}\nhosts:\n  a: {paths: [{path: x}]}\n  b: [\n";
    let problems = Config::parse(broken).unwrap_err();
    assert_eq!(problems.errors.len(), 1, "{problems:#?}");
    assert!(problems.errors[0].message.starts_with("this is not YAML"), "{problems:#?}");
}

#[test]
fn paths_that_are_backed_up_alike_share_their_settings() {
    let config = checked(
        "config: {io_timeout: 5}\nhosts:\n  a: {paths: [{path: /x}, {path: /y}]}\n  b: {paths: [{path: /x}, {path: /y, max_delete: 3}, {path: /z}]}\n",
    )
    .config;
    let jobs: Vec<_> = config.hosts.iter().flat_map(|host| &host.paths).collect();
    let shared: Vec<_> = jobs.windows(2).map(|two| Arc::ptr_eq(&two[0].settings, &two[1].settings)).collect();
    assert_eq!(shared, [true, true, false, false]);
    assert_eq!(config.hosts[1].key_of(jobs[3]), "hosts.b.paths[1]");
}
