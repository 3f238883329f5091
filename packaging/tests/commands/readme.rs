//! README.md, and the documents that are about one of its chapters.

use std::fs;

use backup_testkit::wait;

use crate::reader::Reader;
use crate::support;

pub fn configured(reader: &mut Reader) {
    // The configuration that README.md shows is a good one.
    let shown = Reader::block("README.md", "`/etc/backup/backup.yaml`:");
    reader.site.write("/root/shown.yaml", &shown);
    reader.site.machine.must(&["backup-runner", "--check-config", "--config", "/root/shown.yaml"]);
    let yaml = Reader::block("docs/many-servers.md", "one Prometheus");
    assert!(yaml.contains("scrape_configs:"), "{yaml}");

    reader.types("backup-runner --check-config").well();
    reader.types("backup-runner --check-config --json").well().shows("\"server2\"");
    reader.types("backup-runner --print-schema >backup.schema.json").well();
    let schema = fs::read_to_string(reader.site.path("/root/backup.schema.json")).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&schema).unwrap()["properties"]["hosts"].is_object());
    for program in ["runner", "exporter", "metrics", "sizes"] {
        let command = [
            "backup-runner --help",
            "backup-exporter --help",
            "backup-metrics --help",
            "backup-sizes --help",
        ]
        .into_iter()
        .find(|command| command.contains(program))
        .unwrap();
        reader.types(command).well().shows("Usage");
    }
    reader.types("systemctl enable --now backup.timer backup-exporter.service").well();
    reader.types("systemctl enable --now backup-sizes.socket").well();
    reader.types("backup-exporter --config.check").well();
    // Deleting is accepted once, for a path that is there.
    let force = "backup-runner --backup --force-delete HOST:PATH";
    reader.types_with(force, &[("HOST:PATH", "server2:/var/www")]).well();
    reader.types_with(force, &[("HOST:PATH", "nobody:/var/www")]).code(2).shows("nobody");
    reader.types("backup-runner --dry-run --json").well().shows("\"server2\"");
    reader
        .types_with("backup-runner --verify-hosts --host NAME", &[("NAME", "server2")])
        .well()
        .lacks("server1");
    reader.site.step("README.md: configured");
}

pub fn looked_back(reader: &mut Reader) {
    for _ in 0..4 {
        assert_eq!(reader.site.run()["status"], "success");
    }
    reader.site.until_metrics(&["backup_run_state{state=\"success\"} 1"]);
    reader.types("backup-metrics").well().shows("server1");
    reader.types("backup-metrics --last-run").well().shows("/srv/etc");
    reader.types("backup-metrics --last-run -2").well().shows("/srv/etc");
    reader.types("backup-metrics --last-run --count 3").well().shows("/home");
    reader.types("backup-metrics --last-run -4 --count 4 --host server1").well().lacks("server2");
    reader.types("backup-metrics --last-run --hours 48").well().shows("/var/www");
    reader.types("backup-metrics --verbose --last-run").well().shows("/var/www");
    let said = reader.types("backup-metrics --json").well().output.stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["hosts"].is_array(), "{said}");
    reader.types("backup-metrics --check").well().shows("OK");
    reader.types("backup-metrics --exclusive").well().shows("server1");
    reader.types("backup-metrics explain max_delete").well().shows("max_delete");
    reader.types("journalctl -t backup-runner -p err");
    reader.types("journalctl BACKUP_HOST=server2 BACKUP_RECORD=path_finished").well().shows("/var/www");

    // The three sizes are those of the tools that the document compares them with.
    let directory = ("DIRECTORY", "/share/backup/server2/www");
    let size = |reader: &Reader, metric: &str| {
        reader.site.value(&format!("backup_path_{metric}{{host=\"server2\",path=\"/var/www\"}}"))
    };
    reader.site.machine.must(&["sync"]);
    let number = |text: &str| text.split_whitespace().next().unwrap().parse::<f64>().unwrap();
    for (command, metric) in [
        ("du -s --block-size=1 DIRECTORY", "stored_bytes"),
        ("du -s --apparent-size --block-size=1 DIRECTORY", "apparent_bytes"),
        ("find DIRECTORY | wc -l", "stored_files"),
    ] {
        let said = reader.types_with(command, &[directory]).well().output.stdout;
        let told = size(reader, metric);
        assert!((number(&said) - told).abs() < 0.5, "{command}: {said}; {metric}: {told}");
    }
    reader.site.step("README.md, docs/history.md, docs/sizes.md: looked back");
}

