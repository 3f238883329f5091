//! The built exporter follows its log through everything that happens to a log.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use backup_common::reason::Reason;
use support::{Home, RECORDS, at, attempts, path_finished, skipped};

const UP: &str = "backup_exporter_input_up{input=\"stats\"}";

#[test]
fn a_log_that_comes_later_is_read_from_its_beginning() {
    let home = Home::new();
    let exporter = home.start();
    assert_eq!(exporter.value(UP), Some(0.0));
    assert_eq!(
        exporter.value("backup_path_state{host=\"server1\",path=\"/etc\",state=\"never\"}"),
        Some(1.0)
    );
    home.append(path_finished("server1", "/etc", Reason::Ok));
    exporter.until(RECORDS, 1.0);
    assert_eq!(exporter.value(UP), Some(1.0));
    assert_eq!(
        exporter.value("backup_path_state{host=\"server1\",path=\"/etc\",state=\"success\"}"),
        Some(1.0)
    );
}

/// The record is not there before its newline is, wherever the write was cut.
#[test]
fn a_torn_record_waits_at_every_byte() {
    let home = Home::new();
    let line = path_finished("server1", "/etc", Reason::Ok);
    home.append(&line);
    let exporter = home.start();
    exporter.until(RECORDS, 1.0);
    let (record, newline) = line.as_bytes().split_at(line.len() - 1);
    for byte in record {
        home.append([*byte]);
        assert_eq!(exporter.value(RECORDS), Some(1.0));
    }
    home.append(newline);
    exporter.until(RECORDS, 2.0);
    assert_eq!(exporter.value(&attempts("server1", "/etc")), Some(2.0));
    for reason in ["malformed", "torn", "truncated", "field"] {
        assert_eq!(exporter.value(&skipped(reason)), Some(0.0), "{reason}");
    }
}

/// A log that ends torn at each byte of its last record when the exporter starts.
#[test]
fn a_log_cut_at_every_byte_is_read_without_its_tail() {
    let line = path_finished("server1", "/etc", Reason::Ok);
    let home = Home::new();
    let exporter = home.start();
    let mut records = 0.0;
    for cut in (0..line.len()).step_by(16) {
        // A new file each time, by rename, so that the old one's tail is torn for good.
        fs::write(home.path().join("next"), format!("{line}{}", &line[..cut])).unwrap();
        fs::rename(home.path().join("next"), home.log()).unwrap();
        records += 1.0;
        exporter.until(RECORDS, records);
    }
    assert_eq!(exporter.value(&attempts("server1", "/etc")), Some(records));
    assert_eq!(exporter.value(&skipped("malformed")), Some(0.0));
}

#[test]
fn garbage_is_counted_and_passed_over() {
    let home = Home::new();
    let line = path_finished("server1", "/etc", Reason::Ok);
    let mut log = Vec::new();
    for garbage in ["", "\0\0\0\0", "{\"v\":1", "RSYNC_STATS: host=a path=/b", &"[".repeat(10_000)] {
        log.extend_from_slice(garbage.as_bytes());
        log.push(b'\n');
    }
    log.extend_from_slice(b"\xff\xfe\n");
    log.extend_from_slice(&vec![b'x'; 3 * 1024 * 1024]);
    log.extend_from_slice(b"\n");
    log.extend_from_slice(line.replace("\"v\":1", "\"v\":9").as_bytes());
    log.extend_from_slice(line.replace("path_finished", "path_painted").as_bytes());
    log.extend_from_slice(line.replace("1.5", "-1.5").as_bytes());
    log.extend_from_slice(line.as_bytes());
    home.append(log);
    let exporter = home.start();
    exporter.until(RECORDS, 1.0);
    for (reason, count) in
        [("malformed", 6.0), ("too_long", 1.0), ("version", 1.0), ("type", 1.0), ("field", 1.0)]
    {
        assert_eq!(exporter.value(&skipped(reason)), Some(count), "{reason}");
    }
}

/// As fast as it can, so that several rotations fall between two looks of the exporter.
#[test]
fn every_record_counts_once_through_rotations() {
    const ROTATIONS: usize = 100;
    const RECORDS_EACH: usize = 100;
    let home = Home::new();
    home.append("");
    let exporter = home.start();
    let line = path_finished("server1", "/etc", Reason::Ok);
    for _ in 0..ROTATIONS {
        for _ in 0..RECORDS_EACH {
            home.append(&line);
        }
        rotate(&home);
    }
    let all = (ROTATIONS * RECORDS_EACH) as f64;
    home.append(path_finished("server2", "/var/www", Reason::Ok));
    exporter.until(&attempts("server2", "/var/www"), 1.0);
    assert_eq!(exporter.value(&attempts("server1", "/etc")), Some(all));
    assert_eq!(exporter.value(RECORDS), Some(all + 1.0));
}

