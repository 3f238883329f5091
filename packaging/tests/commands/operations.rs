//! docs/operations.md, chapter by chapter.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use backup_testkit::process;
use backup_testkit::wait;

use crate::reader::Reader;
use crate::site::Site;

pub fn every_day(reader: &mut Reader) {
    reader.types("systemctl list-timers backup.timer").well().shows("backup.service");
    let said = reader.types("systemctl status backup.service backup-exporter.service");
    // 3: one of them does not run, which is how the service of a timer is most of the time.
    said.code(3).shows("following what the runner records");
    reader.types("systemctl status backup.service").code(3);
    reader.types("journalctl -t backup-runner -p warning --since yesterday").well().shows("config.lock_file");
    reader.types("journalctl BACKUP_HOST=server1 BACKUP_RECORD=path_finished -n 20").well().shows("/srv/etc");
    reader.types("systemctl start backup.service").well();

    // A run that takes long enough to be stopped.
    reader.site.write("/etc/backup/scripts/stop_apache.sh", "sleep 60\n");
    let id = start(&reader.site);
    reader.types("systemctl stop backup.service").well();
    let end = reader.site.until_record("run_finished", 0, |record| record["run_id"] == *id);
    assert_eq!(end["reason"], "interrupted");
    reader.site.write("/etc/backup/scripts/stop_apache.sh", "echo stopped >>/run/apache\n");
    reader.types("systemctl reload backup-exporter.service").well();

    // What the tables of errors name.
    let kernel = reader.types("journalctl -k -g 'Out of memory'").output;
    assert!(kernel.code <= 1 && !kernel.stderr.contains("Failed"), "{}", kernel.stderr);
    let log = "/var/log/backup-stats.log";
    let changed = format!("chown root:root {log}; chmod 600 {log}");
    assert_eq!(reader.site.machine.shell(&changed).code, 0);
    reader.types("systemd-tmpfiles --create");
    let rights = |site: &Site| site.machine.must(&["stat", "-c", "%U %G %a", log]);
    assert_eq!(rights(&reader.site), "root backup-exporter 640\n");
    assert_eq!(reader.site.machine.shell(&changed).code, 0);
    reader.types("chgrp backup-exporter /var/log/backup-stats.log").well();
    reader.site.machine.must(&["chmod", "640", log]);
    assert_eq!(rights(&reader.site), "root backup-exporter 640\n");
    reader.types("systemctl stop backup-sizes.service").well();
    reader.types("systemctl enable --now backup-sizes.socket").well();

    let before = reader.site.history();
    reader.types("logrotate --force /etc/logrotate.d/backup-system").well();
    reader.site.until_history(&before);

    reader.site.write("/root/edited", "[Timer]\nOnCalendar=\nOnCalendar=*-*-* 03:30:00\n");
    assert!(Reader::block("docs/operations.md", "so an empty one comes first").contains("03:30:00"));
    reader.types_on_a_terminal("systemctl edit backup.timer", "SYSTEMD_EDITOR='cp /root/edited'").well();
    // Within a minute, or at once after a start.
    reader.site.machine.must(&["systemctl", "restart", "backup-exporter.service"]);
    reader.site.until_metrics(&["backup_schedule_interval_seconds 86520"]);
    reader.site.machine.must(&["rm", "-r", "/etc/systemd/system/backup.timer.d"]);
    reader.site.machine.must(&["systemctl", "daemon-reload"]);
    reader.site.step("docs/operations.md: every day");
}

/// Starts a run and waits until it is in its script; returns its id.
fn start(site: &Site) -> String {
    let before = site.records().len();
    site.machine.must(&["systemctl", "start", "--no-block", "backup.service"]);
    let begun = site.until_record("path_started", before, |record| record["host"] == "server2");
    begun["run_id"].as_str().unwrap().to_owned()
}

pub fn second_configuration(reader: &mut Reader) {
    reader.site.write(
        "/etc/backup/second.yaml",
        "config: {backup_base: /share/second, lock_file: /run/second.lock, stats_file: /var/log/second.log}\n\
         hosts: {here: {paths: [{path: /var/www}]}}\n",
    );
    reader.site.machine.must(&["mkdir", "/share/second"]);
    reader.types("backup-runner --check-config --config /etc/backup/second.yaml").well();
    reader.types("systemctl enable --now backup@second.timer").well();
    reader.types("systemctl start backup@second.service").well();
    reader.types("journalctl -u backup@second.service -n 20").well().shows("/var/www");
    reader.types_on_a_terminal("systemctl edit backup@NAME.timer", "SYSTEMD_EDITOR='cp /root/edited'").well();
    let log = fs::read_to_string(reader.site.path("/var/log/second.log")).unwrap();
    assert!(log.contains("\"run_finished\""), "{log}");
    let undone = "systemctl disable --now backup@second.timer; rm -r /share/second /etc/systemd/system/backup@NAME.timer.d; systemctl daemon-reload";
    assert_eq!(reader.site.machine.shell(undone).code, 0);
    reader.site.step("docs/operations.md: a second configuration");
}

