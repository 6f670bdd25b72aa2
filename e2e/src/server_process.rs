//! A server that ends with the value that stands for it, and with the process that holds the value, however that ends.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

/// Between us and the server. A signal at a parent's death would need no process, but it comes at the death of the
/// *thread* that started the server, and tests are threads.
const GUARD: &str = include_str!("guard.sh");

/// See the module.
#[derive(Debug)]
pub(crate) struct Server {
    id: u32,
    guard: Child,
    held: Option<ChildStdin>,
}

impl Server {
    /// Starts it. What it says is added to the log.
    pub(crate) fn start(program: &Path, arguments: &[String], log: &Path) -> io::Result<Self> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C at a terminal is for us, who then end it.
            .process_group(0)
            .spawn()?;
        let held = guard.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let id = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { id, guard, held })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.guard.try_wait()
    }

    /// Kills it, as the kernel does when memory runs out, and waits until it is gone.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.held.take());
        self.guard.wait().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to wait for.
        let _ = self.end();
    }
}