/// `log.N` becomes `log.N+1`, the oldest first, as logrotate(8) does.
fn rotate(home: &Home) {
    let old = |age: usize| home.path().join(format!("backup-stats.log.{age}"));
    for age in (1..100).rev().filter(|age| old(*age).exists()) {
        fs::rename(old(age), old(age + 1)).unwrap();
    }
    fs::rename(home.log(), old(1)).unwrap();
}

/// A machine that stands still, or a rotation that is forced: when the exporter looks again, the file that it held open
/// is compressed, and so is one that came after it.
#[test]
fn what_was_written_between_rotations_is_read_though_the_held_file_was_compressed() {
    let home = Home::new();
    home.append(at(0, &path_finished("server1", "/etc", Reason::Ok)));
    let exporter = home.start();
    assert_eq!(exporter.value(RECORDS), Some(1.0));
    exporter.process.signal("STOP");
    for minute in 1..=3 {
        let old = home.path().join("backup-stats.log.1");
        if old.exists() {
            // As `delaycompress` says: before the names move on.
            assert!(Command::new("gzip").arg(&old).status().unwrap().success());
            for age in (1..minute).rev() {
                let part = |age| home.path().join(format!("backup-stats.log.{age}.gz"));
                fs::rename(part(age), part(age + 1)).unwrap();
            }
        }
        rotate(&home);
        home.append(at(minute, &path_finished("server1", "/etc", Reason::Ok)));
    }
    exporter.process.signal("CONT");
    exporter.until(RECORDS, 4.0);
    home.append(at(4, &path_finished("server1", "/etc", Reason::Ok)));
    exporter.until(RECORDS, 5.0);
    assert_eq!(exporter.value(&attempts("server1", "/etc")), Some(5.0));
    for reason in ["torn", "truncated", "damaged"] {
        assert_eq!(exporter.value(&skipped(reason)), Some(0.0), "{reason}");
    }
}

#[test]
fn a_writer_that_kept_the_rotated_file_open_is_heard() {
    use std::io::Write;
    let home = Home::new();
    let line = path_finished("server1", "/etc", Reason::Ok);
    home.append(&line);
    let exporter = home.start();
    let mut writer = fs::OpenOptions::new().append(true).open(home.log()).unwrap();
    fs::rename(home.log(), home.path().join("backup-stats.log-20260102")).unwrap();
    home.append(&line);
    exporter.until(RECORDS, 2.0);
    writer.write_all(line.as_bytes()).unwrap();
    exporter.until(RECORDS, 3.0);
}

#[test]
fn a_log_cut_in_place_is_read_from_its_beginning() {
    let home = Home::new();
    let line = path_finished("server1", "/etc", Reason::Ok);
    home.append(line.repeat(3));
    let exporter = home.start();
    exporter.until(RECORDS, 3.0);
    // Shorter than before.
    fs::write(home.log(), path_finished("server1", "/home", Reason::Ok)).unwrap();
    exporter.until(&attempts("server1", "/home"), 1.0);
    // Longer than before, with another beginning.
    fs::write(home.log(), path_finished("server2", "/var/www", Reason::Ok).repeat(5)).unwrap();
    exporter.until(&attempts("server2", "/var/www"), 5.0);
    assert_eq!(exporter.value(&skipped("truncated")), Some(2.0));
    assert_eq!(exporter.value(RECORDS), Some(9.0));
}

