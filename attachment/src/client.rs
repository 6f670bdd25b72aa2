//! Asking the agent.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::protocol::{self, ProtocolError, Request, Response};

/// Asks the agent at a unix socket, each question by a connection of its own, and never waits longer than told.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("the agent is not there: cannot connect to {}", socket.display())]
    Away {
        /// Path of the socket.
        socket: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It did not take the connection, read the question or answer in time.
    #[error("the agent at {} did not answer within {patience:?}", socket.display())]
    Late {
        /// Path of the socket.
        socket: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// The connection broke.
    #[error("the conversation with the agent at {} broke off", socket.display())]
    Broken {
        /// Path of the socket.
        socket: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// What it said is not understood, or what is to be said is too long.
    #[error("the agent at {} is not understood", socket.display())]
    Protocol {
        /// Path of the socket.
        socket: PathBuf,
        /// Cause.
        #[source]
        source: ProtocolError,
    },
    /// It answered another question, or refused this one.
    #[error("the agent does not answer: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}

impl Client {
    /// One that waits up to `patience` for each answer, connecting included.
    pub fn new(socket: impl Into<PathBuf>, patience: Duration) -> Self {
        Self {
            socket: socket.into(),
            patience,
        }
    }

    /// The answer to a question; a refusal is an error.
    pub fn ask(&self, request: &Request) -> Result<Response, ClientError> {
        let line = protocol::encode(request).map_err(|source| self.misunderstood(source))?;
        let mut stream = TimedStream {
            deadline: Instant::now() + self.patience,
            stream: None,
        };
        stream
            .connect(&self.socket)
            .map_err(|source| self.failed(source, true))?;
        stream
            .write_all(&line)
            .map_err(|source| self.failed(source, false))?;
        let answer = protocol::read_line(&mut stream).map_err(|error| match error {
            ProtocolError::Read(source) => self.failed(source, false),
            other => self.misunderstood(other),
        })?;
        match protocol::decode(&answer).map_err(|source| self.misunderstood(source))? {
            Response::Refused(refused) => Err(ClientError::Refused {
                reason: refused.reason,
            }),
            response => Ok(response),
        }
    }

    fn failed(&self, source: io::Error, connecting: bool) -> ClientError {
        let socket = self.socket.clone();
        match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Late {
                socket,
                patience: self.patience,
            },
            _ if connecting => ClientError::Away { socket, source },
            _ => ClientError::Broken { socket, source },
        }
    }

    fn misunderstood(&self, source: ProtocolError) -> ClientError {
        ClientError::Protocol {
            socket: self.socket.clone(),
            source,
        }
    }
}

/// A connection whose every step ends at the deadline.
struct TimedStream {
    deadline: Instant,
    stream: Option<UnixStream>,
}

impl TimedStream {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    }

    /// The kernel waits for room in the listener's queue as long as a send may last.
    fn connect(&mut self, path: &Path) -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_write_timeout(Some(self.left()?))?;
        socket.connect(&SockAddr::unix(path)?)?;
        self.stream = Some(socket.into());
        Ok(())
    }

    fn ready(&mut self) -> io::Result<(&mut UnixStream, Duration)> {
        let left = self.left()?;
        match &mut self.stream {
            Some(stream) => Ok((stream, left)),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl io::Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (stream, left) = self.ready()?;
        stream.set_read_timeout(Some(left))?;
        stream.read(buffer)
    }
}

impl Write for TimedStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let (stream, left) = self.ready()?;
        stream.set_write_timeout(Some(left))?;
        stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
