//! docs/migration.md: from a server of the older shell system to this one, and back.

use crate::reader::Reader;

/// As the older system's own description has it, with paths that an ordinary user may read.
const CONFIG: &str = "\
config:
  backup_base: \"/share/backup/\"
  lock_file: \"/tmp/backup.fil\"
  rsync_options: \"-avz --delete --numeric-ids --stats --human-readable\"

hosts:
  server1:
    ssh_user: \"backup\"
    ssh_key: \"/root/.ssh/backup_key\"
    hostname: \"server1.example.com\"
    preserve_ownership: false
    paths:
      - path: \"/srv/etc\"
        dest_subdir: \"etc\"
      - path: \"/home\"
        dest_subdir: \"home\"
        exclude_file: \"/etc/backup/excludes/home.txt\"

  server2:
    ssh_user: \"root@server2.local\"
    ignore_ping: true
    paths:
      - path: \"/var/www\"
        dest_subdir: \"www\"
        pre_script: \"stop_apache\"
        post_script: \"start_apache\"

snapshots:
  volume: \"/share\"
  schedules:
    - type: \"hourly\"
      count: 6
      interval: 14400
    - type: \"daily\"
      count: 7
      interval: 86400
";

/// What the older system has left: units, scripts, a backup, a snapshot and its stats log.
const OLDER: &str = r#"set -e
mkdir -p /etc/backup/scripts /etc/backup/excludes /share/backup/server1 /share/backup/server2 /share/.snapshots
echo .ssh >/etc/backup/excludes/home.txt
echo 'echo stopped >>/run/apache' >/etc/backup/scripts/stop_apache.sh
echo 'echo started >>/run/apache' >/etc/backup/scripts/start_apache.sh
printf '#!/bin/sh\necho "the older system: $*"\n' >/usr/local/bin/backup-new.sh
chmod 755 /usr/local/bin/backup-new.sh
cat >/etc/systemd/system/backup.service <<END
[Service]
Type=oneshot
ExecStart=/usr/local/bin/backup-new.sh --backup
END
cat >/etc/systemd/system/backup.timer <<END
[Timer]
OnCalendar=*-*-* 00/2:00:00
[Install]
WantedBy=timers.target
END
systemctl daemon-reload
systemctl enable --now backup.timer
systemctl start backup.service
rsync -az --no-owner --no-group /srv/etc/ /share/backup/server1/etc/
rsync -az --no-owner --no-group --exclude .ssh /home/ /share/backup/server1/home/
rsync -az --numeric-ids /var/www/ /share/backup/server2/www/
btrfs subvolume snapshot -r /share /share/.snapshots/hourly_2026-01-01_020000
for host in server1:/srv/etc server1:/home server2:/var/www; do
    echo "RSYNC_STATS: host=${host%%:*} path=${host#*:} bytes_sent=1000 bytes_received=7 transfer_rate=1.5 total_size=5000 speedup=2 exit_code=0 error_count=0 warning_count=0 permission_errors=0 connection_errors=0 timestamp=2026-01-01 02:00:07"
done >/var/log/backup-stats.log
"#;

pub fn to_the_new_one(reader: &mut Reader) {
    let made = reader.site.machine.shell(OLDER);
    assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
    reader.site.write("/etc/backup/backup.yaml", CONFIG);
    // As it was often found.
    reader.site.machine.must(&["chmod", "664", "/etc/backup/backup.yaml"]);
    reader.fetches_the_package();

    reader.types("systemctl disable --now backup.timer").well();
    reader.types("mkdir -p /root/old-backup").well();
    reader
        .types("mv /etc/systemd/system/backup.service /etc/systemd/system/backup.timer /root/old-backup/")
        .well();
    reader.types("apt install ./backup-system_0.1.0-1_amd64.deb").well();
    reader.types("systemctl daemon-reload").well();
    let unit = reader.site.property("backup.service", "FragmentPath");
    assert!(unit.ends_with("/lib/systemd/system/backup.service"), "the unit of the package: {unit}");

    reader.types("backup-runner --check-config --verbose").code(2).shows("chmod go-w");
    reader.types("chmod go-w /etc/backup /etc/backup/backup.yaml").well();
    reader
        .types("backup-runner --check-config --verbose")
        .well()
        .shows("lock_file")
        .shows("/tmp/backup.fil")
        .lacks("--human-readable");
    reader.types("backup-runner --verify-hosts").well().shows("server1").shows("server2");

    // What is there is not transferred again.
    reader.types("backup-runner --dry-run").well().shows("/share/backup/server1/etc");
    reader.types("backup-runner --dry-run --host server1").well().lacks("server2");
    let planned = reader.site.machine.must(&["backup-runner", "--dry-run", "--json"]);
    reader.site.step(&format!("the first dry run\n{planned}"));

    reader.types("systemctl start backup.service").well();
    reader.types("journalctl -t backup-runner -n 50").well().shows("server1").shows("server2");
    let records = reader.site.records();
    let end = records.iter().rfind(|record| record["type"] == "run_finished").unwrap();
    assert_eq!(end["status"], "success", "{records:#?}");
    let moved: Vec<_> = records
        .iter()
        .filter(|record| record["type"] == "path_finished")
        .map(|record| record["stats"]["files_transferred"].as_u64().unwrap())
        .collect();
    assert_eq!(moved, [0, 0, 0], "the backups of before are gone on with");
    assert_eq!(reader.site.machine.must(&["cat", "/run/apache"]), "stopped\nstarted\n");
    reader.types("systemctl enable --now backup-sizes.socket").well();
    reader.types("systemctl enable --now backup.timer backup-exporter.service").well();
    reader.site.until_metrics(&[
        "backup_run_state{state=\"success\"} 1",
        "backup_snapshots{schedule=\"hourly\"} 2",
        "backup_path_stored_method{host=\"server2\",path=\"/var/www\",method=\"tree\"} 1",
    ]);

    reader.types("backup-metrics --last-run").well().shows("server1").shows("success");
    reader.types("backup-metrics --last-run --count 4").well().shows("/var/www").shows("2026-01-01");
    reader.types("journalctl -u backup.service").well().shows("the older system: --backup");
    reader.site.step("docs/migration.md: from the older system to this one");
}

pub fn back_again(reader: &mut Reader) {
    reader.types("systemctl disable --now backup.timer").well();
    reader.types("apt remove backup-system").well();
    reader
        .types("mv /root/old-backup/backup.service /root/old-backup/backup.timer /etc/systemd/system/")
        .well();
    reader.types("systemctl daemon-reload").well();
    reader.types("systemctl enable --now backup.timer").well();
    let site = &reader.site;
    assert_eq!(site.property("backup.timer", "ActiveState"), "active");
    assert_eq!(site.property("backup.service", "FragmentPath"), "/etc/systemd/system/backup.service");
    site.machine.must(&["systemctl", "start", "backup.service"]);
    assert_eq!(site.property("backup.service", "Result"), "success");
    assert_eq!(site.machine.must(&["cat", "/share/backup/server2/www/index.html"]), "page\n");
    // And away with it again, for what follows.
    let undone = "systemctl disable --now backup.timer; rm /etc/systemd/system/backup.service /etc/systemd/system/backup.timer; systemctl daemon-reload";
    assert_eq!(site.machine.shell(undone).code, 0);
    site.step("docs/migration.md: and back again");
}
