//! Scripts around hosts and paths, by the built program, here and over a real ssh server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/scripts.rs"]
mod scripts;
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::record::Body;
use backup_common::status::Status;
use backup_testkit::process::{self, Running, free_port};
use backup_testkit::sshd::Sshd;
use backup_testkit::wait;
use scripts::{configure, log, noting, ran, script, with_path_keys};
use support::{Site, host};

#[test]
fn scripts_run_in_order_on_both_sides_and_know_what_they_are_about() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("it's a source", &[("f", "1")]);
    noting(&site, &["host_pre", "host_post", "host_pre_local", "host_post_local", "path_pre_local"]);
    // Before: nothing there yet. After: there. A login shell has no BACKUP_ variables, so they came with the script.
    script(&site, "path_pre", "test -e \"$BACKUP_DEST/f\" || note path_pre");
    script(&site, "path_post", "test -e \"$BACKUP_DEST/f\" && note path_post");
    script(
        &site,
        "path_post_local",
        "test -e \"$BACKUP_DEST/f\" && note \"path_post_local host=$BACKUP_HOST run=$BACKUP_RUN_ID\"",
    );
    let keys = format!(
        "{}\n    pre_script: host_pre\n    post_script: host_post\n    pre_script_local: host_pre_local\n    post_script_local: host_post_local",
        sshd.host_keys()
    );
    let path = format!(
        "  server1:\n    {keys}\n    paths: [{{path: \"{}\", dest_subdir: data, pre_script: path_pre, post_script: path_post, pre_script_local: path_pre_local, post_script_local: path_post_local.sh}}]\n",
        source.display()
    );
    configure(&site, &path);
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    let (run_id, at) = (&site.records()[0].run_id, source.display());
    assert_eq!(
        log(&site),
        [
            "host_pre path= status= reason=".to_owned(),
            "host_pre_local path= status= reason=".to_owned(),
            format!("path_pre path={at} status= reason="),
            format!("path_pre_local path={at} status= reason="),
            format!("path_post_local host=server1 run={run_id} path={at} status=success reason=ok"),
            format!("path_post path={at} status=success reason=ok"),
            "host_post_local path= status=success reason=ok".to_owned(),
            "host_post path= status=success reason=ok".to_owned(),
        ]
    );
    assert!(!site.path("stats.pending").exists());
}

#[test]
fn a_script_gets_a_fixed_environment_no_lock_and_a_group_of_its_own() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let out = site.path("seen").display().to_string();
    let text = format!(
        "{{ compgen -e | sort | tr '\\n' ' '; echo; readlink /proc/$$/fd/* ; echo \"group $(ps -o pgid= -p $$ | tr -d ' ') $$ $PWD\"; cat; }} >{out}; cd /"
    );
    script(&site, "look", &text);
    configure(&site, &with_path_keys("h", "", &source, "pre_script: look"));
    let output = process::run(
        site.command(&["--backup"])
            .env("LD_LIBRARY_PATH", "/tmp/hostile")
            .env("BASH_ENV", "/tmp/hostile")
            .env("BACKUP_PATH", "hostile")
            .env("SECRET_TOKEN", "s"),
    );
    assert_eq!(output.code, 0, "{output:?}");
    let seen = fs::read_to_string(&out).unwrap();
    let mut lines = seen.lines();
    assert_eq!(
        lines.next().unwrap().trim(),
        "BACKUP_DEST BACKUP_HOST BACKUP_PATH BACKUP_REASON BACKUP_RUN_ID BACKUP_STATUS LC_ALL PATH PWD SHLVL"
    );
    assert!(!seen.contains(&site.path("lock").display().to_string()), "{seen}");
    assert!(!seen.contains("stats.log"), "{seen}");
    let group: Vec<_> = lines.find(|line| line.starts_with("group")).unwrap().split(' ').collect();
    assert_eq!(group[1], group[2], "{seen}");
    assert_eq!(group[3], "/", "{seen}");
}

#[test]
fn a_command_that_reads_standard_input_does_not_eat_a_local_script() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    script(&site, "reads", "cat >/dev/null\nnote after");
    configure(&site, &with_path_keys("h", "", &source, "pre_script_local: reads"));
    assert_eq!(site.backup(&[]).code, 0);
    assert_eq!(ran(&site), ["after"]);
}

