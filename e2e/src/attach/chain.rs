//! Plugins one after the other, as libraries of runtimes call them.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{AttachError, Node, Pod, REFERENCE_PLUGINS};

/// A verb and the order in which plugins hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// First to last.
    Add,
    /// Last to first.
    Del,
    /// First to last.
    Check,
}

/// What a plugin said when it refused.
#[derive(Debug)]
pub struct Refused {
    /// Its type.
    pub plugin: String,
    /// The error as it printed it.
    pub error: Value,
    /// What it wrote to its log.
    pub log: String,
}

/// A chain on a node.
#[derive(Debug)]
pub struct Chain<'a> {
    node: &'a Node,
    version: String,
    plugins: Vec<Value>,
}

/// What a plugin printed and logged, or how it refused.
type Answer = Result<(String, String), Refused>;

impl<'a> Chain<'a> {
    pub(super) fn new(node: &'a Node, version: &str, plugins: Vec<Value>) -> Self {
        Self {
            node,
            version: version.to_owned(),
            plugins,
        }
    }

    /// Attaches a pod; returns the result and what plugins logged.
    pub fn add(&self, pod: &Pod) -> Result<Result<(Value, String), Refused>, AttachError> {
        let (mut result, mut logs) = (Value::Null, String::new());
        for plugin in &self.plugins {
            match self.call(Verb::Add, plugin, pod, &result)? {
                Err(refused) => return Ok(Err(refused)),
                Ok((printed, log)) => {
                    result = parse(&name(plugin), &printed)?;
                    logs.push_str(&log);
                }
            }
        }
        Ok(Ok((result, logs)))
    }

    /// Detaches a pod, by all plugins, however many refuse; the first refusal is returned.
    pub fn del(&self, pod: &Pod, result: &Value) -> Result<Result<(), Refused>, AttachError> {
        let mut outcome = Ok(());
        for plugin in self.plugins.iter().rev() {
            let answer = self.call(Verb::Del, plugin, pod, result)?;
            outcome = outcome.and(answer.map(drop));
        }
        Ok(outcome)
    }

    /// Checks a pod.
    pub fn check(&self, pod: &Pod, result: &Value) -> Result<Result<(), Refused>, AttachError> {
        for plugin in &self.plugins {
            if let Err(refused) = self.call(Verb::Check, plugin, pod, result)? {
                return Ok(Err(refused));
            }
        }
        Ok(Ok(()))
    }

    /// What is called for a verb by a plugin of the chain, and its standard input.
    pub fn command(
        &self,
        verb: Verb,
        plugin: &Value,
        pod: &Pod,
        result: &Value,
    ) -> (Command, String) {
        let name = name(plugin);
        let program = if name == "sluice-cni" {
            self.node.plugin().to_path_buf()
        } else {
            PathBuf::from(REFERENCE_PLUGINS).join(&name)
        };
        let mut conf = plugin.clone();
        conf["cniVersion"] = self.version.clone().into();
        conf["name"] = "pods".into();
        if !result.is_null() {
            conf["prevResult"] = result.clone();
        }
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "CNI_COMMAND",
                match verb {
                    Verb::Add => "ADD",
                    Verb::Del => "DEL",
                    Verb::Check => "CHECK",
                },
            )
            .env("CNI_CONTAINERID", &pod.container)
            .env("CNI_NETNS", pod.netns())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", REFERENCE_PLUGINS)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env(
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={}",
                    pod.container
                ),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        (command, conf.to_string())
    }

    fn call(
        &self,
        verb: Verb,
        plugin: &Value,
        pod: &Pod,
        result: &Value,
    ) -> Result<Answer, AttachError> {
        let name = name(plugin);
        let (command, conf) = self.command(verb, plugin, pod, result);
        // What else is called on the node need not wait for its end.
        let ended = self.node.namespace().start(command)?.and_then(|mut child| {
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(conf.as_bytes())?;
            }
            child.wait_with_output()
        });
        let output = ended.map_err(|source| AttachError::Plugin {
            plugin: name.clone(),
            source,
        })?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return Ok(Ok((printed, log)));
        }
        let error = parse(&name, &printed).unwrap_or_else(|_| json!({"msg": printed}));
        Ok(Err(Refused {
            plugin: name,
            error,
            log,
        }))
    }
}

fn name(plugin: &Value) -> String {
    plugin["type"].as_str().unwrap_or_default().to_owned()
}

fn parse(plugin: &str, printed: &str) -> Result<Value, AttachError> {
    serde_json::from_str(printed).map_err(|_| AttachError::Output {
        plugin: plugin.to_owned(),
        printed: printed.to_owned(),
    })
}
