//! The web configuration of the built exporter: TLS, client certificates, users, headers and limits, asked
//! by curl and by a real Prometheus.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use backup_common::reason::Reason;
use backup_testkit::process::{self, Running};
use backup_testkit::prometheus::Prometheus;
use backup_testkit::{http, wait};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use support::{Exporter, Home, path_finished};

/// alice with the password `wonderland`; cost 4, so that a test machine is not kept busy.
fn users() -> String {
    format!("basic_auth_users: {{alice: {}}}\n", bcrypt::hash("wonderland", 4).unwrap())
}

/// A directory with a web configuration and the certificates that it names.
struct Web {
    home: Home,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Web {
    fn new(config: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose issuer has its own name for a self-signed one.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let web = Self { home: Home::new(), authority };
        fs::write(web.file("ca.pem"), web.authority.pem()).unwrap();
        web.sign("server", &[SanType::IpAddress([127, 0, 0, 1].into())]);
        web.home.append(path_finished("server1", "/etc", Reason::Ok));
        web.configure(config);
        web
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn configure(&self, config: &str) {
        // Renamed into place, as an editor does; half of a file is an error like any other.
        fs::write(self.file("web.new"), config).unwrap();
        fs::rename(self.file("web.new"), self.file("web.yml")).unwrap();
    }

    /// Makes NAME.crt and NAME.key.
    fn sign(&self, name: &str, names: &[SanType]) {
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names = names.to_vec();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        fs::write(self.file(&format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = self.home.command();
        command.arg("--web.config.file").arg(self.file("web.yml"));
        command
    }

    fn start(&self) -> Exporter {
        self.home.listening(&mut self.command())
    }

    /// curl's exit code, the status of the answer, and all of its head and body.
    fn curl(&self, exporter: &Exporter, scheme: &str, arguments: &[&str]) -> (i32, u16, String) {
        let output = process::run(
            Command::new("curl")
                .args(["--silent", "--include", "--max-time", "30", "--cacert"])
                .arg(self.file("ca.pem"))
                .args(arguments)
                .arg(format!("{scheme}://{}/metrics", exporter.address))
                .current_dir(self.home.path()),
        );
        let status = output.stdout.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (output.code, status, output.stdout)
    }

    fn until_status(&self, exporter: &Exporter, scheme: &str, arguments: &[&str], status: u16) -> String {
        wait::until(&format!("status {status} for {arguments:?}"), || {
            let (_, found, text) = self.curl(exporter, scheme, arguments);
            (found == status).then_some(text)
        })
    }
}

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";

#[test]
fn tls_as_asked_for() {
    let web = Web::new(TLS);
    let exporter = web.start();
    let text = web.until_status(&exporter, "https", &[], 200);
    assert!(text.contains("backup_path_state"));
    // 35 and 56 are curl's words for a handshake that failed.
    assert!(matches!(web.curl(&exporter, "https", &["--tls-max", "1.1"]).0, 35 | 56));
    assert_eq!(web.curl(&exporter, "https", &["--tls-max", "1.2"]).1, 200);
    assert_ne!(web.curl(&exporter, "http", &[]).0, 0, "no plain HTTP beside it");

    web.configure("tls_server_config: {cert_file: server.crt, key_file: server.key, min_version: TLS13}\n");
    assert!(matches!(web.curl(&exporter, "https", &["--tls-max", "1.2"]).0, 35 | 56));

    let suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    web.configure(&format!(
        "tls_server_config: {{cert_file: server.crt, key_file: server.key, cipher_suites: [{suite}], curve_preferences: [CurveP384]}}\n"
    ));
    // P-256 is the curve of the certificate, which TLS 1.2 wants among them as well.
    let with = |cipher: &str, curve: &str| {
        web.curl(&exporter, "https", &["--tls-max", "1.2", "--ciphers", cipher, "--curves", curve]).0
    };
    assert_eq!(with("ECDHE-ECDSA-CHACHA20-POLY1305", "P-384:P-256"), 0);
    assert!(matches!(with("ECDHE-ECDSA-AES128-GCM-SHA256", "P-384:P-256"), 35 | 56));
    assert!(matches!(with("ECDHE-ECDSA-CHACHA20-POLY1305", "X25519:P-256"), 35 | 56));
}

#[test]
fn what_can_not_be_honoured_is_refused_by_name_at_the_start() {
    let web = Web::new("");
    for (config, words) in [
        (
            "tls_server_config: {cert_file: server.crt, key_file: server.key, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}",
            "TLS_RSA_WITH_RC4_128_SHA is not spoken here; known: ",
        ),
        (
            "tls_server_config: {cert_file: server.crt, key_file: server.key, curve_preferences: [CurveP521]}",
            "CurveP521 is not spoken here; known: X25519, CurveP256, CurveP384",
        ),
        ("tls_server_config: {cert_file: none.crt, key_file: server.key}", "none.crt"),
        ("tls_server_config: {cert_file: server.key, key_file: server.key}", "there is no certificate in it"),
        ("tls_server_config: {cert_file: server.crt, key_file: ca.pem}", "ca.pem"),
        ("tls_server_config: {cert_file: server.crt}", "line 1: tls_server_config: set key_file"),
        ("basic_auth_users: {alice: wonderland}", "line 1: basic_auth_users.alice: is no bcrypt hash"),
        ("nonsense: 1", "line 1: nonsense: unknown key"),
    ] {
        web.configure(config);
        for check in [false, true] {
            let mut command = web.command();
            if check {
                command.arg("--config.check");
            }
            let output = process::run(&mut command);
            assert_eq!(output.code, 2, "{config}: {output:?}");
            assert!(
                output.stderr.contains(words) && !output.stderr.contains("wonderland"),
                "{config}: {output:?}"
            );
        }
    }
}

#[test]
fn client_certificates_with_names() {
    let web = Web::new(&format!(
        "{}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans: [prom.example]}}\n",
        TLS.trim_end().trim_end_matches('}')
    ));
    web.sign("good", &[SanType::DnsName("prom.example".try_into().unwrap())]);
    web.sign("other", &[SanType::DnsName("else.example".try_into().unwrap())]);
    let stranger = Web::new("");
    stranger.sign("stranger", &[SanType::DnsName("prom.example".try_into().unwrap())]);
    for kind in ["crt", "key"] {
        fs::copy(stranger.file(&format!("stranger.{kind}")), web.file(&format!("stranger.{kind}"))).unwrap();
    }
    let exporter = web.start();
    let with = |name: &str| {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        web.curl(&exporter, "https", &["--cert", &certificate, "--key", &key]).1
    };
    web.until_status(&exporter, "https", &["--cert", "good.crt", "--key", "good.key"], 200);
    assert_eq!((with("other"), with("stranger")), (0, 0));
    assert_eq!(web.curl(&exporter, "https", &[]).1, 0, "no certificate, no answer");

    // Whoever signed it: the name is what counts.
    web.configure(&format!(
        "{}, client_auth_type: RequireAnyClientCert, client_allowed_sans: [prom.example]}}\n",
        TLS.trim_end().trim_end_matches('}')
    ));
    assert_eq!((with("good"), with("stranger"), with("other")), (200, 200, 0));
}

#[test]
fn users_headers_and_the_rate() {
    let web = Web::new(&format!(
        "{}http_server_config: {{headers: {{X-Frame-Options: deny, Strict-Transport-Security: max-age=60}}}}\n",
        users()
    ));
    let exporter = web.start();
    let text = web.until_status(&exporter, "http", &["--user", "alice:wonderland"], 200);
    for header in ["x-frame-options: deny", "strict-transport-security: max-age=60"] {
        assert!(text.contains(header), "{header}: {text}");
    }
    for wrong in [&["--user", "alice:wonder"][..], &["--user", "bob:wonderland"], &[]] {
        let (_, status, text) = web.curl(&exporter, "http", wrong);
        assert_eq!(status, 401);
        assert!(text.contains("www-authenticate: Basic") && text.contains("x-frame-options: deny"));
        assert!(!text.contains("backup_"), "nothing is told to {wrong:?}");
    }
    assert_eq!(exporter.get("/-/healthy").unwrap().status, 401, "no page is left out");

    web.configure("rate_limit: {interval: 1h, burst: 3}\n");
    let statuses: Vec<u16> = (0..5).map(|_| web.curl(&exporter, "http", &[]).1).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[test]
fn a_file_that_is_broken_later_serves_nothing_until_it_is_mended() {
    let web = Web::new(&(TLS.to_owned() + &users()));
    let exporter = web.start();
    let user = ["--user", "alice:wonderland"];
    web.until_status(&exporter, "https", &user, 200);

    for broken in ["basic_auth_users: [", "tls_server_config: {cert_file: none.crt, key_file: server.key}\n"]
    {
        web.configure(broken);
        let (_, status, text) = web.curl(&exporter, "https", &user);
        assert_eq!(status, 500, "over the TLS that was good last");
        assert!(!text.contains("backup_"));
        assert_eq!(web.curl(&exporter, "http", &user).1, 0);
    }
    fs::remove_file(web.file("web.yml")).unwrap();
    assert_eq!(web.curl(&exporter, "https", &user).1, 500);
    web.configure(&(TLS.to_owned() + &users()));
    assert_eq!(web.curl(&exporter, "https", &user).1, 200);
    assert!(exporter.messages().contains("nothing is served until the web configuration is mended"));

    // A new certificate is used without a restart.
    let before = fs::read_to_string(web.file("server.crt")).unwrap();
    web.sign("server", &[SanType::IpAddress([127, 0, 0, 1].into())]);
    assert_ne!(before, fs::read_to_string(web.file("server.crt")).unwrap());
    wait::until("the new certificate to be shown", || {
        let shown = process::run(Command::new("openssl").args([
            "s_client",
            "-connect",
            &exporter.address,
            "-showcerts",
        ]));
        let own =
            |text: &str| text.split("-----BEGIN CERTIFICATE-----").nth(1).map(|text| text[..80].to_owned());
        (own(&shown.stdout) == own(&fs::read_to_string(web.file("server.crt")).unwrap())).then_some(())
    });
}

/// A connection from before there was TLS is not served in the clear any more.
#[test]
fn a_connection_from_before_is_told_to_connect_again() {
    let web = Web::new("");
    let exporter = web.start();
    let mut stream = TcpStream::connect(&exporter.address).unwrap();
    let mut ask = |wanted: &str| {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {wanted} ")), "{answer}");
    };
    ask("200");
    web.configure(TLS);
    ask("421");
}

#[test]
fn a_real_prometheus_with_tls_and_a_user() {
    let web = Web::new(&(TLS.to_owned() + &users()));
    let exporter = web.start();
    let job = |name: &str, password: &str| {
        format!(
            "- {{job_name: {name}, scheme: https, tls_config: {{ca_file: {}}}, basic_auth: {{username: alice, password: {password}}}, static_configs: [{{targets: ['{}']}}]}}\n",
            web.file("ca.pem").display(),
            exporter.address
        )
    };
    let prometheus =
        Prometheus::configured(&(job("right", "wonderland") + &job("wrong", "wonder")), web.home.path());
    prometheus.until("up{job=\"right\"} == 1", |series| series.len() == 1);
    prometheus.until("up{job=\"wrong\"} == 0", |series| series.len() == 1);
    let series = prometheus.query("backup_path_state{host=\"server1\",path=\"/etc\",state=\"success\"}");
    assert!(series.len() == 1 && (series[0].1 - 1.0).abs() < f64::EPSILON, "{series:?}");
}

/// Systemd binds the socket and hands it over as descriptor 3.
#[test]
fn a_socket_from_systemd() {
    let web = Web::new("");
    let port = process::free_port();
    let address = format!("127.0.0.1:{port}");
    let exporter = web.command();
    let mut activated = Command::new("systemd-socket-activate");
    activated
        .arg("--listen")
        .arg(&address)
        .arg(exporter.get_program())
        .args(exporter.get_args())
        .arg("--web.systemd-socket");
    activated.stderr(fs::File::create(web.file("activate.log")).unwrap());
    let mut process = Running::start(&mut activated);
    wait::until("an answer", || http::get(&address, "/-/healthy").filter(|answer| answer.status == 200));
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));

    let output = process::run(web.command().arg("--web.systemd-socket"));
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("systemd handed over no socket"), "{output:?}");
}

/// The socket that systemd listens on for words of its services, `sd_notify(3)`.
#[test]
fn systemd_is_told_of_readiness_and_of_each_round_of_the_loop() {
    let web = Web::new("");
    let socket = UnixDatagram::bind(web.file("notify")).unwrap();
    socket.set_read_timeout(Some(wait::DEADLINE)).unwrap();
    let mut command = web.command();
    command.env("NOTIFY_SOCKET", web.file("notify")).env("WATCHDOG_USEC", "200000");
    let mut exporter = web.home.listening(&mut command);
    let until = |wanted: &str| loop {
        let mut message = [0; 512];
        let length = socket.recv(&mut message).unwrap();
        if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == wanted) {
            return;
        }
    };
    until("READY=1");
    assert_eq!(exporter.get("/-/ready").unwrap().status, 200);
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    exporter.process.signal("TERM");
    until("STOPPING=1");
    assert_eq!(exporter.process.wait().code(), Some(0));
}
