//! Why it is not known how to reach an API server.

use std::io;
use std::path::PathBuf;

use kube::config::InClusterError;

use crate::Authority;

/// Errors of [`Access`](crate::Access).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// There is no kubeconfig, or it is not for us to read.
    #[error("kubeconfig {} cannot be read ({source}): {}", path.display(), reading(source))]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the kubeconfig.
    #[error(
        "kubeconfig {} cannot be used ({reason}): check that it is YAML, that its current context has a cluster and a user, and that the \
         files it names are there", path.display()
    )]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// Why, with all causes.
        reason: String,
    },
    /// A context that the kubeconfig does not have.
    #[error("kubeconfig {} has no context {context}: write one of {known}", path.display())]
    Context {
        /// Its path.
        path: PathBuf,
        /// What was asked for.
        context: String,
        /// Those that it has.
        known: String,
    },
    /// Not in a pod, or one without a service account.
    #[error(
        "this is no pod with a service account ({0}): give --kubeconfig, or let the pod mount its token"
    )]
    NotInCluster(InClusterError),
    /// The address of the server.
    #[error("--api-server {address:?} is no address ({reason}): write it as https://HOST:PORT")]
    Address {
        /// What was given.
        address: String,
        /// Why not.
        reason: String,
    },
    /// Certificates or tokens that no client can be made of.
    #[error(
        "the API server cannot be spoken to with these credentials ({reason}): check {authority}, client certificate and token"
    )]
    Credentials {
        /// Where they are.
        authority: Authority,
        /// Why, with all causes.
        reason: String,
    },
}

fn reading(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "put one there, or give the path of another by --kubeconfig",
        io::ErrorKind::PermissionDenied => "let the user that this runs as read it",
        _ => "check that it is a file, and what is in it",
    }
}
