//! How the API server is reached: by a kubeconfig, or as a pod of the cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A server that does not take a connection for so long is tried again.
const CONNECT: Duration = Duration::from_secs(10);
/// Watches are told something every minute: one that is silent for longer is dead, and begun anew.
const SILENCE: Duration = Duration::from_secs(150);
/// The lease's holder knows before it expires that it cannot renew it.
const LEASE_ANSWER: Duration = Duration::from_secs(4);
/// Where the kubelet mounts the namespace of a pod's service account.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Where nobody says which.
const NAMESPACE: &str = "sluice-system";

/// Why it is not known how to reach an API server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The kubeconfig.
    #[error(
        "kubeconfig {} cannot be used ({reason}): check that it can be read, and that its current context has a cluster and a user",
        path.display()
    )]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Not in a pod, or one without a service account.
    #[error(
        "this is no pod with a service account ({0}): give --kubeconfig, or let the pod mount its token"
    )]
    NotInCluster(#[source] InClusterError),
    /// Certificates or tokens that no client can be made of.
    #[error(
        "the API server cannot be spoken to with these credentials ({0}): check certificate authority, client certificate and token"
    )]
    Credentials(String),
}

/// A client, and the namespace that the operator runs in.
pub(crate) struct Access {
    pub(crate) client: Client,
    /// For the lease: it waits for no answer longer than a lease may wait.
    pub(crate) lease_client: Client,
    pub(crate) namespace: String,
}

impl Access {
    /// By a kubeconfig, else as a pod.
    pub(crate) async fn open(
        kubeconfig: Option<&Path>,
        namespace: Option<String>,
    ) -> Result<Self, AccessError> {
        let mut config = match kubeconfig {
            Some(path) => {
                let refused = |reason: &dyn std::error::Error| AccessError::Kubeconfig {
                    path: path.to_owned(),
                    reason: with_causes(reason),
                };
                let read = Kubeconfig::read_from(path).map_err(|error| refused(&error))?;
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(read, &options).await;
                config.map_err(|error| refused(&error))?
            }
            None => Config::incluster().map_err(AccessError::NotInCluster)?,
        };
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        let mut hasty = config.clone();
        hasty.connect_timeout = Some(LEASE_ANSWER);
        hasty.read_timeout = Some(LEASE_ANSWER);
        hasty.write_timeout = Some(LEASE_ANSWER);
        let client_of = |config: Config| {
            let client = Client::try_from(config);
            client.map_err(|error| AccessError::Credentials(with_causes(&error)))
        };
        let (client, lease_client) = (client_of(config)?, client_of(hasty)?);
        let mounted = || std::fs::read_to_string(NAMESPACE_FILE).ok();
        let namespace = namespace
            .or_else(mounted)
            .map_or_else(|| NAMESPACE.to_owned(), |name| name.trim().to_owned());
        Ok(Self {
            client,
            lease_client,
            namespace,
        })
    }
}

/// An error and what is behind it, as far as that says more.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        cause = inner.source();
    }
    words
}