/// The drop-ins do what they say, and do not without being there.
pub fn drop_ins(reader: &mut Reader) {
    reader.site.write("/etc/backup/scripts/stop_apache.sh", "echo stopped\n");
    let local = reader.site.machine.must(&["cat", "/etc/backup/backup.yaml"]);
    reader.site.write("/etc/backup/scripts/other_user.sh", "runuser -u backup -- id -un >/run/other-user\n");
    let with_script = local.replace("pre_script: \"stop_apache\"", "pre_script_local: other_user");
    assert_ne!(local, with_script);
    reader.site.write("/etc/backup/backup.yaml", &with_script);
    assert_eq!(
        reader.site.run()["reason"],
        "hook_failed",
        "the unit keeps scripts from becoming somebody else"
    );
    reader
        .types("install -D -m 644 /usr/share/doc/backup-system/examples/backup-scripts.conf /etc/systemd/system/backup.service.d/scripts.conf")
        .well();
    reader.types("systemctl daemon-reload").well();
    let exposure = reader.types("systemd-analyze security backup.service").output;
    assert!(exposure.stdout.contains("Overall exposure level for backup.service"), "{}", exposure.stderr);
    assert_eq!(reader.site.run()["status"], "success");
    assert_eq!(reader.site.machine.must(&["cat", "/run/other-user"]), "backup\n");
    reader.site.machine.must(&["rm", "-r", "/etc/systemd/system/backup.service.d"]);
    reader.site.write("/etc/backup/backup.yaml", &local);
    reader.site.machine.must(&["systemctl", "daemon-reload"]);
    assert_eq!(reader.site.run()["status"], "success");

    // The exporter without any capability.
    for command in [
        "install -D -m 644 /usr/share/doc/backup-system/examples/backup-exporter-no-capability.conf /etc/systemd/system/backup-exporter.service.d/no-capability.conf",
        "chgrp backup-exporter /share/.snapshots /etc/backup/influxdb-config.yaml",
        "chmod 750 /share/.snapshots",
        "chmod 640 /etc/backup/influxdb-config.yaml",
        "systemctl enable --now backup-sizes.socket",
        "systemctl daemon-reload",
        "systemctl restart backup-exporter.service",
    ] {
        reader.types(command).well();
    }
    let site = &reader.site;
    let pid = site.property("backup-exporter.service", "MainPID");
    let status = site.machine.must(&["cat", &format!("/proc/{pid}/status")]);
    assert!(
        status.contains("CapEff:\t0000000000000000") && status.contains("CapBnd:\t0000000000000000"),
        "{status}"
    );
    // A run keeps the rights of the directory, and what it brings is measured.
    let files = "backup_path_stored_files{host=\"server2\",path=\"/var/www\"}";
    let before = site.value(files);
    site.write("/var/www/another.html", "page\n");
    assert_eq!(site.run()["status"], "success");
    site.until_metrics(&[
        "backup_exporter_input_up{input=\"stats\"} 1",
        "backup_exporter_input_up{input=\"journal\"} 1",
        "backup_exporter_input_up{input=\"timer\"} 1",
        "backup_exporter_input_up{input=\"snapshots\"} 1",
        "backup_snapshots{schedule=\"daily\"} 1",
        "backup_run_state{state=\"success\"} 1",
        &format!("{files} {}", before + 1.0),
        "backup_path_stored_method{host=\"server2\",path=\"/var/www\",method=\"tree\"} 1",
    ]);
    // It has read the file with the server for the points; the server itself is off by now.
    let own = format!("_SYSTEMD_INVOCATION_ID={}", site.property("backup-exporter.service", "InvocationID"));
    site.machine.until(&["journalctl", "--no-pager", &own], "sending points to InfluxDB");
    site.machine.must(&["rm", "/etc/systemd/system/backup-exporter.service.d/no-capability.conf"]);
    site.step("docs/operations.md: scripts that need more, and the exporter without a capability");
}

