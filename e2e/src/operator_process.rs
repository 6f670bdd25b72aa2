//! The real `sluice-operator`, started, killed, started again.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// How long one of its HTTP answers may take.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// An operator with a log of its own, which outlives its process. Killed when dropped.
#[derive(Debug)]
pub struct OperatorProcess {
    program: PathBuf,
    directory: TempDir,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
}

impl OperatorProcess {
    /// One that does not run yet, with this kubeconfig's rights and its lease and revisions in this namespace.
    pub fn new(
        program: &Path,
        kubeconfig: &Path,
        namespace: &str,
    ) -> Result<Self, OperatorProcessError> {
        let directory = tempfile::tempdir().map_err(failed("make a directory for the operator"))?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(failed("find a port for the operator"))?
            .port();
        Ok(Self {
            program: program.to_owned(),
            directory,
            arguments: vec![
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--namespace={namespace}"),
                format!("--bind-address=127.0.0.1:{port}"),
            ],
            port,
            child: None,
        })
    }

    /// Adds flags, from the next start on.
    pub fn add_flags(&mut self, flags: &[&str]) {
        let flags = flags.iter().map(|&flag| flag.to_owned());
        self.arguments.extend(flags);
    }

    /// Starts it. It adds to the log of earlier starts.
    pub fn start(&mut self) -> Result<(), OperatorProcessError> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .map_err(failed("open the operator's log"))?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed("run the operator"))?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it, as the kernel does when memory runs out.
    pub fn kill(&mut self) -> Result<(), OperatorProcessError> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let killed = child.kill().and_then(|()| child.wait());
        killed.map(drop).map_err(failed("kill the operator"))
    }

    /// Its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its log, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The sum of a metric over all its labels; zero where it is not told.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").unwrap_or_default();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// Everything has been listed.
    pub fn is_ready(&self) -> bool {
        let answer = self.get("/readyz").unwrap_or_default();
        answer.split_whitespace().nth(1) == Some("200")
    }

    fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.kill();
    }
}