#[test]
fn a_failed_pre_script_fails_its_path_and_nothing_is_transferred() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let (source, other) = (site.source("src", &[("f", "1")]), site.source("other", &[("g", "1")]));
    script(&site, "stop", "note stop; echo line one; printf 'the \\033[2Jcause\\n' >&2; exit 3");
    noting(&site, &["start", "never", "never_after"]);
    configure(
        &site,
        &format!(
            "  h:\n    {}\n    paths:\n    - {{path: {}, dest_subdir: a, pre_script: stop, post_script: start, pre_script_local: never, post_script_local: never_after}}\n    - {{path: {}, dest_subdir: b}}\n",
            sshd.host_keys(),
            source.display(),
            other.display()
        ),
    );
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    let finished = site.last("h", &source);
    assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::HookFailed));
    assert_eq!((finished.exit_code, finished.attempts, finished.error_count), (None, 1, 1));
    assert_eq!(
        finished.messages,
        ["pre_script stop failed with exit code 3", "line one", "the \\u1b[2Jcause"]
    );
    assert!(!site.base().join("h/a").exists());
    assert_eq!(site.verdict("h", &other), (Status::Success, Reason::Ok));
    // Its own post-script ran; the other side's had not begun.
    assert_eq!(ran(&site), ["stop", "start"]);
    assert!(log(&site)[1].ends_with("status=failed reason=hook_failed"), "{:?}", log(&site));
    assert!(output.stdout.contains("pre_script stop failed with exit code 3"), "{}", output.stdout);
}

#[test]
fn exit_code_75_skips_without_failing() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    script(&site, "busy", "note busy; echo not now; exit 75");
    noting(&site, &["after"]);
    configure(&site, &with_path_keys("h", "", &source, "pre_script: busy, post_script: after"));
    let output = site.backup(&[]);
    assert_eq!(output.code, 75, "{output:?}");
    assert_eq!(site.verdict("h", &source), (Status::Skipped, Reason::HookSkip));
    assert_eq!(site.last("h", &source).error_count, 0);
    assert!(!site.base().join("h").exists());
    assert!(log(&site)[1].ends_with("status=skipped reason=hook_skip"), "{:?}", log(&site));
}

#[test]
fn a_failed_pre_script_of_a_host_fails_all_its_paths() {
    let site = Site::new();
    let (source, other) = (site.source("src", &[("f", "1")]), site.source("other", &[("g", "1")]));
    script(&site, "host_pre", "note host_pre; echo why; false");
    noting(&site, &["host_post", "path_pre"]);
    configure(
        &site,
        &format!(
            "  h:\n    pre_script_local: host_pre\n    post_script_local: host_post\n    paths: [{{path: {}, pre_script: path_pre}}, {{path: {}}}]\n",
            source.display(),
            other.display()
        ),
    );
    assert_eq!(site.backup(&[]).code, 10);
    for path in [&source, &other] {
        let finished = site.last("h", path);
        assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::HookFailed));
        assert_eq!(finished.messages, ["pre_script_local host_pre failed with exit code 1", "why"]);
    }
    assert_eq!(ran(&site), ["host_pre", "host_post"]);
    assert_eq!(fs::read_dir(site.base()).unwrap().count(), 0);
}

/// Processes with this word in their command line.
fn processes_with(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split('\0').any(|argument| argument == word)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Kills what a script left behind on purpose.
struct Kill(String);

impl Drop for Kill {
    fn drop(&mut self) {
        for process in processes_with(&self.0) {
            process::run(Command::new("kill").args(["-s", "KILL", &process]));
        }
    }
}

/// A number that `sleep` takes and that no other test uses.
fn unique_sleep(site: &Site) -> String {
    let digits: String =
        site.path("").display().to_string().bytes().map(|byte| (b'0' + byte % 10) as char).collect();
    format!("1000.{digits}")
}

#[test]
fn a_script_that_hangs_is_ended_with_its_children() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let nap = unique_sleep(&site);
    let _kill = Kill(nap.clone());
    script(&site, "hangs", &format!("trap '' TERM; note hangs; sleep {nap} & sleep {nap}; sleep {nap}"));
    noting(&site, &["after"]);
    let keys = "pre_script: hangs, post_script: after, hook_timeout: 1";
    configure(&site, &with_path_keys("h", "", &source, keys));
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    let finished = site.last("h", &source);
    assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::HookTimeout));
    assert_eq!(finished.messages, ["pre_script hangs was ended after 1 s (hook_timeout)"]);
    assert_eq!(processes_with(&nap), Vec::<String>::new());
    assert_eq!(ran(&site), ["hangs", "after"]);
    assert!(log(&site)[1].ends_with("reason=hook_timeout"));
}

