//! The status page of the built exporter in a real headless Chromium: what is seen, in which order and in
//! which colours, and that the browser has nothing to complain about.
//!
//! `SCREENSHOTS=DIRECTORY` keeps pictures of every scene, wide and narrow, light and dark.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/journal.rs"]
mod journal;
mod pages;
mod support;

use std::fs;
use std::path::PathBuf;

use backup_common::record::Record;
use backup_testkit::chromium::Chromium;
use backup_testkit::{http, wait};
use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use journal::Journal;
use pages::Scene;
use support::{Exporter, Home, RECORDS};

/// The exporter with what a scene has.
fn exporter(home: &Home, scene: Scene) -> Exporter {
    let now = Timestamp::now();
    home.configure(&pages::CONFIG.replace("DIR", &home.path().display().to_string()));
    let records = scene.records(now);
    home.append(records.iter().map(Record::encode).collect::<String>());
    let snapshots = home.path().join(".snapshots");
    for hours in [20, 44, 68].into_iter().filter(|_| scene != Scene::Empty) {
        let time = now - SignedDuration::from_hours(hours);
        let name = time.to_zoned(jiff::tz::TimeZone::system()).strftime("daily_%Y-%m-%d_%H%M%S").to_string();
        fs::create_dir_all(snapshots.join(name)).unwrap();
    }
    fs::create_dir_all(&snapshots).unwrap();
    fs::create_dir_all(home.path().join("state")).unwrap();
    fs::write(home.path().join("state/sizes.jsonl"), scene.sizes_file(now)).unwrap();
    let timer = home.path().join("backup.timer");
    fs::write(&timer, "[Timer]\nOnCalendar=*-*-* 00/2:00:00\n").unwrap();
    // It can be read, and tells nothing of the unit.
    Journal::ago(10).line("1", "other", "text").write(&home.journal().join("system.journal"));
    let exporter = home.start_with(
        home.command().args(["--size.interval", "0", "--unit", "other.service"]).arg("--timer").arg(timer),
    );
    exporter.until(RECORDS, records.len() as f64);
    exporter
}

fn keep(name: &str, picture: &str) {
    let picture = base64::engine::general_purpose::STANDARD.decode(picture).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    if let Some(directory) = std::env::var_os("SCREENSHOTS") {
        fs::write(PathBuf::from(directory).join(name), picture).unwrap();
    }
}

/// The words of an element as they are seen, in one line.
fn seen(browser: &mut Chromium, selector: &str) -> String {
    let text = browser.value(&format!("document.querySelector({selector:?}).innerText"));
    text.as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Contrast of the text of every state, headline and concern with what is behind it, by the formula of
/// WCAG 2.2; the least of them.
const LEAST_CONTRAST: &str = r"(() => {
    const rgba = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = node => { for (let at = node; at; at = at.parentElement) {
        const colour = rgba(getComputedStyle(at).backgroundColor); if (colour[3] == 1) return colour; } };
    let least = 99;
    for (const node of document.querySelectorAll('h1,h2,h3,p,td,th,dt,dd,li,a,code,caption,span,button,label,summary')) {
        if (!node.innerText?.trim()) continue;
        const [a, b] = [light(rgba(getComputedStyle(node).color)), light(behind(node))];
        least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
    }
    return least;
})()";

#[test]
fn each_scene_is_seen_as_it_is() {
    let mut browser = Chromium::start();
    for scene in Scene::ALL {
        let home = Home::new();
        let exporter = exporter(&home, scene);
        let address = format!("http://{}/", exporter.address);
        let verdict = match scene {
            Scene::Empty => "Nothing is backed up yet: no run is recorded.",
            Scene::Healthy => "All 5 paths were backed up in the last 47 min.",
            Scene::Failing => "2 of 5 paths are not up to date: web /etc, web /var/www.",
            Scene::Running => "All 5 paths were backed up in the last 44 min.",
        };
        let mut colours = Vec::new();
        for (width, dark) in [(1280, false), (1280, true), (360, false), (360, true)] {
            browser.look(width, dark);
            browser.open(&address);
            let words = seen(&mut browser, ".verdict h2");
            // A minute may pass on the way.
            let ends = |text: &str| text.trim_end_matches(|c: char| c != 't').to_owned();
            assert!(ends(&words).ends_with(&ends(verdict)), "{words}");
            assert_eq!(browser.complaints(), Vec::<String>::new(), "{scene:?}");
            let foreign: Vec<_> = browser
                .requests()
                .into_iter()
                .filter(|url| *url != address && !url.starts_with("data:"))
                .collect();
            assert_eq!(foreign, Vec::<String>::new());
            // Nothing sticks out of a narrow window.
            assert!(
                browser.value("document.documentElement.scrollWidth").as_u64().unwrap() <= u64::from(width)
            );
            let contrast = browser.value(LEAST_CONTRAST).as_f64().unwrap();
            assert!(contrast >= 4.5, "{scene:?} {width} {dark}: {contrast}");
            colours.push(browser.value("getComputedStyle(document.querySelector('.verdict h2')).color"));
            let theme = if dark { "dark" } else { "light" };
            let picture = browser.screenshot();
            keep(&format!("{}-{width}-{theme}.png", scene.name()), &picture);
        }
        assert_ne!(colours[0], colours[1]);
        match scene {
            Scene::Failing => {
                assert_eq!(colours[0], "rgb(179, 20, 31)");
                let order =
                    browser.value("[...document.querySelectorAll('h3')].map(h => h.innerText).join()");
                assert_eq!(order, "web,mail,nas");
                let first = seen(&mut browser, ".host tbody");
                assert!(
                    first.contains("Failed") && first.contains("nothing listens on the ssh port"),
                    "{first}"
                );
                assert!(first.contains("Start the ssh server on the host"), "{first}");
                assert!(first.contains("ssh: connect to host web port 22: Connection refused"), "{first}");
                assert!(seen(&mut browser, "main").contains("/var/mail/<b>postmaster</b>"));
                assert!(seen(&mut browser, ".concerns").contains("No space left on device"));
            }
            Scene::Healthy => assert_eq!(colours[0], "rgb(24, 122, 47)"),
            Scene::Running => {
                let words = seen(&mut browser, "[aria-labelledby=running]");
                assert!(words.contains("1 of 5 paths done") && words.contains("64 %"), "{words}");
            }
            Scene::Empty => assert_eq!(browser.value("document.querySelectorAll('details[open]').length"), 3),
        }
    }
}

