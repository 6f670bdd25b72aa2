//! A node's directories, and the installer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The installer looks every second.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Node(tempfile::TempDir);

/// A list of a main plugin's, number `n` of those that its owner writes. It is longer than what a pipe or a page takes at once.
pub(crate) fn list(n: usize) -> String {
    let list = json!({
        "cniVersion": "1.0.0", "name": "pods", "number": n, "filler": "x".repeat(20_000),
        "plugins": [{"type": "bridge"}, {"type": "portmap"}],
    });
    format!("{list:#}\n")
}

/// The same of one plugin.
pub(crate) fn plain(n: usize) -> String {
    json!({"cniVersion": "1.0.0", "name": "pods", "type": "bridge", "number": n}).to_string()
}

impl Node {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        for directory in ["bin", "net.d"] {
            fs::create_dir(node.path(directory)).unwrap();
        }
        for (name, text) in files {
            fs::write(node.conf(name), text).unwrap();
        }
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn conf(&self, name: &str) -> PathBuf {
        self.path("net.d").join(name)
    }

    pub(crate) fn start(&self, words: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_sluice-cni"))
            .args(words)
            .arg("--programs")
            .arg(self.path("bin"))
            .arg("--configurations")
            .arg(self.path("net.d"))
            .arg("--originals")
            .arg(self.path("originals"))
            .arg("--records")
            .arg(self.path("records"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let output = self.start(words).wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// Types of the plugins in a list; none where it cannot be read.
    pub(crate) fn types(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.conf(name)).unwrap_or_default();
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        let plugins = list["plugins"].as_array().cloned().unwrap_or_default();
        let name = |plugin: &Value| plugin["type"].as_str().unwrap().to_owned();
        plugins.iter().map(name).collect()
    }

    /// Which of the owner's writes a file is.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        let list: Value = serde_json::from_slice(&fs::read(self.conf(name)).ok()?).ok()?;
        list["number"]
            .as_u64()
            .or_else(|| list["plugins"][0]["number"].as_u64())
    }

    /// All files with their text, but the runtime's programs.
    pub(crate) fn files(&self) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        collect(self.0.path(), &mut files);
        files.sort();
        files
    }
}

fn collect(directory: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            files.push((path, text));
        }
    }
}

/// An installer that watches until it is dropped.
pub(crate) struct Watch(Child);

impl Watch {
    pub(crate) fn start(node: &Node) -> Self {
        Self(node.start(&["install", "--watch"]))
    }

    /// It has not ended.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never was so that {what}");
        sleep(Duration::from_millis(5));
    }
}
