//! An agent that answers as a test says.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use sluice_attachment::protocol::{Request, Response, decode, encode, read_line};

use super::AttachError;

type Answer = dyn Fn(&Request) -> Response + Send + Sync;

/// Serves the agent's socket until it is dropped, each question on a thread of its own.
#[derive(Debug)]
pub struct ScriptedAgent {
    path: PathBuf,
    heard: Arc<Mutex<Vec<Request>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedAgent {
    /// Answers what `answer` says; it may take its time.
    pub fn start(
        path: &Path,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Result<Self, AttachError> {
        let listener = UnixListener::bind(path).map_err(AttachError::Agent)?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let (log, end) = (Arc::clone(&heard), Arc::clone(&ending));
        let answer: Arc<Answer> = Arc::new(answer);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Ok(Self {
            path: path.to_path_buf(),
            heard,
            ending,
            thread: Some(thread),
        })
    }

    /// What it was asked and told so far.
    pub fn heard(&self) -> Vec<Request> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for ScriptedAgent {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A plugin that went away misses its answer.
fn serve(mut stream: UnixStream, answer: &Answer, log: &Mutex<Vec<Request>>) {
    let Ok(line) = read_line(&mut stream) else {
        return;
    };
    let response = match decode::<Request>(&line) {
        Ok(request) => {
            let response = answer(&request);
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(request);
            response
        }
        Err(error) => Response::refused(error.to_string()),
    };
    if let Ok(line) = encode(&response) {
        let _ = stream.write_all(&line);
    }
}
