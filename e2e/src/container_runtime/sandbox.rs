//! Pods of a runtime.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::error::{RuntimeError, failed};
use super::{Runtime, image};
use crate::lab::Namespace;

/// A sandbox that runs, as the runtime told of it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Its name, and that of its pod.
    pub name: String,
    /// The runtime's name for it, `CNI_CONTAINERID`.
    pub id: String,
    /// IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Its network namespace, as a path in the machine.
    netns: String,
    /// The process that holds it, by its number in the machine.
    process: u64,
    configuration: Value,
}

impl Runtime {
    /// Starts a pod's sandbox; its network is attached then.
    pub fn run(&self, name: &str) -> Result<Sandbox, RuntimeError> {
        let method = "RuntimeService/RunPodSandbox";
        let configuration = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "attempt": 0},
            "linux": {
                "cgroupParent": self.cgroup.of_pod(name),
                "securityContext": {"namespaceOptions": {"network": "POD", "pid": "CONTAINER", "ipc": "POD"}},
            },
        });
        let started = self.ask(method, &json!({"config": configuration}))?;
        let id = text(&started, method, "/podSandboxId")?;
        let method = "RuntimeService/PodSandboxStatus";
        let status = self.ask(method, &json!({"podSandboxId": id, "verbose": true}))?;
        let info: Value =
            serde_json::from_str(&text(&status, method, "/info/info")?).unwrap_or_default();
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array();
        let network = namespaces
            .into_iter()
            .flatten()
            .find(|namespace| namespace["type"] == "network");
        let network = network.cloned().unwrap_or_default();
        let (first, others) = (
            text(&status, method, "/status/network/ip")?,
            status["status"]["network"]["additionalIps"].as_array(),
        );
        let others = others.into_iter().flatten();
        let others = others.filter_map(|other| other["ip"].as_str());
        let mut addresses: Vec<IpAddr> = [first.as_str()]
            .into_iter()
            .chain(others)
            .filter_map(|address| address.parse().ok())
            .collect();
        addresses.sort_unstable();
        Ok(Sandbox {
            name: name.to_owned(),
            id,
            addresses,
            netns: text(&network, method, "/path")?,
            process: info["pid"].as_u64().unwrap_or_default(),
            configuration,
        })
    }

    /// Runs a container in a sandbox; returns the runtime's name for it.
    pub fn run_container(&self, sandbox: &Sandbox) -> Result<String, RuntimeError> {
        let method = "RuntimeService/CreateContainer";
        let config = json!({"metadata": {"name": "main", "attempt": 0}, "image": {"image": image::NAME}, "linux": {}});
        let request = json!({
            "podSandboxId": sandbox.id, "config": config, "sandboxConfig": sandbox.configuration,
        });
        let id = text(&self.ask(method, &request)?, method, "/containerId")?;
        self.ask("RuntimeService/StartContainer", &json!({"containerId": id}))?;
        Ok(id)
    }

    /// Stops a container, with a moment for it to end by itself.
    pub fn stop_container(&self, id: &str) -> Result<(), RuntimeError> {
        let request = json!({"containerId": id, "timeout": 5});
        self.ask("RuntimeService/StopContainer", &request).map(drop)
    }

    /// Stops a sandbox; its network is detached then.
    pub fn stop(&self, id: &str) -> Result<(), RuntimeError> {
        let request = json!({"podSandboxId": id});
        self.ask("RuntimeService/StopPodSandbox", &request)
            .map(drop)
    }

    /// Removes a sandbox, which is stopped before where it runs.
    pub fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let request = json!({"podSandboxId": id});
        self.ask("RuntimeService/RemovePodSandbox", &request)
            .map(drop)
    }

    /// All sandboxes that it knows, as identifier and state.
    pub fn sandboxes(&self) -> Result<Vec<(String, String)>, RuntimeError> {
        let answer = self.ask("RuntimeService/ListPodSandbox", &json!({}))?;
        let items = answer["items"].as_array();
        let named = |item: &Value| {
            let of = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            (of("id"), of("state"))
        };
        Ok(items.into_iter().flatten().map(named).collect())
    }

    /// Kills the process that holds a sandbox, as the kernel does when memory runs out.
    pub fn kill_sandbox(&self, sandbox: &Sandbox) -> Result<(), RuntimeError> {
        self.command(&format!("kill -KILL {}", sandbox.process))
            .map(drop)
    }

    /// Kills the shim between the runtime and a sandbox.
    pub fn kill_shim(&self, sandbox: &Sandbox) -> Result<(), RuntimeError> {
        self.command(&format!(
            "pkill -KILL -f containerd-shim-runc-v2.*{}",
            sandbox.id
        ))
        .map(drop)
    }

    /// A sandbox's network namespace.
    pub fn namespace(&self, sandbox: &Sandbox) -> Result<Namespace, RuntimeError> {
        // `/var/run` is a link that would lead out of the machine.
        let path = sandbox
            .netns
            .trim_start_matches("/var")
            .trim_start_matches('/');
        let root = PathBuf::from(format!("/proc/{}/root", self.init()?));
        Ok(Namespace::join(&sandbox.name, &root.join(path))?)
    }
}

fn text(answer: &Value, method: &str, pointer: &str) -> Result<String, RuntimeError> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| RuntimeError::Answer {
            method: method.to_owned(),
            answer: answer.to_string(),
        })
}

/// What a program prints that is given this to read.
pub(super) fn printed(command: &mut Command, input: &str) -> Result<String, RuntimeError> {
    let program = format!("{command:?}");
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut run = || {
        let mut child = piped.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(failed(format!("run {program}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(RuntimeError::Refused {
        command: program,
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