/// TLS, a user and other addresses, as docs/web.md and docs/operations.md have it.
pub fn opened(reader: &mut Reader) {
    let shown = Reader::block("docs/web.md", "Write `/etc/backup/web-config.yaml`");
    let hash = hash_of_secret(&reader.notes("htpasswd -nBC 10 \"\" | tr -d ':\\n'"));
    let shown: String = shown
        .lines()
        .map(|line| match line.split_once("$2y$10$…") {
            Some((before, _)) => format!("{before}{hash}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    reader.site.write("/etc/backup/web-config.yaml", &shown);
    let made = reader.site.machine.shell(
        "cd /etc/backup && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=server1 -addext subjectAltName=DNS:server1 \
         -keyout server.key -out server.crt && chgrp backup-exporter web-config.yaml server.key && chmod 640 web-config.yaml server.key",
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let setting = reader.notes(
        "BACKUP_EXPORTER_OPTIONS=\"--web.listen-address=:19187 --web.config.file=/etc/backup/web-config.yaml\"",
    );
    reader.site.write("/etc/default/backup-exporter", &format!("{setting}\n"));
    reader
        .types("install -D -m 644 /usr/share/doc/backup-system/examples/backup-exporter-remote.conf /etc/systemd/system/backup-exporter.service.d/remote.conf")
        .well();
    reader.types("systemctl daemon-reload").well();
    reader.types("systemctl restart backup-exporter.service").well();
    let site = &reader.site;
    assert!(site.property("backup-exporter.service", "IPAddressAllow").contains("192.0.2.0/24"));
    let ask = |user: &str| {
        site.machine.shell(&format!(
            "curl --silent --output /dev/null --write-out '%{{http_code}}' --cacert /etc/backup/server.crt {user} https://server1:19187/metrics"
        ))
    };
    assert_eq!(ask("").stdout, "401");
    assert_eq!(ask("--user prometheus:secret").stdout, "200");
    site.machine.must(&["rm", "/etc/systemd/system/backup-exporter.service.d/remote.conf"]);
    site.write("/etc/default/backup-exporter", "BACKUP_EXPORTER_OPTIONS=\"\"\n");
    site.machine.must(&["systemctl", "daemon-reload"]);
    site.machine.must(&["systemctl", "restart", "backup-exporter.service"]);
    site.step("docs/operations.md, docs/web.md: opened, with TLS and a user");
}

/// htpasswd is on the machine outside; it asks for the password on a terminal, twice.
fn hash_of_secret(line: &str) -> String {
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-c", line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = terminal.spawn().unwrap();
    // It throws away what was typed before it asked, so somebody goes on typing until it has ended.
    let mut keyboard = terminal.stdin.take().unwrap();
    wait::until("htpasswd to end", || {
        let _ = keyboard.write_all(b"secret\n");
        std::thread::sleep(Duration::from_millis(100));
        terminal.try_wait().unwrap()
    });
    let mut said = String::new();
    terminal.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    // What is typed after the end is echoed behind the hash, which is 60 characters long.
    let hash = said.find("$2y$10$").and_then(|at| said.get(at..at + 60));
    hash.unwrap_or_else(|| panic!("{line}: {said}")).to_owned()
}

/// The snapshots in the order of their times.
fn snapshots(site: &Site) -> Vec<String> {
    let listed = site.machine.must(&["ls", "/share/.snapshots"]);
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    names.sort_by_key(|name| name.split_once('_').unwrap().1.to_owned());
    names
}

pub fn restored(reader: &mut Reader) {
    let daily = snapshots(&reader.site).into_iter().rfind(|name| name.starts_with("daily_")).unwrap();
    let name = ("daily_2026-01-02_020000", &*daily);
    reader.types("ls /share/.snapshots").well().shows(&daily);
    // The letter of the host is lost, and comes back.
    reader
        .types_with("rsync -aHAX --numeric-ids --dry-run --itemize-changes /share/.snapshots/daily_2026-01-02_020000/backup/server1/etc/ root@server1:/tmp/etc/", &[name])
        .well()
        .shows("hosts");
    assert!(!reader.site.path("/tmp/etc/hosts").exists());
    reader
        .types_with("rsync -aHAX --numeric-ids /share/.snapshots/daily_2026-01-02_020000/backup/server1/etc/ root@server1:/tmp/etc/", &[name])
        .well();
    let site = &reader.site;
    assert_eq!(site.machine.must(&["diff", "-r", "/srv/etc", "/tmp/etc"]), "");
    site.machine.must(&["rm", "/share/backup/server1/etc/hosts"]);
    reader
        .types_with("cp --reflink=auto -a /share/.snapshots/daily_2026-01-02_020000/backup/server1/etc/hosts /share/backup/server1/etc/hosts", &[name])
        .well();
    reader.site.machine.must(&["cmp", "/share/backup/server1/etc/hosts", "/srv/etc/hosts"]);
    reader
        .types_with("btrfs subvolume snapshot /share/.snapshots/daily_2026-01-02_020000 /share/daily_2026-01-02_020000-writable", &[name])
        .well();
    let writable = format!("/share/{daily}-writable");
    reader.site.machine.must(&["touch", &format!("{writable}/backup/written")]);
    reader.types_with("btrfs subvolume delete /share/daily_2026-01-02_020000-writable", &[name]).well();
    reader.site.step("docs/operations.md: restored from a snapshot to a host");
}

/// A disk of the machine, which is a loop device outside.
struct Disk {
    device: PathBuf,
}

impl Disk {
    fn attach(site: &Site, image: &Path) -> Self {
        File::create(image).unwrap().set_len(512 << 20).unwrap();
        let attached = process::run(Command::new("losetup").args(["--find", "--show"]).arg(image));
        assert_eq!(attached.code, 0, "{}", attached.stderr);
        let disk = Self { device: PathBuf::from(attached.stdout.trim()) };
        let number = fs::metadata(&disk.device).unwrap().rdev();
        let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
        site.machine.must(&["mknod", "/dev/sdb1", "b", &major.to_string(), &minor.to_string()]);
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // While it is mounted in the machine it goes with the last use.
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).output();
    }
}

pub fn moved(reader: &mut Reader) {
    assert_eq!(reader.site.run()["status"], "success");
    let names = snapshots(&reader.site);
    assert_eq!(names.len(), 3, "{names:?}");
    let (first, next) = (&*names[0], &*names[2]);
    let (older, newer) = (("daily_2026-01-01_020000", first), ("daily_2026-01-02_020000", next));
    let folder = tempfile::tempdir().unwrap();
    let _disk = Disk::attach(&reader.site, &folder.path().join("disk"));

    reader
        .types("systemctl stop backup.timer backup.service backup-sizes.socket backup-sizes.service")
        .well();
    reader.types("mkfs.btrfs /dev/sdb1").well();
    reader.types("mount /dev/sdb1 /mnt").well();
    reader.types("mkdir -m 700 /mnt/.snapshots").well();
    reader
        .types_with(
            "btrfs send /share/.snapshots/daily_2026-01-01_020000 | btrfs receive /mnt/.snapshots",
            &[older],
        )
        .well();
    reader
        .types_with("btrfs send -p /share/.snapshots/daily_2026-01-01_020000 /share/.snapshots/daily_2026-01-02_020000 | btrfs receive /mnt/.snapshots", &[older, newer])
        .well();
    reader
        .types_with("cp --reflink=always -a /mnt/.snapshots/daily_2026-01-02_020000/backup /mnt/", &[newer])
        .well();
    reader.types("rsync -aHAX --numeric-ids --delete /share/backup/ /mnt/backup/").well();
    assert_eq!(reader.site.machine.must(&["diff", "-r", "/share/backup", "/mnt/backup"]), "");
    let before = reader.site.history();
    reader.types("umount /mnt").well();
    reader.types("umount /share").well();
    reader.types("mount -o noatime,nosuid,nodev /dev/sdb1 /share").well();
    reader.types("backup-runner --dry-run").well();
    reader.types("systemctl start backup.timer backup-sizes.socket").well();

    let site = &reader.site;
    let after = site.history();
    let differs: Vec<_> = before.iter().filter(|(series, value)| after.get(*series) != Some(value)).collect();
    let of_snapshots = |entry: &(&String, &String)| entry.0.starts_with("backup_snapshot");
    assert!(differs.iter().all(of_snapshots), "{differs:#?}");
    let end = site.run();
    assert_eq!(end["status"], "success");
    let transferred: u64 = site
        .records()
        .iter()
        .filter(|record| record["type"] == "path_finished" && record["run_id"] == end["run_id"])
        .map(|record| record["stats"]["files_transferred"].as_u64().unwrap())
        .sum();
    assert_eq!(transferred, 0, "the run goes on where the old disk was");
    // Those that were sent are shown, but the runner lets them be and has taken its own.
    reader.site.machine.until(
        &["journalctl", "--no-pager", "-t", "backup-runner"],
        &format!("left alone and not counted: {first}, {next}"),
    );
    let site = &reader.site;
    site.until_metrics(&[
        "backup_snapshots{schedule=\"hourly\"} 3",
        "backup_snapshots{schedule=\"daily\"} 1",
    ]);
    assert_eq!(site.machine.must(&["findmnt", "-n", "-o", "SOURCE", "/share"]), "/dev/sdb1\n");
    reader.types_with("btrfs subvolume delete /share/.snapshots/daily_2026-01-01_020000", &[older]).well();
    reader.site.step("docs/operations.md: the volume is on another disk");
}

pub fn removed(reader: &mut Reader) {
    reader.types("apt install ./target/debian/backup-system_*.deb").well();
    reader.types("apt install ./backup-system_0.1.0-1_amd64.deb").well();
    reader.types("apt remove backup-system").well();
    assert!(reader.site.path("/etc/default/backup-runner").exists());
    reader.types("apt purge backup-system").well();
    assert!(!reader.site.path("/etc/default/backup-runner").exists());
    assert!(reader.site.path("/etc/backup/backup.yaml").exists());
    reader.site.step("docs/operations.md: removed");
}