#[test]
fn an_unlinked_log_that_is_made_anew_is_read() {
    let home = Home::new();
    let line = path_finished("server1", "/etc", Reason::Ok);
    home.append(line.repeat(3));
    let exporter = home.start();
    exporter.until(RECORDS, 3.0);
    fs::remove_file(home.log()).unwrap();
    home.append(&line);
    exporter.until(RECORDS, 4.0);
    // No descriptor of the old one is left.
    let descriptors = format!("/proc/{}/fd", exporter.process.id());
    backup_testkit::wait::until("the unlinked file to be closed", || {
        let targets =
            fs::read_dir(&descriptors).unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        let deleted = targets.filter(|target| target.to_string_lossy().ends_with("(deleted)")).count();
        (deleted == 0).then_some(())
    });
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    let real = home.path().join("real.log");
    fs::rename(home.log(), &real).unwrap();
    let make: [(&str, &dyn Fn()); 3] = [
        ("a pipe", &|| assert!(Command::new("mkfifo").arg(home.log()).status().unwrap().success())),
        ("a directory", &|| fs::create_dir(home.log()).unwrap()),
        ("a symbolic link", &|| symlink(&real, home.log()).unwrap()),
    ];
    for (what, make) in make {
        make();
        let exporter = home.start();
        assert_eq!(exporter.value(UP), Some(0.0), "{what}");
        assert_eq!(exporter.value(RECORDS), Some(0.0), "{what}");
        assert!(exporter.messages().contains("waiting for the stats log"), "{what}");
        let gone = fs::remove_file(home.log()).or_else(|_| fs::remove_dir(home.log()));
        gone.unwrap();
        // It was only refused, not given up.
        fs::copy(&real, home.log()).unwrap();
        exporter.until(RECORDS, 1.0);
        fs::remove_file(home.log()).unwrap();
    }
}

/// A hard link beside the log is the same file, not a later one.
#[test]
fn a_second_name_of_a_rotated_file_is_not_read_again() {
    let home = Home::new();
    let line = path_finished("server1", "/etc", Reason::Ok);
    home.append(&line);
    let exporter = home.start();
    exporter.until(RECORDS, 1.0);
    fs::hard_link(home.log(), home.path().join("backup-stats.log.2")).unwrap();
    fs::rename(home.log(), home.path().join("backup-stats.log.1")).unwrap();
    home.append(path_finished("server1", "/home", Reason::Ok));
    exporter.until(&attempts("server1", "/home"), 1.0);
    assert_eq!(exporter.value(RECORDS), Some(2.0));
}

/// What logrotate left of the days before, compressed or not, by number or by date, is read first.
#[test]
fn older_parts_are_read_at_the_start() {
    for names in [
        ["backup-stats.log.3.gz", "backup-stats.log.2.gz", "backup-stats.log.1"],
        ["backup-stats.log-20260101.gz", "backup-stats.log-20260102.gz", "backup-stats.log-20260103"],
    ] {
        let home = Home::new();
        for (age, name) in names.iter().enumerate() {
            let file = home.path().join(name.trim_end_matches(".gz"));
            let reason = if age == 2 { Reason::Ok } else { Reason::Timeout };
            fs::write(&file, at(age as u64, &path_finished("server1", "/etc", reason)).repeat(10)).unwrap();
            if name.contains(".gz") {
                assert!(Command::new("gzip").arg("-n").arg(&file).status().unwrap().success());
            }
        }
        home.append(path_finished("server2", "/var/www", Reason::Ok));
        let exporter = home.start();
        assert_eq!(exporter.value(RECORDS), Some(31.0));
        // In their order: the failures are older than the success.
        assert_eq!(
            exporter.value("backup_path_state{host=\"server1\",path=\"/etc\",state=\"success\"}"),
            Some(1.0)
        );
        assert_eq!(exporter.value("backup_path_failures_total{host=\"server1\",path=\"/etc\"}"), Some(20.0));
        home.append(path_finished("server2", "/var/www", Reason::Ok));
        exporter.until(RECORDS, 32.0);
    }
}

/// Compression was switched on later: parts from before it are plain, and younger ones are not.
#[test]
fn plain_parts_before_compressed_ones_are_read_first() {
    let home = Home::new();
    let write = |name: &str, moment, reason| {
        let file = home.path().join(name.trim_end_matches(".gz"));
        fs::write(&file, at(moment, &path_finished("server1", "/etc", reason))).unwrap();
        if name.contains(".gz") {
            assert!(Command::new("gzip").arg("-n").arg(&file).status().unwrap().success());
        }
    };
    write("backup-stats.log.2.gz", 2, Reason::Ok);
    write("backup-stats.log.2", 1, Reason::Timeout);
    write("backup-stats.log.3", 0, Reason::Timeout);
    home.append("");
    let exporter = home.start();
    assert_eq!(exporter.value(RECORDS), Some(3.0));
    assert_eq!(
        exporter.value("backup_path_state{host=\"server1\",path=\"/etc\",state=\"success\"}"),
        Some(1.0)
    );
}

