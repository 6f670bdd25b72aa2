//! A real containerd on a node of a lab, asked as the kubelet asks it. It and all that it starts has process and mount namespaces of its own,
//! and the node's network namespace; what belongs in `/var/lib` is in a directory that outlives it, so it can be rebooted.

mod cgroup;
mod error;
mod image;
mod programs;
mod sandbox;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use self::cgroup::Cgroup;
pub use self::error::RuntimeError;
use self::error::failed;
pub use self::programs::{Programs, Release};
pub use self::sandbox::Sandbox;
use crate::debian_package::output;
use crate::lab::Namespace;
use crate::server_process::Server;

const INIT: &str = include_str!("init.sh");
const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime that runs. It ends with the value, and with the process that holds the value; with it all of its containers.
#[derive(Debug)]
pub struct Runtime {
    programs: Programs,
    files: PathBuf,
    machine: Option<Server>,
    /// Outlives the containers.
    cgroup: Cgroup,
}

impl Runtime {
    /// Starts it on a node; `files` is what is left of the one before, or an empty directory. `plugin` is the `sluice-cni` to be called, and
    /// `plugins` the network's chain.
    pub fn start(
        programs: &Programs,
        files: &Path,
        node: &Namespace,
        plugin: &Path,
        plugins: &[Value],
    ) -> Result<Self, RuntimeError> {
        let mut runtime = Self {
            programs: programs.clone(),
            files: files.to_owned(),
            machine: None,
            cgroup: Cgroup::new(&format!("sluice-e2e-{}", node.id())),
        };
        if !runtime.file("config.toml").exists() {
            runtime.prepare(plugin, plugins)?;
        }
        let arguments = [
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "--propagation=private",
            "--",
            "/usr/bin/env",
            &format!("PATH={}", programs.path()),
            "/bin/sh",
            "-c",
            INIT,
            "init",
            &files.to_string_lossy(),
        ]
        .map(str::to_owned);
        let log = runtime.file("log");
        let machine = node.run(move || Server::start(Path::new("unshare"), &arguments, &log))?;
        runtime.machine = Some(machine.map_err(failed("start a machine"))?);
        runtime.wait_until_ready()?;
        runtime.import()?;
        Ok(runtime)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    fn prepare(&self, plugin: &Path, plugins: &[Value]) -> Result<(), RuntimeError> {
        let made = || {
            for directory in ["var-lib", "bin", "net.d"] {
                std::fs::create_dir_all(self.file(directory))?;
            }
            for name in ["bridge", "host-local", "loopback", "portmap"] {
                let program = self.programs.reference_plugins().join(name);
                symlink(program, self.file("bin").join(name))?;
            }
            symlink(plugin, self.file("bin/sluice-cni"))?;
            let list = json!({
                "cniVersion": self.programs.cni_version(), "name": "pods", "plugins": plugins,
            });
            std::fs::write(self.conflist(), list.to_string())?;
            std::fs::write(self.file("config.toml"), self.configuration())
        };
        made().map_err(failed("write the files of a runtime"))?;
        image::write(&self.programs.built("pause"), &self.file("pause.tar"))
    }

    /// Version 2 of the format, which all releases read. The capability to lower `oom_score_adj` may be missing where tests run.
    fn configuration(&self) -> String {
        let at = |name| self.file(name).display().to_string();
        format!(
            r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{bin}"
conf_dir = "{conf}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#,
            socket = at("containerd.sock"),
            image = image::NAME,
            bin = at("bin"),
            conf = at("net.d"),
        )
    }

    /// The network's configuration.
    pub fn conflist(&self) -> PathBuf {
        self.file("net.d/10-pods.conflist")
    }

    fn wait_until_ready(&self) -> Result<(), RuntimeError> {
        let deadline = Instant::now() + PATIENCE;
        while self.ask("RuntimeService/Version", &json!({})).is_err() {
            if Instant::now() > deadline {
                return Err(RuntimeError::NotReady { log: self.log() });
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn import(&self) -> Result<(), RuntimeError> {
        let mut ctr = Command::new(self.programs.ctr());
        ctr.arg("--address")
            .arg(self.file("containerd.sock"))
            .args(["--namespace", "k8s.io", "images", "import", "--no-unpack"])
            .arg(self.file("pause.tar"));
        output(&mut ctr)?;
        Ok(())
    }

    /// Asks a method of the CRI, as `RuntimeService/Version`.
    pub fn ask(&self, method: &str, request: &Value) -> Result<Value, RuntimeError> {
        let cri = self.programs.built("cri");
        let socket = self.file("containerd.sock");
        let answer = self::sandbox::printed(
            Command::new(cri).arg(socket).arg(method),
            &request.to_string(),
        )?;
        serde_json::from_str(&answer).map_err(|_| RuntimeError::Answer {
            method: method.to_owned(),
            answer,
        })
    }

    /// Whether it takes pods, and where it does not, why.
    pub fn network_ready(&self) -> Result<Result<(), String>, RuntimeError> {
        let answer = self.ask("RuntimeService/Status", &json!({}))?;
        let conditions = answer["status"]["conditions"].as_array();
        let network = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "NetworkReady");
        match network.map(|network| (&network["status"], &network["message"])) {
            Some((Value::Bool(true), _)) => Ok(Ok(())),
            Some((_, message)) => Ok(Err(message.as_str().unwrap_or_default().to_owned())),
            None => Err(RuntimeError::Answer {
                method: "RuntimeService/Status".to_owned(),
                answer: answer.to_string(),
            }),
        }
    }

    /// Has the network collect what these attachments do not own, as runtimes do that call GC; containerd calls it in no release so far.
    pub fn collect(&self, valid: &[&Sandbox]) -> Result<(), RuntimeError> {
        let mut gc = Command::new("nsenter");
        gc.args(self.enter()?)
            .arg(self.programs.built("gc"))
            .arg(self.conflist())
            .arg(self.file("bin"))
            .arg("/var/lib/cni")
            .args(valid.iter().map(|sandbox| format!("{}/eth0", sandbox.id)));
        output(&mut gc)?;
        Ok(())
    }

    /// Kills containerd alone, and waits until it is back.
    pub fn kill_containerd(&self) -> Result<(), RuntimeError> {
        self.command("pkill -KILL -x containerd")?;
        self.wait_until_ready()
    }

    /// Runs a command line, split at blanks, in the machine: processes have the numbers there that the runtime tells.
    pub fn command(&self, line: &str) -> Result<String, RuntimeError> {
        let mut command = Command::new("nsenter");
        command.args(self.enter()?).args(line.split_whitespace());
        Ok(output(&mut command)?)
    }

    fn enter(&self) -> Result<[String; 5], RuntimeError> {
        Ok([
            "--target",
            &self.init()?.to_string(),
            "--mount",
            "--pid",
            "--net",
        ]
        .map(str::to_owned))
    }

    /// The machine's first process.
    pub(super) fn init(&self) -> Result<Pid, RuntimeError> {
        let unshare = self.machine.as_ref().map(Server::id).unwrap_or_default();
        let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
        let children = children.map_err(failed("find the machine's first process"))?;
        let first = children.split_whitespace().next().map(str::parse);
        match first {
            Some(Ok(id)) => Ok(Pid::from_raw(id)),
            _ => Err(RuntimeError::NotReady { log: self.log() }),
        }
    }

    /// The end of containerd's log.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Runtime {
    /// As when power is lost. The first process is killed and waited for, because the kernel ends all others before it is gone.
    fn drop(&mut self) {
        if let Ok(init) = self.init() {
            let _ = kill(init, Signal::SIGKILL);
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some(machine) = &mut self.machine
            && matches!(machine.ended(), Ok(None))
            && Instant::now() < deadline
        {
            sleep(Duration::from_millis(10));
        }
        self.machine = None;
    }
}
