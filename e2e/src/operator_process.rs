//! The real `sluice-operator`, started, killed, started again.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::control_plane::free_port;
use crate::lab::pace::stretched;
use crate::server_process::Server;

/// How long one of its HTTP answers may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long one that runs is asked for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
const ASKS_EVERY: Duration = Duration::from_millis(100);

/// Errors of an operator's process.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct OperatorProcessError {
    what: &'static str,
    #[source]
    source: io::Error,
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> OperatorProcessError {
    move |source| OperatorProcessError { what, source }
}

/// An operator with a log of its own, which outlives its process. Killed when dropped, and when the test ends in whichever way.
#[derive(Debug)]
pub struct OperatorProcess {
    program: PathBuf,
    directory: TempDir,
    arguments: Vec<String>,
    port: u16,
    server: Option<Server>,
}

impl OperatorProcess {
    /// One that does not run yet, with this kubeconfig's rights and its lease and revisions in this namespace.
    pub fn new(
        program: &Path,
        kubeconfig: &Path,
        namespace: &str,
    ) -> Result<Self, OperatorProcessError> {
        let directory = tempfile::tempdir().map_err(failed("make a directory for the operator"))?;
        let port = free_port()
            .ok_or_else(|| io::ErrorKind::AddrInUse.into())
            .map_err(failed("find a port for the operator"))?;
        Ok(Self {
            program: program.to_owned(),
            directory,
            arguments: vec![
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--namespace={namespace}"),
                format!("--bind-address=127.0.0.1:{port}"),
            ],
            port,
            server: None,
        })
    }

    /// Adds flags, from the next start on.
    pub fn add_flags(&mut self, flags: &[&str]) {
        let flags = flags.iter().map(|&flag| flag.to_owned());
        self.arguments.extend(flags);
    }

    /// Starts it. It adds to the log of earlier starts.
    pub fn start(&mut self) -> Result<(), OperatorProcessError> {
        let mut command = vec!["-u".to_owned(), "RUST_LOG".to_owned()];
        command.push(self.program.display().to_string());
        command.extend(self.arguments.iter().cloned());
        let log = self.directory.path().join("log");
        let started = Server::start(Path::new("env"), &command, &log);
        self.server = Some(started.map_err(failed("run the operator"))?);
        Ok(())
    }

    /// Kills it, as the kernel does when memory runs out.
    pub fn kill(&mut self) -> Result<(), OperatorProcessError> {
        let server = self.server.take();
        server
            .map_or(Ok(()), Server::kill)
            .map_err(failed("kill the operator"))
    }

    /// Its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.server.as_ref().map(Server::id)
    }

    /// Its log, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The sum of a metric over all its labels, or over those that begin as in `name{kind="Node"`; zero where it is not told.
    pub fn metric(&self, name: &str) -> Result<f64, OperatorProcessError> {
        let text = self.answer("/metrics")?;
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(name)?;
            let is_it = rest.is_empty() || rest.starts_with(['{', ',', '}']);
            is_it.then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    /// Everything has been listed.
    pub fn is_ready(&self) -> Result<bool, OperatorProcessError> {
        let answer = self.answer("/readyz")?;
        Ok(answer.split_whitespace().nth(1) == Some("200"))
    }

    /// Asks until there is an answer.
    fn answer(&self, path: &str) -> Result<String, OperatorProcessError> {
        let begun = Instant::now();
        loop {
            match self.get(path) {
                Err(_) if begun.elapsed() < stretched(PATIENCE) => {
                    std::thread::sleep(ASKS_EVERY);
                }
                asked => return asked.map_err(failed("get an answer from the operator")),
            }
        }
    }

    fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
