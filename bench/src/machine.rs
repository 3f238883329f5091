//! What the figures were measured on.

use std::fs;
use std::process::Command;

use jiff::Zoned;

/// Name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Machine, system and versions.
pub fn facts() -> Vec<(String, String)> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or("?").trim_matches([' ', '\t', ':', '=', '"']).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = after(&read("/proc/meminfo"), "MemTotal");
    let memory: f64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(f64::NAN);
    let uname = rustix::system::uname();
    let mut facts = vec![
        ("date".to_owned(), Zoned::now().date().to_string()),
        ("processor".to_owned(), after(&read("/proc/cpuinfo"), "model name")),
        ("cores".to_owned(), cores.to_string()),
        ("memory".to_owned(), format!("{:.1} GiB", memory / f64::from(1 << 20))),
        (
            "kernel".to_owned(),
            format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
        ),
        ("system".to_owned(), after(&read("/etc/os-release"), "PRETTY_NAME")),
        ("file system of the data".to_owned(), first_line("stat", &["-f", "-c", "%T", "/var/tmp"])),
    ];
    for (name, arguments) in [
        ("rsync", &["--version"][..]),
        ("ssh", &["-V"]),
        ("rsnapshot", &["version"]),
        ("jq", &["--version"]),
        ("journalctl", &["--version"]),
        ("python3", &["--version"]),
        ("prometheus-node-exporter", &["--version"]),
        ("go", &["version"]),
        ("nginx", &["-v"]),
        ("wrk", &["-v"]),
        ("influxd", &["version"]),
        ("btrfs", &["--version"]),
        ("dua", &["--version"]),
        ("pdu", &["--version"]),
    ] {
        facts.push((name.to_owned(), first_line(name, arguments)));
    }
    facts
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return "not installed".to_owned();
    };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
