//! A network namespace that lives as long as a value.

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Pid, gettid};

use super::LabError;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with `lo` up. It has no name in the file system: a thread lives in it, and the kernel removes it,
/// with all that is in it, when that thread and everything started from it have ended.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    thread_id: Pid,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// Makes an empty namespace. `name` is for messages only.
    pub fn new(name: &str) -> Result<Self, LabError> {
        let namespace = Self::entered(name, || unshare(CloneFlags::CLONE_NEWNET))?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// One that somebody else made: it is there until they and the value let it go. `file` stands for it, as `/proc/PID/ns/net` does.
    pub fn join(name: &str, file: &Path) -> Result<Self, LabError> {
        let file = File::open(file).map_err(|source| LabError::Namespace {
            name: name.to_owned(),
            source,
        })?;
        Self::entered(name, move || setns(file, CloneFlags::CLONE_NEWNET))
    }

    /// A thread that goes to a namespace and lives there.
    fn entered(
        name: &str,
        enter: impl FnOnce() -> nix::Result<()> + Send + 'static,
    ) -> Result<Self, LabError> {
        let (jobs, queue) = channel::<Job>();
        let (ready, born) = channel();
        let failed = |source| LabError::Namespace {
            name: name.to_owned(),
            source,
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let entered = enter().map(|()| gettid());
                let go_on = entered.is_ok();
                if ready.send(entered).is_ok() && go_on {
                    for job in queue {
                        job();
                    }
                }
            })
            .map_err(failed)?;
        let thread_id = born
            .recv()
            .map_err(|_| LabError::ThreadGone {
                name: name.to_owned(),
            })?
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self {
            name: name.to_owned(),
            thread_id,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `ip link … netns X` takes for this namespace.
    pub fn id(&self) -> String {
        self.thread_id.to_string()
    }

    /// Runs `work` inside the namespace and waits for it. Sockets opened, threads and processes started by `work` belong
    /// to the namespace. Work runs one after the other; what must run beside other work belongs in [`spawn`](Self::spawn).
    /// A panic of `work` goes on in the caller.
    pub fn run<T, F>(&self, work: F) -> Result<T, LabError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let gone = || LabError::ThreadGone {
            name: self.name.clone(),
        };
        let (result, answer) = channel();
        let job: Job = Box::new(move || {
            // A caller that went away does not want the result.
            let _ = result.send(catch_unwind(AssertUnwindSafe(work)));
        });
        self.jobs
            .as_ref()
            .ok_or_else(gone)?
            .send(job)
            .map_err(|_| gone())?;
        answer
            .recv()
            .map_err(|_| gone())?
            .map_or_else(|panic| resume_unwind(panic), Ok)
    }

    /// Starts a thread inside the namespace.
    pub fn spawn<T, F>(&self, work: F) -> Result<JoinHandle<T>, LabError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.run(move || std::thread::spawn(work))
    }

    /// Starts a program inside the namespace; an inner error where it does not start.
    pub fn start(&self, mut command: Command) -> Result<std::io::Result<Child>, LabError> {
        self.run(move || command.spawn())
    }

    /// Runs a program inside the namespace with `input` on its standard input; returns its standard output. The error of one that fails has all
    /// that it printed.
    pub fn program(
        &self,
        program: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<String, LabError> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ended = self.start(command)?.and_then(|mut child| {
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        });
        let failed = |message: String| LabError::Program {
            namespace: self.name.clone(),
            program: format!("{program} {}", arguments.join(" ")),
            message,
        };
        let output = ended.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let told = [output.stderr, output.stdout].concat();
            Err(failed(String::from_utf8_lossy(&told).trim().to_owned()))
        }
    }

    /// Runs a command line, split at blanks, without input.
    pub fn command(&self, line: &str) -> Result<String, LabError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.split_first() {
            Some((program, arguments)) => self.program(program, arguments, ""),
            None => Ok(String::new()),
        }
    }

    /// Runs `ip` commands, one a line, in one process.
    pub fn ip(&self, lines: &str) -> Result<(), LabError> {
        self.program("ip", &["-batch", "-"], lines).map(drop)
    }

    /// Writes a sysctl of this namespace, by its path below `/proc/sys`.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<(), LabError> {
        let (file, text) = (format!("/proc/sys/{path}"), value.to_owned());
        self.run(move || std::fs::write(file, text))?
            .map_err(|source| LabError::Sysctl {
                namespace: self.name.clone(),
                path: path.to_owned(),
                source,
            })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It panicked only if a job did, and that was reported where it happened.
            let _ = thread.join();
        }
    }
}
