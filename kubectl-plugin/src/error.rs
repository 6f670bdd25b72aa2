//! Why something cannot be told.

use std::io;
use std::path::PathBuf;

use sluice_api_access::AccessError;
use sluice_kube_proxy_config::ConvertError;

/// Errors of the commands. Each says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// How to reach the API server.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// What the API server answers, or that it does not.
    #[error("{0}")]
    Api(String),
    /// The definitions.
    #[error(
        "this cluster does not know {kind} of sluice.dev/v1alpha1, so Sluice is not installed in it: check --context, or install the chart"
    )]
    NotInstalled {
        /// What it does not know.
        kind: &'static str,
    },
    /// A name.
    #[error("there is no node {0}: `kubectl get nodes` has their names")]
    NoNode(String),
    /// An object that cannot be read.
    #[error("node {node} cannot be read: {reason}")]
    Node {
        /// Its name.
        node: String,
        /// Which field, and why.
        reason: String,
    },
    /// A packet.
    #[error("--from {from} and --to {to} are of two families: write both as IPv4 or both as IPv6")]
    Families {
        /// Source.
        from: std::net::IpAddr,
        /// Destination.
        to: std::net::SocketAddr,
    },
    /// kube-proxy's configuration.
    #[error("kube-proxy's configuration in {origin}: {source}")]
    Convert {
        /// Where it is.
        origin: String,
        /// What is wrong.
        source: ConvertError,
    },
    /// A file.
    #[error("{} cannot be read ({source}): give the path of kube-proxy's configuration, or leave --file out", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Of this process.
    #[error("the runtime cannot be started")]
    Runtime(#[source] io::Error),
    /// The report.
    #[error("the answer cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}
