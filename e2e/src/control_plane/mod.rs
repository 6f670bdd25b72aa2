//! A real control plane: etcd, kube-apiserver and, where asked for, kube-controller-manager, ready in seconds, with
//! certificates, tokens and data of its own.
//!
//! ```no_run
//! use sluice_e2e::control_plane::{ControlPlane, Options, User};
//!
//! let mut options = Options::default();
//! options.users.push(User::new("visitor"));
//! let mut control_plane = ControlPlane::start(&options)?;
//! let manifest = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}"#;
//! control_plane.kubectl()?.run_with_input(&["apply", "-f", "-"], manifest)?;
//! control_plane.kill_api_server()?;
//! control_plane.start_api_server()?;
//! # Ok::<(), sluice_e2e::control_plane::ControlPlaneError>(())
//! ```
//!
//! It is reached on 127.0.0.1 only, of the network namespace of the thread that starts it. All of it ends when the value is
//! dropped, and when the process ends in whichever way.

use std::fmt;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod api;
mod credentials;
mod distrust;
mod error;
mod flags;
mod kubectl;
mod programs;
mod relay;

use crate::agent_process::replace;
use crate::lab::pace::stretched;
use crate::server_process::Server;
use crate::skip::skip;
pub use api::{Api, Reply};
use credentials::Tokens;
pub use credentials::User;
pub use distrust::Distrust;
pub use error::ControlPlaneError;
use error::failed;
use flags::Files;
pub(crate) use flags::free_port;
pub use kubectl::{Answer, Kubectl};
pub use programs::{ASSETS_VARIABLE, CACHE_VARIABLE, Programs};
pub use relay::Relay;

/// How long a server may take to be ready; it takes seconds where nothing else is done.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOKS_EVERY: Duration = Duration::from_millis(50);
/// Another process may take a port between the moment it was found free and the server's start.
const TRIES: u32 = 3;
/// The last that a new API server makes by itself.
const OWN_SERVICE: &str = "/api/v1/namespaces/default/services/kubernetes";
/// How much of a log belongs in an error.
const TOLD_OF_LOG: usize = 20;

/// What a control plane consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Where all is stored.
    Etcd,
    /// What everyone talks to.
    ApiServer,
    /// Makes `EndpointSlices` of Services and Pods, among much else.
    ControllerManager,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::ApiServer, Self::ControllerManager];

    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.program())
    }
}

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// With kube-controller-manager.
    pub controller_manager: bool,
    /// Users beside the administrator.
    pub users: Vec<User>,
}

/// A control plane that runs, or parts of which were ended on purpose.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order of their end.
    controller_manager: Option<Server>,
    api_server: Option<Server>,
    etcd: Option<Server>,
    programs: Programs,
    tokens: Tokens,
    port: u16,
    ready_after: Duration,
    files: Files,
    _directory: TempDir,
}

impl ControlPlane {
    /// Starts one and waits until it is ready.
    pub fn start(options: &Options) -> Result<Self, ControlPlaneError> {
        let programs = Programs::get()?;
        let directory = tempfile::Builder::new()
            .prefix("sluice-control-plane-")
            .tempdir()
            .map_err(failed("make a directory for the control plane"))?;
        let files = Files::new(directory.path());
        let key = credentials::service_account_key().map_err(failed("make a key"))?;
        write(&files.service_account_key(), &key)?;
        let tokens = Tokens::new(&options.users).map_err(failed("make tokens"))?;
        write(&files.tokens(), &tokens.file())?;

        let begun = Instant::now();
        let mut control_plane = Self {
            controller_manager: None,
            api_server: None,
            etcd: None,
            programs,
            tokens,
            port: 0,
            ready_after: Duration::ZERO,
            files,
            _directory: directory,
        };
        control_plane.start_etcd()?;
        control_plane.start_api_server_somewhere()?;
        if options.controller_manager {
            control_plane.start_controller_manager()?;
        }
        control_plane.ready_after = begun.elapsed();
        Ok(control_plane)
    }

