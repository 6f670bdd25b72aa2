//! How the operator reaches its API server.

use std::time::Duration;

use kube::Client;
use sluice_api_access::{AccessError, Authority, Requests};

/// The lease's holder knows before it expires that it cannot renew it.
const LEASE_ANSWER: Duration = Duration::from_secs(4);
/// Where the kubelet mounts the namespace of a pod's service account.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Where nobody says which.
const NAMESPACE: &str = "sluice-system";

/// A client, and the namespace that the operator runs in.
pub(crate) struct Access {
    pub(crate) client: Client,
    /// For the lease: it waits for no answer longer than a lease may wait.
    pub(crate) lease_client: Client,
    pub(crate) authority: Authority,
    pub(crate) namespace: String,
}

impl Access {
    /// By a kubeconfig, else as a pod.
    pub(crate) async fn open(
        access: sluice_api_access::Access,
        namespace: Option<String>,
        requests: &Requests,
    ) -> Result<Self, AccessError> {
        let opened = access.open().await?;
        let mut hasty = opened.clone();
        // Whoever holds the lease tries again by itself.
        hasty.config.default_retry = false;
        hasty.config.connect_timeout = Some(LEASE_ANSWER);
        hasty.config.read_timeout = Some(LEASE_ANSWER);
        hasty.config.write_timeout = Some(LEASE_ANSWER);
        let mounted = || std::fs::read_to_string(NAMESPACE_FILE).ok();
        let namespace = namespace
            .or_else(mounted)
            .map_or_else(|| NAMESPACE.to_owned(), |name| name.trim().to_owned());
        Ok(Self {
            client: opened.client(requests)?,
            lease_client: hasty.client(requests)?,
            authority: opened.authority,
            namespace,
        })
    }
}
