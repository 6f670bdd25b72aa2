//! The socket on which the CNI plugin asks: one request and one answer a connection, for root alone.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as BoundListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sluice_api_access::with_causes;
use sluice_attachment::Treatment;
use sluice_attachment::protocol::{
    self, Attach, MAX_LINE_BYTES, Nothing, ProtocolError, Request, Response, Status,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

use super::pods::Pods;
use super::treatment;
use crate::agent::Report;
use crate::metrics::Metrics;

/// The socket's name in the run directory.
const FILE: &str = "agent.sock";
/// Connections that are answered at a time; others wait to be accepted.
const AT_ONCE: usize = 64;
/// A plugin that says nothing for so long is left alone.
const PATIENCE: Duration = Duration::from_secs(2);
/// A runtime may be faster than the API server's watch. Less than the plugin waits.
const WAIT_FOR_POD: Duration = Duration::from_millis(200);
/// Rest where no connection can be accepted, as of a process without free descriptors.
const REST: Duration = Duration::from_millis(100);

/// The socket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}: the CNI plugin asks there", path = path.display())]
pub struct SocketError {
    /// Where.
    pub path: PathBuf,
    /// Cause.
    #[source]
    pub source: io::Error,
}

pub(super) fn path(run_dir: &Path) -> PathBuf {
    run_dir.join(FILE)
}

/// Listens in the run directory, in place of an earlier agent; the agent's lock says that there is no other.
pub fn bind(run_dir: &Path) -> Result<BoundListener, SocketError> {
    let path = path(run_dir);
    let bound = || {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = BoundListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bound().map_err(|source| SocketError { path, source })
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// For a whole exchange; then the plugin is left alone.
    exchange: Duration,
    /// For a pod that is not known yet.
    pod: Duration,
}

/// What answers are made of.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The settings in force are in it.
    report: watch::Receiver<Report>,
    pods: watch::Receiver<Pods>,
    nudge: Arc<Notify>,
    metrics: Arc<Metrics>,
    waits: Waits,
}

/// Answers until the task is dropped.
pub async fn serve(listener: BoundListener, desk: Desk) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    // One that takes longer is asked by nobody any more.
                    let _ = timeout(desk.waits.exchange, desk.attend(stream)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the CNI plugin cannot be heard; trying again");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

impl Desk {
    /// Answers by the settings in a report and by what is known of pods; `nudge` is told that an attachment was made or ended.
    pub fn new(
        report: watch::Receiver<Report>,
        pods: watch::Receiver<Pods>,
        nudge: Arc<Notify>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let waits = Waits {
            exchange: PATIENCE,
            pod: WAIT_FOR_POD,
        };
        Self {
            report,
            pods,
            nudge,
            metrics,
            waits,
        }
    }

    /// Where the other side has gone there is nobody to tell of an error.
    async fn attend(mut self, mut stream: UnixStream) -> io::Result<()> {
        let of = stream.peer_cred()?.uid();
        let response = if of == 0 || of == nix::unistd::geteuid().as_raw() {
            match read(&mut stream).await {
                Ok(request) => self.answer(request).await,
                Err(error) => {
                    self.metrics.attachments.count_request("malformed");
                    Response::refused(with_causes(&error))
                }
            }
        } else {
            self.metrics.attachments.count_request("not_root");
            Response::refused("only root is answered")
        };
        let line = protocol::encode(&response).map_err(io::Error::other)?;
        stream.write_all(&line).await?;
        stream.shutdown().await
    }

    async fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Attach(attach) => {
                self.metrics.attachments.count_request("attach");
                let treatment = timeout(self.waits.pod, self.treatment(&attach)).await;
                // Its record is written after the answer.
                self.nudge.notify_one();
                if let Ok(treatment) = treatment {
                    Response::Treatment(treatment)
                } else {
                    self.metrics.attachments.count_request("unknown_pod");
                    Response::refused(self.why_unknown(&attach))
                }
            }
            Request::Detached(_) => {
                self.metrics.attachments.count_request("detached");
                self.nudge.notify_one();
                Response::Done(Nothing {})
            }
            Request::Status(_) => {
                self.metrics.attachments.count_request("status");
                Response::Status(self.status())
            }
        }
    }

    /// Waits until it can be told.
    async fn treatment(&mut self, attach: &Attach) -> Treatment {
        loop {
            let told = {
                let report = self.report.borrow_and_update();
                let pods = self.pods.borrow_and_update();
                let terms = report.terms.as_ref();
                terms.and_then(|terms| treatment::of_pod(terms, &pods, attach.pod.as_ref()))
            };
            if let Some(treatment) = told {
                return treatment;
            }
            let is_over = tokio::select! {
                changed = self.report.changed() => changed.is_err(),
                changed = self.pods.changed() => changed.is_err(),
            };
            if is_over {
                return std::future::pending().await;
            }
        }
    }

    fn why_unknown(&self, attach: &Attach) -> String {
        if self.report.borrow().terms.is_none() {
            return "the node is not programmed yet".to_owned();
        }
        match &attach.pod {
            Some(pod) => format!(
                "the API server has not told of the pod {}/{}, whose labels decide its class",
                pod.namespace, pod.name
            ),
            None => "the runtime does not say which pod it is, and its labels decide its class"
                .to_owned(),
        }
    }

    /// Ready from the first sync on, be it an earlier agent's whose work the kernel still holds.
    fn status(&self) -> Status {
        let report = self.report.borrow();
        let is_left = report.terms.is_some();
        let message = match (report.mode, &report.failure) {
            (Some(mode), _) => format!("services are programmed in mode {mode}"),
            (None, Some(failure)) => format!("services are not programmed: {failure}"),
            (None, None) if is_left => "services are as an earlier agent left them".to_owned(),
            (None, None) => "services are not programmed yet".to_owned(),
        };
        Status {
            ready: report.mode.is_some() || is_left,
            message,
        }
    }
}

async fn read(stream: &mut UnixStream) -> Result<Request, ProtocolError> {
    let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(limit));
    reader
        .read_until(b'\n', &mut line)
        .await
        .map_err(ProtocolError::Read)?;
    // A line that is cut or too long goes the same way as from any other reader.
    protocol::decode(&protocol::read_line(line.as_slice())?)
}

#[cfg(test)]
mod tests;