/// Headings go down by one level, each table has a caption and heads with a scope, each field a label,
/// and Tab reaches the links, fields and groups in the order in which they are seen, with a visible ring.
#[test]
fn usable_with_a_keyboard_and_a_screen_reader() {
    let home = Home::new();
    let exporter = exporter(&home, Scene::Failing);
    let mut browser = Chromium::start();
    browser.look(1280, false);
    browser.open(&format!("http://{}/?host=w&refresh=off", exporter.address));
    let levels = browser.value("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])");
    let levels: Vec<u64> = levels.as_array().unwrap().iter().map(|level| level.as_u64().unwrap()).collect();
    assert!(levels[0] == 1 && levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    for none in [
        "table:not(:has(> caption))",
        "th:not([scope])",
        "svg:not([role=img][aria-label])",
        "html:not([lang])",
        "[style], script, [onclick], iframe, object, link[rel=stylesheet]",
        "meta[http-equiv=refresh]",
        "progress:not([aria-label]), meter:not([aria-label])",
    ] {
        assert_eq!(browser.value(&format!("document.querySelectorAll({none:?}).length")), 0, "{none}");
    }
    for one in ["main", "header", "footer", "form[role=search]"] {
        assert_eq!(browser.value(&format!("document.querySelectorAll({one:?}).length")), 1, "{one}");
    }
    let unlabelled = "[...document.querySelectorAll('input:not([type=hidden]),select')].filter(f => !f.labels.length).length";
    assert_eq!(browser.value(unlabelled), 0);
    let mut reached = Vec::new();
    for _ in 0..9 {
        for kind in ["keyDown", "keyUp"] {
            let key =
                serde_json::json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            browser.call("Input.dispatchKeyEvent", key);
        }
        let ring = browser.value("getComputedStyle(document.activeElement).outlineStyle");
        assert_ne!(ring, "none", "{reached:?}");
        let element = "(e => e.name || e.innerText.split('\\n')[0] || e.tagName)(document.activeElement)";
        reached.push(browser.value(element).as_str().unwrap().to_owned());
    }
    let first = [
        "Skip to the hosts and paths",
        "Refresh it by itself",
        "host",
        "path",
        "state",
        "Filter",
        "Show all",
        "web",
    ];
    for (reached, wanted) in reached.iter().zip(first) {
        assert!(reached.starts_with(wanted), "{reached} in place of {wanted}");
    }
    // What was asked for is there when the page comes again.
    assert_eq!(browser.value("document.querySelector('[name=host]').value"), "w");
    assert_eq!(browser.value("[...document.querySelectorAll('h3')].map(h => h.innerText).join()"), "web");
}

#[test]
fn headers_and_addresses() {
    let home = Home::new();
    let exporter = exporter(&home, Scene::Healthy);
    let page = exporter.get("/").unwrap();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(http::ask(&exporter.address, "HEAD", "/", "").unwrap().body, "");
    assert_eq!(http::ask(&exporter.address, "POST", "/", "").unwrap().status, 405);
    assert_eq!(http::ask(&exporter.address, "POST", "/api/v1/status", "").unwrap().status, 405);
    let status = exporter.get("/api/v1/status").unwrap();
    assert_eq!(status.header("content-type"), Some("application/json"));
    let status: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(status["verdict"]["level"], "ok", "{status:#}");
    let packed = http::ask(&exporter.address, "GET", "/", "Accept-Encoding: gzip\r\n").unwrap();
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    drop(exporter);

    // The metrics can have the root, and the headers of the web configuration win.
    let web = home.path().join("web.yaml");
    let header = "http_server_config:\n  headers:\n    Content-Security-Policy: default-src 'self'\n";
    fs::write(&web, header).unwrap();
    let mut command = home.command();
    command.args(["--web.telemetry-path", "/", "--size.interval", "0"]).arg("--web.config.file").arg(&web);
    let exporter = home.listening(&mut command);
    wait::until("the metrics", || {
        exporter.get("/").filter(|answer| answer.body.contains("backup_run_state"))
    });
    let page = exporter.get("/status").unwrap();
    assert_eq!(page.header("content-security-policy"), Some("default-src 'self'"));
    assert!(page.body.contains("href=\"./\"") && page.body.contains("href=\"./api/v1/status\""));
}
