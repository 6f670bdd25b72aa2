//! A Docker daemon in a network namespace of its own, from which no way leads out.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::error::{KindError, failed};
use crate::cache;
use crate::lab::Namespace;
use crate::lab::pace::{pace, stretched};
use crate::server_process::Server;

const INIT: &str = include_str!("daemon.sh");
const CAPPED_RUNC: &str = include_str!("capped-runc.sh");
const PATIENT_DOCKER: &str = include_str!("patient-docker.sh");
/// How long dockerd may take until it answers; it takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The cgroup below which everything of the lab is.
const CGROUP: &str = "sluice-kind";
/// The bit of `CAP_SYS_RESOURCE` in a set of capabilities.
const SYS_RESOURCE: u32 = 24;
/// How much of a program's complaint belongs in an error.
const TOLD: usize = 30;

/// A running daemon. It ends with the value, and with the process that holds it, however that ends: so do its containers,
/// which are in a process namespace of theirs. Its images stay in the user's cache directory.
#[derive(Debug)]
pub struct Daemon {
    // Before its files go.
    server: Option<Server>,
    namespace: Namespace,
    path: String,
    socket: PathBuf,
    directory: TempDir,
    _lock: File,
}

impl Daemon {
    /// Starts one, when no other process has one any more; `programs` are directories for the `PATH` of what runs here.
    pub fn start(programs: &[&Path]) -> Result<Self, KindError> {
        let home = cache::directory("kind").ok_or(KindError::NoCache)?;
        let lock = cache::lock(&home).map_err(failed(format!("lock {}", home.display())))?;
        remove_cgroups();
        let directory = tempfile::Builder::new()
            .prefix("sluice-kind-")
            .tempdir()
            .map_err(failed("make a directory"))?;
        let inside = |name: &str| directory.path().join(name);
        let mut settings = json!({
            "data-root": Self::images(&home),
            "exec-root": inside("exec"),
            "pidfile": inside("dockerd.pid"),
            "hosts": [format!("unix://{}", inside("docker.sock").display())],
            "cgroup-parent": format!("/{CGROUP}"),
        });
        if !may_have_every_capability() {
            let runc = inside("capped-runc");
            write_program(&runc, CAPPED_RUNC)?;
            settings["runtimes"] = json!({"capped": {"path": runc}});
            settings["default-runtime"] = json!("capped");
        }
        let config = inside("daemon.json");
        std::fs::write(&config, settings.to_string())
            .map_err(failed("write dockerd's settings"))?;
        let namespace = Namespace::new("kind")?;
        let log = inside("dockerd.log");
        let mut arguments: Vec<String> =
            "--mount --propagation private --pid --fork --kill-child --mount-proc sh -c"
                .split(' ')
                .map(ToOwned::to_owned)
                .collect();
        arguments.extend([
            INIT.to_owned(),
            "dockerd".to_owned(),
            config.display().to_string(),
        ]);
        let server = namespace
            .run(move || Server::start(Path::new("unshare"), &arguments, &log))?
            .map_err(failed("start dockerd"))?;
        let mut path: Vec<PathBuf> = programs.iter().map(|&program| program.to_owned()).collect();
        if pace() > 1 {
            let own = inside("programs");
            write_program(&own.join("docker"), PATIENT_DOCKER)?;
            path.insert(0, own);
        }
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let mut daemon = Self {
            server: Some(server),
            namespace,
            path: std::env::join_paths(path)
                .map_err(|error| KindError::Unintelligible {
                    what: "PATH".to_owned(),
                    message: error.to_string(),
                })?
                .display()
                .to_string(),
            socket: inside("docker.sock"),
            directory,
            _lock: lock,
        };
        daemon.await_answer()?;
        daemon.remove_containers()?;
        Ok(daemon)
    }