#[test]
fn a_flood_of_output_costs_no_memory() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    script(&site, "floods", "head -c 1G /dev/zero | tr '\\0' x; echo; echo the end; exit 1");
    configure(&site, &with_path_keys("h", "", &source, "pre_script: floods"));
    // A limit far below what is printed; threads reserve address space that they do not use.
    let line = "ulimit -v 400000; exec \"$@\"";
    let run = site.command(&["--backup"]);
    let output = process::run(
        Command::new("bash").args(["-c", line, "bash"]).arg(run.get_program()).args(run.get_args()),
    );
    assert_eq!(output.code, 10, "{output:?}");
    let finished = site.last("h", &source);
    assert_eq!(finished.messages.last().unwrap(), "the end");
    assert!(finished.messages.iter().all(|message| message.len() <= 500));
}

#[test]
fn a_daemon_that_keeps_the_pipes_does_not_hold_the_run_and_lives_on() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let nap = unique_sleep(&site);
    let _kill = Kill(nap.clone());
    script(&site, "daemon", &format!("sleep {nap} & note daemon"));
    script(&site, "closes", "exec >&- 2>&- <&-; sleep 0.1; note closes");
    configure(&site, &with_path_keys("h", "", &source, "pre_script: daemon, pre_script_local: closes"));
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(ran(&site), ["daemon", "closes"]);
    assert_eq!(processes_with(&nap).len(), 1);
}

#[test]
fn a_failed_post_script_is_a_warning_and_does_not_hide_a_failure() {
    let site = Site::new();
    let (source, gone) = (site.source("src", &[("f", "1")]), site.path("gone"));
    script(&site, "start", "note start; echo service is broken; exit 75");
    let keys = "post_script: start";
    configure(&site, &(with_path_keys("good", "", &source, keys) + &with_path_keys("bad", "", &gone, keys)));
    let good = site.backup(&["--host", "good"]);
    assert_eq!(good.code, 3, "{good:?}");
    let finished = site.last("good", &source);
    assert_eq!((finished.status, finished.reason), (Status::Warning, Reason::HookFailed));
    assert_eq!(finished.messages, ["post_script start failed with exit code 75", "service is broken"]);
    assert_eq!(finished.exit_code, Some(0));
    assert!(site.base().join("good/data/f").exists());

    assert_eq!(site.backup(&["--host", "bad"]).code, 10);
    let finished = site.last("bad", &gone);
    assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::SourceMissing));
    assert_eq!(finished.messages[0], "post_script start failed with exit code 75");
    assert!(finished.messages.iter().any(|message| message.contains("change_dir")), "{finished:#?}");
    assert!(log(&site)[1].ends_with("status=failed reason=source_missing"), "{:?}", log(&site));
}

#[test]
fn a_failed_post_script_of_a_host_is_its_warning() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    script(&site, "start", "echo broken; exit 1");
    configure(&site, &host("h", "post_script: start", &source));
    let output = site.backup(&[]);
    assert_eq!(output.code, 3, "{output:?}");
    assert_eq!(site.verdict("h", &source), (Status::Success, Reason::Ok));
    let records = site.records();
    let end = records.iter().find_map(|record| match &record.body {
        Body::HostFinished(end) => Some((end.status, end.reason)),
        _ => None,
    });
    assert_eq!(end, Some((Status::Warning, Reason::HookFailed)));
    assert!(
        output.stderr.contains("warning: h: post_script start failed with exit code 1; broken"),
        "{output:?}"
    );
}

#[test]
fn a_host_that_is_away_runs_no_script_there() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    noting(&site, &["there", "there_after", "here", "here_after"]);
    let keys = format!(
        "ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {}\n    optional: true\n    pre_script: there\n    post_script: there_after\n    pre_script_local: here\n    post_script_local: here_after",
        free_port()
    );
    configure(&site, &host("laptop", &keys, &source));
    let output = site.backup(&[]);
    assert_eq!(output.code, 75, "{output:?}");
    assert_eq!(site.verdict("laptop", &source), (Status::Skipped, Reason::ConnectionRefused));
    assert_eq!(ran(&site), Vec::<String>::new());
    assert!(!site.path("stats.pending").exists());
}

#[test]
fn a_key_that_may_run_something_else_only_is_no_success() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    let keys = site.path("sshd/authorized_keys");
    let key = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, format!("command=\"true\" {key}")).unwrap();
    noting(&site, &["stop", "start"]);
    let path_keys = "pre_script: stop, post_script: start";
    configure(&site, &with_path_keys("h", &sshd.host_keys(), &source, path_keys));
    assert_eq!(site.backup(&[]).code, 10);
    let finished = site.last("h", &source);
    assert_eq!(finished.reason, Reason::HookFailed);
    assert!(finished.messages[0].contains("pre_script stop did not run"), "{finished:#?}");
    assert_eq!(ran(&site), Vec::<String>::new());
}

