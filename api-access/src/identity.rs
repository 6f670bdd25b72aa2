//! A client certificate in files counts anew when it is replaced, as tokens and certificate authorities in files do.

use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Client, Config};
use tower::Service;

use crate::connection;

/// As often as kube looks at the other files.
const LOOK: Duration = Duration::from_secs(60);

/// A client that is made anew when its certificate is: kube reads that once, when a client is made.
///
/// Requests that are under way stay with the client that they began with, long watches among them.
pub(crate) struct Renewed {
    config: Config,
    files: Vec<PathBuf>,
    /// What was in them when the client was made.
    read: Contents,
    client: Client,
    next_look: Instant,
}

/// Of each file; absent where it cannot be read.
type Contents = Vec<Option<Vec<u8>>>;

impl Renewed {
    /// Wants to be called in a runtime.
    pub(crate) fn new(config: Config) -> kube::Result<Self> {
        let files = files(&config.auth_info);
        Ok(Self {
            // Before the client: what changes in between is seen at the next look.
            read: contents(&files),
            client: connection::client(config.clone())?,
            config,
            files,
            next_look: Instant::now() + LOOK,
        })
    }

    fn look(&mut self) {
        if Instant::now() < self.next_look {
            return;
        }
        self.next_look = Instant::now() + LOOK;
        let read = contents(&self.files);
        if read == self.read {
            return;
        }
        // A file that is half written, or a key whose certificate comes a moment later, is looked at again next time.
        if let Ok(client) = connection::client(self.config.clone()) {
            self.client = client;
            self.read = read;
        }
    }
}

/// Those of the certificate and its key. What the kubeconfig has itself goes before a file.
fn files(user: &AuthInfo) -> Vec<PathBuf> {
    let certificate = user.client_certificate.as_ref();
    let certificate = certificate.filter(|_| user.client_certificate_data.is_none());
    let key = user.client_key.as_ref();
    let key = key.filter(|_| user.client_key_data.is_none());
    certificate
        .into_iter()
        .chain(key)
        .map(PathBuf::from)
        .collect()
}

fn contents(files: &[PathBuf]) -> Contents {
    files.iter().map(|file| std::fs::read(file).ok()).collect()
}

impl Service<Request<Body>> for Renewed {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, kube::Result<Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<kube::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.look();
        let client = self.client.clone();
        async move { client.send(request).await }.boxed()
    }
}

#[cfg(test)]
mod tests;
