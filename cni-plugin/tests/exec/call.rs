//! One call of the plugin.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

pub(crate) const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A call that lacks nothing, to be changed by a case.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    environment: Vec<(String, String)>,
    conf: String,
    namespace: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Call {
    pub(crate) fn new(verb: &str, conf: impl Into<String>) -> Self {
        let environment = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "cafe01"),
            ("CNI_NETNS", "/run/netns/not-there"),
            ("CNI_IFNAME", "eth0"),
            (
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=1",
            ),
            ("CNI_PATH", "/usr/lib/cni"),
        ];
        Self {
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            conf: conf.into(),
            namespace: false,
        }
    }

    /// In a network namespace of its own (root).
    pub(crate) fn in_a_namespace(&self) -> Self {
        Self {
            namespace: true,
            ..self.clone()
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn run(&self) -> Outcome {
        let plugin = env!("CARGO_BIN_EXE_sluice-cni");
        let mut command = if self.namespace {
            let mut unshare = Command::new("/usr/bin/unshare");
            unshare.args(["--net", plugin]);
            unshare
        } else {
            Command::new(plugin)
        };
        let mut child = command
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have ended before it read everything.
        let _ = child.stdin.take().unwrap().write_all(self.conf.as_bytes());
        let output = child.wait_with_output().unwrap();
        Outcome {
            exit: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It must be refused by this code, in a sentence that has this text; the sentence is returned.
    pub(crate) fn refused(&self, case: &str, code: u64, text: &str) -> String {
        let outcome = self.run();
        assert_eq!(outcome.exit, Some(1), "{case}: {outcome:?}");
        let error: Value = serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|e| panic!("{case}: {e}: {outcome:?}"));
        assert_eq!(error["code"], code, "{case}: {outcome:?}");
        let version = error["cniVersion"].as_str().unwrap();
        assert!(VERSIONS.contains(&version), "{case}: {version}");
        let whole = format!("{} {}", error["msg"].as_str().unwrap(), error["details"]);
        assert!(whole.contains(text), "{case}: {text:?} is not in {whole:?}");
        assert!(
            whole.len() < 2000,
            "{case}: a message of {} bytes",
            whole.len()
        );
        assert!(!outcome.stderr.is_empty(), "{case}: nothing in the log");
        assert!(!outcome.stderr.contains("panicked"), "{case}: {outcome:?}");
        whole
    }

    /// It must succeed; what it prints is returned.
    pub(crate) fn succeeds(&self, case: &str) -> String {
        let outcome = self.run();
        assert_eq!(outcome.exit, Some(0), "{case}: {outcome:?}");
        outcome.stdout
    }
}

/// A configuration with these further fields (each with a comma before it).
pub(crate) fn conf(version: &str, more: &str) -> String {
    format!(r#"{{"cniVersion":"{version}","name":"pods","type":"sluice-cni"{more}}}"#)
}

/// With a state directory and a socket that are not there, and a result of plugins before.
pub(crate) fn chained(version: &str, directory: &Path, more: &str) -> String {
    let [state, socket] = ["state", "agent.sock"].map(|name| directory.join(name));
    let [state, socket] = [state, socket].map(|path| path.to_str().unwrap().to_owned());
    let ips = r#"[{"address":"10.0.0.2/24"}]"#;
    conf(
        version,
        &format!(
            r#","stateDirectory":"{}","socket":"{}","prevResult":{{"cniVersion":"{version}","ips":{ips}}}{more}"#,
            state.display(),
            socket.display()
        ),
    )
}
