//! A headless Chromium, driven over the Chrome `DevTools` Protocol by two pipes.
//!
//! `--remote-debugging-pipe` reads commands from descriptor 3 and writes answers and events to 4, each a
//! JSON text that ends with a zero byte; so no port, no WebSocket and no further program is needed.
//! <https://chromedevtools.github.io/devtools-protocol/>

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Running, run};

/// Longest wait for an answer; a loaded machine is slow to start a browser.
const PATIENCE: Duration = Duration::from_secs(90);

/// A browser with one page. It is killed, and its profile removed, when it is dropped.
pub struct Chromium {
    _process: Running,
    directory: TempDir,
    commands: File,
    answers: Receiver<Value>,
    session: String,
    next: u64,
    events: Vec<Value>,
}

impl Chromium {
    /// Starts a browser; times are shown in the zone of the machine.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pipe = |name: &str| -> PathBuf {
            let path = directory.path().join(name);
            assert_eq!(run(Command::new("mkfifo").arg(&path)).code, 0);
            path
        };
        let (to, from) = (pipe("commands"), pipe("answers"));
        // Open for both, so that nobody waits for the other end.
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).unwrap();
        let (commands, reader) = (open(&to), BufReader::new(open(&from)));
        let mut command = Command::new("bash");
        command
            // The shell gives the browser its descriptors and becomes it.
            .args(["-c", "exec 3<\"$0\" 4>\"$1\"; shift; exec chromium \"$@\""])
            .args([&to, &from])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
            .arg("about:blank")
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap());
        let process = Running::start(&mut command);
        let answers = read(reader);
        let mut browser = Self {
            _process: process,
            directory,
            commands,
            answers,
            session: String::new(),
            next: 0,
            events: Vec::new(),
        };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": page["targetId"], "flatten": true}));
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page", "Log", "Runtime", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Sends a command and waits for its answer.
    #[expect(clippy::needless_pass_by_value, reason = "each caller makes it for this call")]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut command = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        let answer = self.until(method, |message| message["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// Opens an address and waits until it is loaded.
    pub fn open(&mut self, address: &str) {
        self.events.clear();
        self.call("Page.navigate", json!({"url": address}));
        let loaded = |message: &Value| message["method"] == "Page.loadEventFired";
        if !self.events.iter().any(loaded) {
            self.until(address, loaded);
        }
    }

    /// Width of the window in CSS pixels, and whether the reader likes it dark.
    pub fn look(&mut self, width: u32, dark: bool) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The whole page as PNG, in base64.
    pub fn screenshot(&mut self) -> String {
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let answer = self.call(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": true, "clip": clip}),
        );
        answer["data"].as_str().unwrap().to_owned()
    }

    /// What the browser has logged since the page was opened: violations of the policy, errors, messages.
    pub fn complaints(&mut self) -> Vec<String> {
        // Answers come in order, so all that was logged before this is there.
        self.value("1");
        let logged = |event: &&Value| {
            ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"]
                .iter()
                .any(|method| event["method"] == **method)
        };
        self.events.iter().filter(logged).map(Value::to_string).collect()
    }

    /// The addresses that were asked for since the page was opened.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(message) = self.answers.recv_timeout(left) else {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("chromium does not answer to {what}; it is installed by make test\n{log}");
            };
            if wanted(&message) {
                return message;
            }
            if message["method"].is_string() {
                self.events.push(message);
            }
        }
    }
}

fn read(mut pipe: BufReader<File>) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        loop {
            let mut message = Vec::new();
            let read = pipe.read_until(0, &mut message);
            message.pop();
            let Ok(value) = serde_json::from_slice(&message) else { return };
            if read.is_err() || sender.send(value).is_err() {
                return;
            }
        }
    });
    receiver
}