/// With a real InfluxDB 1.x, by the second half of the example.
pub fn databases(reader: &mut Reader) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().display();
    let config = folder.path().join("influxdb.conf");
    let text = format!(
        "reporting-disabled = true\nbind-address = \"127.0.0.1:8088\"\n[meta]\ndir = \"{home}/meta\"\n\
         [data]\ndir = \"{home}/data\"\nwal-dir = \"{home}/wal\"\n[monitor]\nstore-enabled = false\n\
         [http]\nbind-address = \"127.0.0.1:8086\"\n"
    );
    fs::write(&config, text).unwrap();
    let _influxdb =
        reader.site.machine.in_its_network(&["influxd", "-config", &config.display().to_string()]);
    let ask = "curl --silent --fail --request POST http://127.0.0.1:8086/query --data-urlencode 'q=CREATE DATABASE backup_metrics'";
    wait::until("InfluxDB to answer", || (reader.site.machine.shell(ask).code == 0).then_some(()));

    let example = fs::read_to_string(support::sources().join("influxdb-config.yaml.example")).unwrap();
    let (_, second) = example.split_once("# For InfluxDB 1.x\n").unwrap();
    let lines = second.lines().map(|line| line.strip_prefix("# ").unwrap());
    let lines = lines.filter(|line| !line.contains("username") && !line.contains("password"));
    let config = lines.collect::<Vec<_>>().join("\n");
    reader.site.write("/etc/backup/influxdb-config.yaml", &config);
    reader.site.machine.must(&["chmod", "600", "/etc/backup/influxdb-config.yaml"]);
    reader.types("systemctl reload backup-exporter.service").well();

    reader.types("backup-metrics --test-influxdb").well().shows("backup_metrics");
    reader.types("backup-metrics --send-influxdb").well();
    reader.types("backup-metrics --send-influxdb-wait").well();
    reader.types("backup-metrics --query-data 48").well().shows("server2");
    // The exporter reads the file, which only root and its capability can.
    reader.site.machine.must(&["systemctl", "restart", "backup-exporter.service"]);
    assert_eq!(reader.site.run()["status"], "success");
    wait::until("a point of the exporter", || {
        (reader.site.value("backup_exporter_push_points_total") >= 1.0).then_some(())
    });
    reader.site.step("docs/influxdb.md: a real InfluxDB has the points");
}

/// The programs by hand instead of by systemd.
pub fn by_hand(reader: &mut Reader) {
    reader.types("backup-runner --dry-run").well();
    reader.types("backup-runner --backup").well().shows("server1");
    reader.site.machine.must(&["systemctl", "stop", "backup-exporter.service"]);
    reader.types_and_leaves_running(
        "backup-exporter --web.listen-address 127.0.0.1:19187",
        "curl --silent --fail http://127.0.0.1:19187/metrics | grep '^backup_run_state{state=\"success\"} 1$'",
    );
    reader.site.machine.must(&["systemctl", "stop", "backup-sizes.socket", "backup-sizes.service"]);
    reader.types_and_leaves_running(
        "backup-sizes --volume /share/backup --socket-group backup-exporter",
        "test \"$(stat -c %G /run/backup-sizes/socket)\" = backup-exporter",
    );
    let directory = ("DIRECTORY", "/share/backup");
    let line = "backup-sizes --volume DIRECTORY";
    assert_eq!(
        reader.types_with(line, &[directory, ("backup-sizes", "timeout 1 backup-sizes")]).output.code,
        124
    );
    reader.site.machine.must(&["systemctl", "start", "backup-sizes.socket", "backup-exporter.service"]);
    reader.site.step("README.md: the programs by hand");
}

/// The files for Grafana go to the places that its package has.
pub fn boards(reader: &mut Reader) {
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(support::sources().join("dashboards"))
        .arg(reader.site.path("/root"))
        .status();
    assert!(copied.unwrap().success());
    let grafana =
        ["datasources", "dashboards", "alerting"].map(|kind| format!("/etc/grafana/provisioning/{kind}"));
    reader.site.machine.must(&["mkdir", "-p", &grafana[0], &grafana[1], &grafana[2]]);
    reader.types("install -d /var/lib/grafana/dashboards/backup").well();
    reader.types("install -m 644 dashboards/backup-*.json /var/lib/grafana/dashboards/backup/").well();
    reader
        .types("for kind in datasources dashboards alerting; do\n    install -m 644 dashboards/provisioning/$kind/*.yaml /etc/grafana/provisioning/$kind/\ndone")
        .well();
    let there = reader.site.machine.must(&["find", "/var/lib/grafana", "/etc/grafana", "-type", "f"]);
    for file in [
        "backup-prometheus.json",
        "backup-influxdb.json",
        "alerting/backup-influxdb.yaml",
        "datasources/backup.yaml",
    ] {
        assert!(there.contains(file), "{there}");
    }
    reader.site.step("docs/dashboards.md: boards and provisioning are where Grafana looks for them");
}
