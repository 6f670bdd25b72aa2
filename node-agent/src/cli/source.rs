//! The flags that say where Services come from.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sluice_api_access::Access;

use super::CliError;
use super::node::{NodeArgs, desired_of};
use crate::agent::Desired;
use crate::source::cluster::SettingsFile;
use crate::source::{ClusterSource, Source};

/// In a pod the kubelet sets it.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// For everything that an API server lists, where somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of them, or none in a pod of a cluster.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// Directory of manifests: YAML or JSON files with Services, `EndpointSlices`, the Node and a `ServiceProxyPolicy`
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "in_cluster", "api_server"])]
    manifests: Option<PathBuf>,
    /// The cluster of this kubeconfig
    #[arg(long, value_name = "FILE", conflicts_with = "in_cluster")]
    kubeconfig: Option<PathBuf>,
    /// The cluster that this is a pod of, by the pod's service account [default where `KUBERNETES_SERVICE_HOST` is set]
    #[arg(long)]
    in_cluster: bool,
    /// Address of the API server, instead of the one that kubeconfig or pod name: a Service's is not there before the agent has programmed it
    #[arg(long, value_name = "URL", env = "SLUICE_API_SERVER")]
    api_server: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

impl SourceArgs {
    /// The source, which keeps its last good state in `state_dir`.
    pub(super) fn source(&self, state_dir: &std::path::Path) -> Result<Box<dyn Source>, CliError> {
        if let Some(directory) = &self.manifests {
            let source = self.node.source(directory)?;
            let last_good = state_dir.join("manifests");
            return Ok(Box::new(source.with_last_good(last_good).watch()));
        }
        let file = SettingsFile::new(state_dir);
        Ok(Box::new(self.cluster(Some(file))?))
    }

    /// What an agent with this health port would want this node to do now. Nothing is written.
    pub(super) fn desired(&self, health_port: Option<u16>) -> Result<Desired, CliError> {
        let update = if let Some(directory) = &self.manifests {
            self.node.source(directory)?.load()?
        } else {
            let told = self.cluster(None)?.next_update(PATIENCE)?;
            told.ok_or(CliError::NoAnswer(PATIENCE.as_secs()))?
        };
        desired_of(update, health_port)
    }

    /// The same, or where nothing says where Services come from, what the flags alone would mean; tells whether it is that.
    pub(super) fn desired_or_by_flags(&self) -> Result<(Desired, bool), CliError> {
        if self.manifests.is_some() || self.kubeconfig.is_some() || self.is_in_cluster() {
            return Ok((self.desired(None)?, false));
        }
        Ok((desired_of(self.node.update()?, None)?, true))
    }

    fn is_in_cluster(&self) -> bool {
        self.in_cluster || std::env::var_os(IN_CLUSTER).is_some()
    }

    fn cluster(&self, file: Option<SettingsFile>) -> Result<ClusterSource, CliError> {
        if self.kubeconfig.is_none() && !self.is_in_cluster() {
            return Err(CliError::NoSource);
        }
        let access = Access {
            kubeconfig: self.kubeconfig.clone(),
            server: self.api_server.clone(),
        };
        let (name, policy) = (self.node.name()?, self.node.policy()?);
        Ok(ClusterSource::open(&access, &name, policy, file)?)
    }
}