    /// What a killed process may have left: it would start again, and hold on to its image.
    fn remove_containers(&self) -> Result<(), KindError> {
        let left = self.run("docker", &["ps", "--all", "--quiet"])?;
        let left: Vec<&str> = left.lines().collect();
        if !left.is_empty() {
            self.run(
                "docker",
                &[&["rm", "--force", "--volumes"], &left[..]].concat(),
            )?;
        }
        Ok(())
    }

    /// Where it keeps its images, in the lab's cache directory.
    pub(super) fn images(home: &Path) -> PathBuf {
        home.join("docker")
    }

    /// The network namespace: who is in it is outside the cluster, on the same network as the nodes.
    pub fn outside(&self) -> &Namespace {
        &self.namespace
    }

    /// A directory that ends with the value.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A program that is to run beside the daemon and to know where it is.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("env");
        command
            .arg(format!("PATH={}", self.path))
            .arg(format!("DOCKER_HOST=unix://{}", self.socket.display()))
            // The builder that needs nothing beside the daemon.
            .arg("DOCKER_BUILDKIT=0")
            .arg(format!("HOME={}", self.directory.path().display()))
            .arg(format!("KUBECONFIG={}", self.kubeconfig().display()))
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a program beside the daemon with this input and returns what it prints.
    pub fn run_with_input(
        &self,
        program: &str,
        arguments: &[&str],
        input: impl Read,
    ) -> Result<String, KindError> {
        let mut input = input;
        let refused = |message: String| KindError::Program {
            command: format!("{program} {}", arguments.join(" ")),
            message,
        };
        let started = self.namespace.start(self.command(program, arguments))?;
        let mut child = started.map_err(failed(format!("run {program}")))?;
        let stdin = child.stdin.take();
        let output = std::thread::scope(|scope| {
            let waiting = scope.spawn(move || child.wait_with_output());
            if let Some(mut stdin) = stdin {
                // One that does not read its input says on its own what is wrong.
                let _ = std::io::copy(&mut input, &mut stdin).and_then(|_| stdin.flush());
            }
            waiting
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .map_err(failed(format!("run {program}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(refused(end_of(&String::from_utf8_lossy(&said))))
    }

    /// Runs a program beside the daemon and returns what it prints.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String, KindError> {
        self.run_with_input(program, arguments, std::io::empty())
    }

    /// Where kind puts the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    fn await_answer(&mut self) -> Result<(), KindError> {
        let started = Instant::now();
        loop {
            if self.run("docker", &["info"]).is_ok() {
                return Ok(());
            }
            let ended = match &mut self.server {
                Some(server) => server.ended().map_err(failed("ask for dockerd"))?.is_some(),
                None => true,
            };
            if ended || started.elapsed() > stretched(PATIENCE) {
                let log = std::fs::read_to_string(self.directory.path().join("dockerd.log"));
                return Err(KindError::NoDaemon {
                    patience: started.elapsed(),
                    log: end_of(&log.unwrap_or_default()),
                });
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.server.take());
        remove_cgroups();
    }
}

fn write_program(file: &Path, text: &str) -> Result<(), KindError> {
    let directory = file.parent().unwrap_or(file);
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(file, text))
        .and_then(|()| std::fs::set_permissions(file, PermissionsExt::from_mode(0o755)))
        .map_err(failed(format!("write {}", file.display())))
}

/// The last lines of a text.
pub(super) fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(TOLD)..].join("\n")
}

/// Whether this process could hand on every capability there is.
pub(super) fn may_have_every_capability() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_none_or(|set| set >> SYS_RESOURCE & 1 == 1)
}

/// Those of containers that did not end by themselves; an empty directory each.
fn remove_cgroups() {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten();
    let hierarchies = hierarchies.map(|hierarchy| hierarchy.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        remove_empty(&hierarchy.join(CGROUP));
    }
}

fn remove_empty(directory: &Path) {
    let inner = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_empty(&entry.path());
    }
    // What still has processes stays.
    let _ = std::fs::remove_dir(directory);
}
