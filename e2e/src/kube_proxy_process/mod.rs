//! The real kube-proxy on a node of a lab.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_kernel::iptables::Variant;
use tempfile::TempDir;

mod config;

use crate::control_plane::{ControlPlaneError, Programs};
use crate::lab::{LabError, Namespace};

/// Not its own ports: Sluice listens on those.
const HEALTHZ: u16 = 20256;
const METRICS: u16 = 20249;
const LOOKS_EVERY: Duration = Duration::from_millis(50);
const TOLD_OF_LOG: usize = 20;
/// The series of its metrics that there is from its first synchronisation of IPv4 on.
const SYNCHRONISED: &str = r#"kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}"#;

/// How it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubeProxyMode {
    /// By rules of iptables.
    Iptables(Variant),
    /// By a table of nftables.
    Nftables,
    /// By virtual servers, where the kernel has IPVS, with rules around them by the machine's own iptables.
    Ipvs,
}

/// Errors of the process itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubeProxyError {
    /// No program.
    #[error("there is no kube-proxy to run")]
    Program(#[from] ControlPlaneError),
    /// No namespace.
    #[error("the node's namespace cannot be used")]
    Lab(#[from] LabError),
    /// Files or processes.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It did not program in time.
    #[error("kube-proxy has not programmed anything after {} s; its log ends:\n{log}", .patience.as_secs())]
    NotReady {
        /// How long we waited.
        patience: Duration,
        /// The end of its log.
        log: String,
    },
}

/// A kube-proxy that runs until it is dropped; its rules stay in the kernel, as they do where it crashes.
#[derive(Debug)]
pub struct KubeProxyProcess {
    mode: KubeProxyMode,
    child: Child,
    directory: TempDir,
}

impl KubeProxyProcess {
    /// Starts it in a node's namespace. It leaves the machine's own sysctls alone.
    pub fn start(
        node: &Namespace,
        node_name: &str,
        kubeconfig: &Path,
        mode: KubeProxyMode,
    ) -> Result<Self, KubeProxyError> {
        Self::start_with(node, node_name, kubeconfig, mode, &Value::Null)
    }

    /// The same, with these fields of its configuration besides.
    pub fn start_with(
        node: &Namespace,
        node_name: &str,
        kubeconfig: &Path,
        mode: KubeProxyMode,
        fields: &Value,
    ) -> Result<Self, KubeProxyError> {
        let program = Programs::kube_proxy()?;
        let directory = tempfile::tempdir().map_err(failed("make a directory"))?;
        let path = mode
            .programs_in(directory.path())
            .map_err(failed("name programs of iptables"))?;
        let mut config = config::of_a_lab(mode, node_name, kubeconfig);
        if !fields.is_null() {
            config::put_over(&mut config, fields);
        }
        let config_file = directory.path().join("config.json");
        std::fs::write(&config_file, config.to_string())
            .map_err(failed("write kube-proxy's configuration"))?;
        let log = std::fs::File::create(directory.path().join("log"))
            .map_err(failed("make a log for kube-proxy"))?;
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(config_file)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = node
            .run(move || command.spawn())?
            .map_err(failed("run kube-proxy"))?;
        Ok(Self {
            mode,
            child,
            directory,
        })
    }

    /// Waits until it has synchronised once and something for a service with endpoints is in the kernel.
    pub fn wait_until_programmed(
        &self,
        node: &Namespace,
        patience: Duration,
    ) -> Result<(), KubeProxyError> {
        self.wait_until(patience, || {
            let endpoint = self.mode.of_endpoint();
            Ok(is_synchronised(node)? && self.mode.programmed(node)?.contains(endpoint))
        })
    }

    /// Waits until it has programmed once all that it was told at its start.
    pub fn wait_until_synchronised(
        &self,
        node: &Namespace,
        patience: Duration,
    ) -> Result<(), KubeProxyError> {
        self.wait_until(patience, || is_synchronised(node))
    }

    fn wait_until(
        &self,
        patience: Duration,
        is_so: impl Fn() -> Result<bool, LabError>,
    ) -> Result<(), KubeProxyError> {
        let begun = Instant::now();
        loop {
            if is_so()? {
                return Ok(());
            }
            if begun.elapsed() > patience {
                return Err(KubeProxyError::NotReady {
                    patience,
                    log: self.end_of_log(),
                });
            }
            std::thread::sleep(LOOKS_EVERY);
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it said.
    pub fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TOLD_OF_LOG)..].join("\n")
    }
}

impl Drop for KubeProxyProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl KubeProxyMode {
    fn name(self) -> &'static str {
        match self {
            Self::Iptables(_) => "iptables",
            Self::Nftables => "nftables",
            Self::Ipvs => "ipvs",
        }
    }

    /// What the kernel holds of it, as the programs list it; empty where there is nothing.
    pub fn programmed(self, node: &Namespace) -> Result<String, LabError> {
        match self {
            Self::Iptables(variant) => {
                node.program(&format!("iptables-{variant}-save"), &["-t", "nat"], "")
            }
            Self::Nftables => {
                let tables = node.command("nft list tables")?;
                if tables.contains("table ip kube-proxy") {
                    node.command("nft list table ip kube-proxy")
                } else {
                    Ok(String::new())
                }
            }
            // There is no such file until somebody has asked for IPVS.
            Self::Ipvs => node
                .run(|| std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap_or_default()),
        }
    }

    /// What is listed with each endpoint.
    fn of_endpoint(self) -> &'static str {
        match self {
            Self::Iptables(_) => "KUBE-SEP-",
            Self::Nftables => "endpoint-",
            Self::Ipvs => "Masq",
        }
    }

    /// A search path on which plain names of iptables are those of the variant.
    fn programs_in(self, directory: &Path) -> io::Result<String> {
        let rest = std::env::var("PATH").unwrap_or_default();
        let rest = format!("{rest}:/usr/sbin:/sbin");
        let Self::Iptables(variant) = self else {
            return Ok(rest);
        };
        for family in ["iptables", "ip6tables"] {
            for end in ["", "-save", "-restore"] {
                let wanted = format!("{family}-{variant}{end}");
                let mut places = rest.split(':').map(|place| Path::new(place).join(&wanted));
                if let Some(program) = places.find(|program| program.exists()) {
                    symlink(program, directory.join(format!("{family}{end}")))?;
                }
            }
        }
        Ok(format!("{}:{rest}", directory.display()))
    }
}

/// It is healthy and has counted a synchronisation of IPv4: its healthz alone says yes from the start.
fn is_synchronised(node: &Namespace) -> Result<bool, LabError> {
    node.run(|| {
        let healthz = answer(HEALTHZ, "/healthz").unwrap_or_default();
        let metrics = answer(METRICS, "/metrics").unwrap_or_default();
        healthz.starts_with("HTTP/1.1 200")
            && metrics.lines().any(|line| line.starts_with(SYNCHRONISED))
    })
}

fn answer(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> KubeProxyError {
    move |source| KubeProxyError::Io { what, source }
}
