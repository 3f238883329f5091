//! The manual page of `influxdb-config.yaml`. Its keys are read where they are checked, one by one, so the
//! table stands here; a test compares it with that code.

use roff::{Roff, bold, italic, roman};

/// A key: its name, what may stand behind it, its default, and a sentence.
type Key = (&'static str, &'static str, &'static str, &'static str);

const SERVER: [Key; 6] = [
    ("host", "text", "", "Name, address or URL of the server. Required."),
    ("port", "whole number", "8086", "Its port."),
    ("ssl", "true or false", "false", "Whether TLS is spoken."),
    ("ca_file", "path", "", "Certificates (PEM) that are trusted besides the system's."),
    ("timeout", "duration", "10 s", "Longest time of one request, connecting included."),
    ("version", "auto, 1, 2 or 3", "auto", "Major version of the server; auto asks it."),
];

const BUCKET: [Key; 4] = [
    ("token", "text", "", "What opens the server. Better in a file of its own: token_file."),
    (
        "token_file",
        "path",
        "",
        "File with the token, read again for each connection. A name alone is that of a systemd credential; \
         influxdb-token is used without being named.",
    ),
    ("organization", "text", "", "The organization of 2.x; 3.x has none."),
    ("bucket", "text", "", "The bucket of 2.x, the database of 3.x."),
];

const DATABASE: [Key; 5] = [
    ("database", "text", "", "The database."),
    ("username", "text", "", "The user, if the server wants one."),
    ("password", "text", "", "The password. Better in a file of its own: password_file."),
    (
        "password_file",
        "path",
        "",
        "File with the password. A name alone is that of a systemd credential; influxdb-password is used \
         without being named.",
    ),
    ("retention_policy", "text", "", "The retention policy, if not the default one of the database."),
];

/// The page as roff.
pub fn page() -> String {
    let mut page = Roff::new();
    let version = concat!("backup-system ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["influxdb-config.yaml", "5", "", version, "Backup system"]);
    page.control("SH", ["NAME"]);
    page.text([roman("influxdb-config.yaml - where backup-exporter sends points")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("With "),
        bold("/etc/backup/influxdb-config.yaml"),
        roman(
            " backup-exporter sends each run, host, path and snapshot to InfluxDB when it ends; without the file it \
             sends nothing. The file has one block, ",
        ),
        bold("influxdb"),
        roman(", in one of two forms: a token and a bucket for 2.x and 3.x, or a database for 1.x. "),
        bold("backup-metrics --test-influxdb"),
        roman(" checks it step by step. A file that holds a secret should be readable by its service alone."),
    ]);
    for (name, keys) in
        [("THE SERVER", &SERVER[..]), ("INFLUXDB 2.X AND 3.X", &BUCKET[..]), ("INFLUXDB 1.X", &DATABASE[..])]
    {
        page.control("SH", [name]);
        for (name, kind, default, about) in keys {
            page.control("TP", []);
            let default = if default.is_empty() { String::new() } else { format!(" (default {default})") };
            page.text([bold(*name), roman(format!(": {kind}{default}"))]);
            page.text([roman(*about)]);
        }
    }
    page.control("SH", ["FILES"]);
    page.text([
        italic("/usr/share/doc/backup-system/examples/influxdb-config.yaml.example"),
        roman(" shows both forms."),
    ]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("backup-metrics"), roman("(1), "), bold("backup-exporter"), roman("(8)")]);
    page.to_roff()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use backup_exporter::push::config::InfluxConfig;

    use super::*;

    fn keys() -> impl Iterator<Item = &'static Key> {
        SERVER.iter().chain(&BUCKET).chain(&DATABASE)
    }

    /// The checker takes each key of the page: what it says to a file that has all of them is about their
    /// values, never that one is unknown.
    #[test]
    fn every_key_of_the_page_is_known() {
        let lines: Vec<String> = keys().map(|(name, ..)| format!("  {name}: x\n")).collect();
        let problems = InfluxConfig::parse(&format!("influxdb:\n{}", lines.concat()), None).err().unwrap();
        let said: Vec<String> = problems.errors.iter().map(ToString::to_string).collect();
        assert!(!said.iter().any(|problem| problem.contains("unknown")), "{said:?}");
        let wrong = InfluxConfig::parse("influxdb: {host: a, database: b, tokn: c}", None).err().unwrap();
        assert!(wrong.errors.iter().any(|problem| problem.to_string().contains("unknown")), "{wrong:?}");
    }

    /// Each key that the checker asks its table for is in the page.
    #[test]
    fn every_key_that_is_read_is_in_the_page() {
        let source = include_str!("../../exporter/src/push/config.rs");
        let quoted = |text: &str| text.split('"').nth(1).map(str::to_owned);
        let mut read = BTreeSet::new();
        for call in ["table.text(", "table.number(", "table.boolean(", "table.duration("] {
            read.extend(source.split(call).skip(1).filter(|rest| rest.starts_with('"')).filter_map(quoted));
        }
        for pair in source.split("secret(&mut table, (").skip(1) {
            read.extend(pair.split('"').skip(1).step_by(2).take(2).map(str::to_owned));
        }
        let told: BTreeSet<String> = keys().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(read, told);
        let page = page();
        for (name, .., about) in keys() {
            assert!(page.contains(&name.replace('-', "\\-")) && !about.is_empty(), "{name}");
        }
    }
}
