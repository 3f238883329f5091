//! The built exporter's web server, asked by clients that mean no good.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use backup_common::reason::Reason;
use backup_testkit::process::Running;
use backup_testkit::{http, wait};
use support::{Exporter, Home, path_finished};

/// A directory with a record.
fn home() -> Home {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    home
}

/// 500 that send nothing and 500 that send a byte now and then; the figure of a scrape beside them is
/// measured by the benchmark.
#[test]
fn a_scrape_among_a_thousand_hostile_sockets() {
    let home = home();
    let exporter = home.listening(&mut home.command());
    let connect = |count: usize| -> Vec<TcpStream> {
        (0..count).filter_map(|_| TcpStream::connect(&exporter.address).ok()).collect()
    };
    let _idle = connect(500);
    let mut dripping = connect(500);
    for round in 0..20 {
        for stream in &mut dripping {
            let _ = stream
                .write_all(&b"GET /metrics HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"[round..=round]);
        }
        let answer = http::get(&exporter.address, "/metrics").expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(open_sockets(&exporter.process) <= 70, "{}", open_sockets(&exporter.process));
    }
}

fn open_sockets(process: &Running) -> usize {
    let links = fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap();
    let socket =
        |path: &Path| fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
    links.filter_map(Result::ok).filter(|link| socket(&link.path())).count()
}

#[test]
fn requests_that_no_client_should_send() {
    let home = home();
    let exporter = home.listening(&mut home.command());
    let send = |request: &str| {
        let mut stream = TcpStream::connect(&exporter.address).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or(0)
    };
    for (name, request, statuses) in [
        ("both lengths", "GET /-/healthy HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n".to_owned(), &[200, 400, 0][..]),
        ("two lengths", "GET /-/healthy HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhallo".to_owned(), &[400, 0]),
        ("a long target", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 20)), &[414, 431, 400, 0]),
        ("a method of its own", "BREW /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), &[405]),
        ("the absolute form", "GET http://other/-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), &[200]),
        ("the first version", "GET /-/healthy HTTP/1.0\r\n\r\n".to_owned(), &[200]),
        ("no HTTP", "\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), &[400, 0]),
    ] {
        let status = send(&request);
        assert!(statuses.contains(&status), "{name}: {status}");
    }
    let pipelined = "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3)
        + "GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(&exporter.address).unwrap();
    stream.write_all(pipelined.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 4, "{answers}");
}

#[test]
fn a_client_that_never_reads_loses_its_place() {
    let home = home();
    // Enough that the kernel's buffers do not hold it all.
    let paths: Vec<String> = (0..3000).map(|path| format!("      - path: /data/{path}")).collect();
    let paths = paths.join("\n");
    home.configure(&format!("hosts:\n  server1:\n    ssh_user: backup\n    paths:\n{paths}"));
    let exporter = home.listening(&mut home.command());
    wait::until("the exporter to be ready", || {
        exporter.get("/-/ready").filter(|answer| answer.status == 200)
    });
    let mut stream = TcpStream::connect(&exporter.address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait::until("the exporter to give up", || (open_sockets_to(&exporter, &stream) == 0).then_some(()));
}

/// Connections of the exporter to the other end of a stream, in /proc/net/tcp's words.
fn open_sockets_to(exporter: &Exporter, stream: &TcpStream) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: std::net::SocketAddr| format!("{:04X}", address.port());
    let (own, peer) = (port(stream.peer_addr().unwrap()), port(stream.local_addr().unwrap()));
    let inodes: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| {
            fields.len() > 9
                && fields[1].ends_with(&format!(":{own}"))
                && fields[2].ends_with(&format!(":{peer}"))
        })
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let links = fs::read_dir(format!("/proc/{}/fd", exporter.process.id())).unwrap();
    links
        .filter_map(Result::ok)
        .filter_map(|link| fs::read_link(link.path()).ok())
        .filter(|target| inodes.iter().any(|inode| target.to_string_lossy() == **inode))
        .count()
}