/// What can not be known by its first line is counted once and not at each look.
#[test]
fn parts_without_records_are_counted_once_while_the_log_is_missing() {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    let exporter = home.start();
    exporter.until(RECORDS, 1.0);
    let packed = Command::new("gzip").arg("-c").arg(home.log()).output().unwrap();
    fs::write(home.path().join("backup-stats.log.2.gz"), packed.stdout).unwrap();
    fs::write(home.path().join("backup-stats.log.1.gz"), b"").unwrap();
    fs::remove_file(home.log()).unwrap();
    exporter.until(&skipped("damaged"), 1.0);
    home.append(path_finished("server2", "/var/www", Reason::Ok));
    exporter.until(&attempts("server2", "/var/www"), 1.0);
    home.append(path_finished("server2", "/var/www", Reason::Ok));
    exporter.until(&attempts("server2", "/var/www"), 2.0);
    assert_eq!(exporter.value(RECORDS), Some(3.0));
    assert!(exporter.value(&skipped("damaged")).unwrap() <= 2.0, "once for each listing of the names");
}

/// A copy that is under way when the exporter starts is not read beside its original.
#[test]
fn a_part_that_is_there_twice_is_read_once() {
    let home = Home::new();
    fs::write(home.path().join("backup-stats.log.1"), path_finished("server1", "/etc", Reason::Ok).repeat(5))
        .unwrap();
    // Compression in progress: the plain file is still there, and under its next name as well.
    for name in ["backup-stats.log.1.gz", "backup-stats.log.2.gz"] {
        let packed =
            Command::new("gzip").arg("-c").arg(home.path().join("backup-stats.log.1")).output().unwrap();
        fs::write(home.path().join(name), packed.stdout).unwrap();
    }
    home.append(path_finished("server2", "/var/www", Reason::Ok));
    let exporter = home.start();
    assert_eq!(exporter.value(RECORDS), Some(6.0));
}

#[test]
fn damaged_older_parts_cost_only_themselves() {
    let home = Home::new();
    let file = home.path().join("backup-stats.log.2");
    fs::write(&file, path_finished("server1", "/etc", Reason::Ok).repeat(1000)).unwrap();
    assert!(Command::new("gzip").arg(&file).status().unwrap().success());
    let packed = fs::read(home.path().join("backup-stats.log.2.gz")).unwrap();
    fs::write(home.path().join("backup-stats.log.2.gz"), &packed[..packed.len() / 2]).unwrap();
    fs::write(home.path().join("backup-stats.log.3.gz"), b"no gzip at all").unwrap();
    fs::write(home.path().join("backup-stats.log.4.gz"), b"").unwrap();
    fs::create_dir(home.path().join("backup-stats.log.5")).unwrap();
    assert!(Command::new("mkfifo").arg(home.path().join("backup-stats.log.6")).status().unwrap().success());
    home.append(path_finished("server2", "/var/www", Reason::Ok));
    let exporter = home.start();
    assert_eq!(exporter.value(&attempts("server2", "/var/www")), Some(1.0));
    assert!(exporter.value(RECORDS).unwrap() > 1.0, "what can be unpacked counts");
    assert_eq!(exporter.value(&skipped("damaged")), Some(3.0));
}

#[test]
fn lines_of_the_older_system_are_the_same_events() {
    let home = Home::new();
    home.append(include_str!("older_lines/log.txt"));
    let exporter = home.start();
    // The last one of each path; one of them with messages that name the cause.
    let reason = |path: &str, reason: &str| {
        format!("backup_path_reason{{host=\"server1\",path=\"{path}\",reason=\"{reason}\"}}")
    };
    exporter.until(&reason("/etc", "ok"), 1.0);
    assert_eq!(exporter.value(&reason("/home", "connection_refused")), Some(1.0));
    assert_eq!(exporter.value("backup_path_sent_bytes{host=\"server1\",path=\"/etc\"}"), Some(1234.0));
    assert_eq!(exporter.value("backup_path_files{host=\"server1\",path=\"/etc\"}"), None);
    assert_eq!(exporter.value("backup_path_duration_seconds{host=\"server1\",path=\"/etc\"}"), None);
    assert_eq!(exporter.value(RECORDS), Some(3.0));
    assert_eq!(exporter.value(&skipped("malformed")), Some(1.0));
}