    /// The same for a suite, which is skipped, and says so, where there are no programs and no Go to build them.
    pub fn start_or_skip(
        suite: &str,
        options: &Options,
    ) -> Result<Option<Self>, ControlPlaneError> {
        match Self::start(options) {
            Err(error @ ControlPlaneError::NoGo { .. }) => {
                skip(suite, &error.to_string());
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    /// How long it took until it was ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The programs that it consists of.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Where the API server is.
    pub fn url(&self) -> String {
        format!("https://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Its port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The administrator's kubeconfig: a file that needs no other and lives as long as this value.
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.kubeconfig()
    }

    /// A kubeconfig for one of [`Options::users`].
    pub fn kubeconfig_of(&self, user: &str) -> Result<PathBuf, ControlPlaneError> {
        let token = self
            .tokens
            .of(user)
            .ok_or_else(|| ControlPlaneError::NoSuchUser {
                name: user.to_owned(),
            })?;
        self.kubeconfig_with_token(user, token)
    }

    /// A kubeconfig with a token from elsewhere, such as a service account's of `kubectl create token`. `name` is that of
    /// the file.
    pub fn kubeconfig_with_token(
        &self,
        name: &str,
        token: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        let certificate = self.files.serving_certificate();
        let certificate = std::fs::read(&certificate)
            .map_err(failed(format!("read {}", certificate.display())))?;
        let path = self.files.path(&format!("{name}.kubeconfig"));
        write(
            &path,
            &credentials::kubeconfig(&self.url(), &certificate, name, token),
        )?;
        Ok(path)
    }

    /// `kubectl` with the administrator's rights.
    pub fn kubectl(&self) -> Result<Kubectl, ControlPlaneError> {
        let program = self.programs.kubectl()?;
        let home = self.files.path("home");
        Ok(Kubectl::new(program, &self.files.kubeconfig(), &home))
    }

    /// The API server with the administrator's rights, for requests that `kubectl` does not make or whose answers it sums up.
    pub fn api(&self) -> Result<Api, ControlPlaneError> {
        let log = self.files.path("kubectl-proxy.log");
        self.kubectl()?.proxy(self.files.path("api.sock"), &log)
    }

    /// Kills the API server, as the kernel does when memory runs out. What was written is in etcd.
    pub fn kill_api_server(&mut self) -> Result<(), ControlPlaneError> {
        kill(&mut self.api_server)
    }

    /// Starts the API server again where it was, unless it runs, and waits until it is ready.
    pub fn start_api_server(&mut self) -> Result<(), ControlPlaneError> {
        let ended = self.api_server.as_mut().map(Server::ended);
        if !matches!(ended, Some(Ok(None))) {
            self.api_server =
                Some(self.launch(Part::ApiServer, &flags::api_server(&self.files, self.port))?);
        }
        self.wait_for_api_server()
    }

    /// Starts it all over with nothing stored, as after the loss of a disk. Certificate, tokens and port stay the same, and
    /// versions of resources begin anew.
    pub fn empty_etcd(&mut self) -> Result<(), ControlPlaneError> {
        self.stop()?;
        remove(&self.files.etcd_data())?;
        self.start_again()
    }

    /// Copies what is stored, for [`restore_etcd`](Self::restore_etcd). Nothing runs meanwhile.
    pub fn back_up_etcd(&mut self) -> Result<(), ControlPlaneError> {
        self.stop()?;
        copy(&self.files.etcd_data(), &self.files.etcd_backup())?;
        self.start_again()
    }

    /// Goes back to what was stored at the last [`back_up_etcd`](Self::back_up_etcd), and to the versions of resources of then.
    pub fn restore_etcd(&mut self) -> Result<(), ControlPlaneError> {
        self.stop()?;
        copy(&self.files.etcd_backup(), &self.files.etcd_data())?;
        self.start_again()
    }

    /// From now on client certificates count that this one has signed, or this one itself, and no others.
    pub fn accept_clients_of(&mut self, certificate: &str) -> Result<(), ControlPlaneError> {
        write(&self.files.client_authority(), certificate)?;
        kill(&mut self.api_server)?;
        self.start_api_server()
    }

    /// The process of a part, while it runs.
    pub fn process_id(&self, part: Part) -> Option<u32> {
        let server = match part {
            Part::Etcd => &self.etcd,
            Part::ApiServer => &self.api_server,
            Part::ControllerManager => &self.controller_manager,
        };
        server.as_ref().map(Server::id)
    }

    /// What a part said, over all its starts.
    pub fn log(&self, part: Part) -> String {
        let bytes = std::fs::read(self.log_file(part)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self, part: Part) -> PathBuf {
        self.files.path(&format!("{part}.log"))
    }

    fn end_of_log(&self, part: Part) -> String {
        let log = self.log(part);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TOLD_OF_LOG)..].join("\n")
    }

    fn launch(&self, part: Part, arguments: &[String]) -> Result<Server, ControlPlaneError> {
        let program = self.programs.server(part)?;
        Server::start(&program, arguments, &self.log_file(part))
            .map_err(failed(format!("start {}", program.display())))
    }

    fn stop(&mut self) -> Result<(), ControlPlaneError> {
        kill(&mut self.api_server)?;
        kill(&mut self.etcd)
    }

    /// The API server is started with etcd, because it remembers what was there.
    fn start_again(&mut self) -> Result<(), ControlPlaneError> {
        self.start_etcd()?;
        self.start_api_server()
    }

    fn start_etcd(&mut self) -> Result<(), ControlPlaneError> {
        // A killed one leaves its sockets behind, and no connection to them.
        self.etcd = Some(self.launch(Part::Etcd, &flags::etcd(&self.files))?);
        self.wait_for(Part::Etcd, |own| {
            UnixStream::connect(own.files.etcd_socket())
                .map(drop)
                .map_err(|error| error.to_string())
        })
    }

    fn start_api_server_somewhere(&mut self) -> Result<(), ControlPlaneError> {
        for tries_left in (0..TRIES).rev() {
            self.port = free_port().ok_or(ControlPlaneError::NoPort)?;
            match self.start_api_server() {
                Err(ControlPlaneError::Ended { log, .. })
                    if tries_left > 0 && log.contains("address already in use") => {}
                started => return started,
            }
        }
        Err(ControlPlaneError::NoPort)
    }

    fn wait_for_api_server(&mut self) -> Result<(), ControlPlaneError> {
        // Its certificate is made before it listens. One who listens without is another.
        self.wait_for(Part::ApiServer, |own| {
            std::fs::metadata(own.files.serving_certificate())
                .and_then(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, own.port)))
                .map(drop)
                .map_err(|error| error.to_string())
        })?;
        self.kubeconfig_of("admin")?;
        let kubectl = self.kubectl()?;
        self.wait_for(Part::ApiServer, |_| {
            let ready = kubectl.run(&["get", "--raw", "/readyz"]);
            // It makes namespaces and its own Service when it is ready.
            let answer = ready.and_then(|_| kubectl.run(&["get", "--raw", OWN_SERVICE]));
            answer.map(drop).map_err(|error| error.to_string())
        })
    }

    fn start_controller_manager(&mut self) -> Result<(), ControlPlaneError> {
        let arguments = flags::controller_manager(&self.files);
        self.controller_manager = Some(self.launch(Part::ControllerManager, &arguments)?);
        let kubectl = self.kubectl()?;
        // What it does early on for everyone.
        self.wait_for(Part::ControllerManager, |_| {
            let answer = kubectl.run(&["get", "serviceaccount", "default"]);
            answer.map(drop).map_err(|error| error.to_string())
        })
    }

    /// Waits until a part answers, and no longer than it lives.
    fn wait_for(
        &mut self,
        part: Part,
        answers: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<(), ControlPlaneError> {
        let begun = Instant::now();
        loop {
            let answer = match answers(self) {
                Ok(()) => return Ok(()),
                Err(answer) => answer,
            };
            let server = match part {
                Part::Etcd => &mut self.etcd,
                Part::ApiServer => &mut self.api_server,
                Part::ControllerManager => &mut self.controller_manager,
            };
            let ended = server.as_mut().map_or(Ok(None), Server::ended);
            if let Some(status) = ended.map_err(failed(format!("ask after {part}")))? {
                return Err(ControlPlaneError::Ended {
                    part,
                    status,
                    log: self.end_of_log(part),
                });
            }
            let patience = stretched(PATIENCE);
            if begun.elapsed() > patience {
                return Err(ControlPlaneError::NotReady {
                    part,
                    patience,
                    answer,
                    log: self.end_of_log(part),
                });
            }
            std::thread::sleep(LOOKS_EVERY);
        }
    }
}

fn kill(server: &mut Option<Server>) -> Result<(), ControlPlaneError> {
    server
        .take()
        .map_or(Ok(()), Server::kill)
        .map_err(failed("kill a server"))
}

fn remove(directory: &Path) -> Result<(), ControlPlaneError> {
    std::fs::remove_dir_all(directory).map_err(failed(format!("remove {}", directory.display())))
}

/// A directory, in place of the one that is there.
fn copy(from: &Path, to: &Path) -> Result<(), ControlPlaneError> {
    if to.exists() {
        remove(to)?;
    }
    let cannot = || failed(format!("copy {} to {}", from.display(), to.display()));
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    match copied.map_err(cannot())? {
        status if status.success() => Ok(()),
        status => Err(cannot()(std::io::Error::other(status.to_string()))),
    }
}

/// As a whole: who reads it meanwhile finds the earlier text.
fn write(path: &Path, text: &str) -> Result<(), ControlPlaneError> {
    replace(&path.with_extension("beside"), path, text)
        .map_err(failed(format!("write {}", path.display())))
}