/// A site with scripts around a path that takes longer than any test, and a run that writes.
fn start_slow(site: &Site, keys: &str) -> (Running, PathBuf) {
    let source = site.source("src", &[("big", &"x".repeat(30_000_000))]);
    let host_keys = "rsync_options: --bwlimit=100\n    post_script: host_post";
    configure(site, &with_path_keys("h", host_keys, &source, keys));
    let run = Running::start(
        site.command(&["--backup"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()),
    );
    (run, source)
}

fn wait_for_transfer(site: &Site) {
    wait::until("the temporary file", || fs::read_dir(site.base().join("h/data")).ok()?.next().map(|_| ()));
}

#[test]
fn after_a_signal_the_post_scripts_still_run() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let site = Site::new();
        noting(&site, &["stop", "start", "host_post"]);
        let (mut run, source) = start_slow(&site, "pre_script: stop, post_script: start");
        wait_for_transfer(&site);
        run.signal(signal);
        assert_eq!(run.wait().code(), Some(code));
        assert_eq!(ran(&site), ["stop", "start", "host_post"]);
        assert!(log(&site)[1].ends_with("status=failed reason=interrupted"), "{:?}", log(&site));
        assert!(log(&site)[2].ends_with("status=failed reason=interrupted"), "{:?}", log(&site));
        assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Interrupted));
        assert_eq!(site.types().last(), Some(&"run_finished"));
        assert!(!site.path("stats.pending").exists());
    }
}

#[test]
fn a_signal_during_a_pre_script_ends_it_and_its_post_script_runs() {
    let site = Site::new();
    let nap = unique_sleep(&site);
    let _kill = Kill(nap.clone());
    noting(&site, &["start", "host_post"]);
    script(&site, "stop", &format!("trap '' TERM; note stop; sleep {nap}; sleep {nap}"));
    let (mut run, source) = start_slow(&site, "pre_script: stop, post_script: start");
    wait::until("the pre-script", || (!ran(&site).is_empty()).then_some(()));
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143));
    assert_eq!(ran(&site), ["stop", "start", "host_post"]);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Interrupted));
    assert_eq!(processes_with(&nap), Vec::<String>::new());
}

#[test]
fn what_a_killed_run_owes_is_made_up_for_first_in_the_next_one() {
    let site = Site::new();
    noting(&site, &["stop", "start", "host_post"]);
    let (mut run, source) = start_slow(&site, "pre_script: stop, post_script: start");
    wait_for_transfer(&site);
    run.signal("KILL");
    run.wait();
    assert_eq!(ran(&site), ["stop"]);
    // Another host is backed up next, and the backup directory is away: the service is started all the same.
    wait::until("the lock", || {
        let tried = process::run(Command::new("flock").arg("-n").arg(site.path("lock")).arg("true"));
        (tried.code == 0).then_some(())
    });
    fs::rename(site.base(), site.path("away")).unwrap();
    let output = site.backup(&[]);
    assert_eq!(output.code, 12, "{output:?}");
    assert_eq!(ran(&site), ["stop", "host_post", "start"]);
    assert!(log(&site)[2].ends_with("status=failed reason=died"), "{:?}", log(&site));
    let said = format!("post_script start of h {} ran; running it now", source.display());
    assert!(output.stderr.contains(&said), "{output:?}");
    assert!(!site.path("stats.pending").exists());
    // And only once.
    site.backup(&[]);
    assert_eq!(ran(&site).len(), 3);
}

#[test]
fn what_is_owed_and_no_longer_configured_is_named_and_given_up() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    noting(&site, &["start"]);
    configure(&site, &host("h", "", &source));
    let pending = site.path("stats.pending");
    fs::write(&pending, "source\th\t/gone\tstart\nsource\told\t\tstart\nnonsense\n").unwrap();
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    for place in ["start of h /gone did not run", "start of old did not run"] {
        assert!(output.stderr.contains(place), "{place}: {output:?}");
    }
    assert_eq!(ran(&site), Vec::<String>::new());
    assert!(!pending.exists());
}

#[test]
fn what_is_owed_to_a_host_that_is_away_stays_owed() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    noting(&site, &["start"]);
    let keys = format!(
        "ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {}\n    post_script: start",
        free_port()
    );
    configure(&site, &(host("away", &keys, &source) + &host("h", "", &source)));
    let pending = site.path("stats.pending");
    fs::write(&pending, "source\taway\t\tstart\n").unwrap();
    assert_eq!(site.backup(&["--host", "h"]).code, 0);
    assert_eq!(fs::read_to_string(&pending).unwrap(), "source\taway\t\tstart\n");
}
