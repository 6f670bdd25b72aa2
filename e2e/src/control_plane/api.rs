//! Requests to the API server as they are, where `kubectl` would keep part of the answer to itself.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::error::{ControlPlaneError, failed};
use super::{LOOKS_EVERY, PATIENCE};
use crate::server_process::Server;

/// A `kubectl proxy`, which knows certificate and token: on its socket HTTP without them is enough.
#[derive(Debug)]
pub struct Api {
    socket: PathBuf,
    proxy: Server,
}

/// What the API server answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code of HTTP.
    pub code: u16,
    /// The object, or the `Status` that says why there is none.
    pub body: Value,
}

impl Reply {
    /// Whether it did what was asked.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

impl Api {
    pub(super) fn start(
        kubectl: &Path,
        environment: &[String],
        socket: PathBuf,
        log: &Path,
    ) -> Result<Self, ControlPlaneError> {
        let mut arguments = environment.to_vec();
        arguments.extend([
            kubectl.display().to_string(),
            "proxy".to_owned(),
            format!("--unix-socket={}", socket.display()),
        ]);
        let cannot = || failed("start kubectl proxy");
        let proxy = Server::start(Path::new("env"), &arguments, log).map_err(cannot())?;
        let mut api = Self { socket, proxy };
        let begun = Instant::now();
        while let Err(error) = UnixStream::connect(&api.socket) {
            if let Some(status) = api.proxy.ended().map_err(cannot())? {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                return Err(cannot()(io::Error::other(format!("{status}: {log}"))));
            }
            if begun.elapsed() > PATIENCE {
                return Err(cannot()(error));
            }
            std::thread::sleep(LOOKS_EVERY);
        }
        Ok(api)
    }

    /// Reads what is at the path, such as `/api/v1/services`.
    pub fn get(&self, path: &str) -> Result<Reply, ControlPlaneError> {
        self.send("GET", path, None)
    }

    /// Makes an object. The path may end in a query, such as `?fieldValidation=Strict`.
    pub fn post(&self, path: &str, object: &Value) -> Result<Reply, ControlPlaneError> {
        self.send("POST", path, Some(object))
    }

    /// Replaces an object, or a subresource of it.
    pub fn put(&self, path: &str, object: &Value) -> Result<Reply, ControlPlaneError> {
        self.send("PUT", path, Some(object))
    }

    /// Deletes an object.
    pub fn delete(&self, path: &str) -> Result<Reply, ControlPlaneError> {
        self.send("DELETE", path, None)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        object: Option<&Value>,
    ) -> Result<Reply, ControlPlaneError> {
        let body = object.map(Value::to_string).unwrap_or_default();
        // With HTTP/1.0 an answer comes in one piece and ends with the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchange = || {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            reply(&answer)
        };
        exchange().map_err(failed(format!("{method} {path}")))
    }
}

fn reply(answer: &str) -> io::Result<Reply> {
    let parts = || {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some((code, serde_json::from_str(body).ok()?))
    };
    let (code, body) =
        parts().ok_or_else(|| io::Error::other(format!("no answer of an API server: {answer}")))?;
    Ok(Reply { code, body })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_a_code_and_an_object() {
        let read =
            reply("HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\n{\"a\": 1}\n").unwrap();
        assert_eq!((read.code, &read.body), (404, &json!({"a": 1})));
        assert!(!read.is_success());
        for not_one in ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\n\r\nok"] {
            assert!(reply(not_one).is_err(), "{not_one}");
        }
    }
}
