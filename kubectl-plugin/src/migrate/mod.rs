//! `kubectl sluice migrate`

mod agent_values;
mod api_server;
mod configuration;
mod features;
mod report;
mod steps;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;

use self::report::{Found, MigrateReport};
use crate::cli::{Outcome, exit_code};
use crate::cluster::Cluster;
use crate::error::PluginError;
use crate::output::{Output, written};
use crate::style::Style;

/// Where kube-proxy usually is.
const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-proxy";

/// What to go by.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// A `KubeProxyConfiguration`, or the `ConfigMap` that holds one, in YAML or JSON [default: `ConfigMap` kube-system/kube-proxy]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(crate) async fn migrate(
    cluster: &Cluster,
    args: &MigrateArgs,
    output: Output,
    style: Style,
) -> Result<Outcome, PluginError> {
    let configuration = configuration::read(cluster, args.file.as_deref()).await?;
    let client = || cluster.client.clone();
    let daemon_sets: Api<DaemonSet> = Api::namespaced(client(), NAMESPACE);
    let services: Api<Service> = Api::all(client());
    let nodes: Api<Node> = Api::all(client());
    let slices: Api<EndpointSlice> = Api::namespaced(client(), "default");
    let of_api_server = ListParams::default().labels("kubernetes.io/service-name=kubernetes");
    let found = Found {
        configuration,
        daemon_set: cluster.get(&daemon_sets, "daemonsets", NAME).await?,
        services: cluster
            .list(&services, "services", ListParams::default())
            .await?,
        nodes: cluster.list(&nodes, "nodes", ListParams::default()).await?,
        api_endpoints: cluster
            .list(&slices, "endpointslices", of_api_server)
            .await?,
        server: cluster.server().to_owned(),
    };
    let report = MigrateReport::of(&found)?;
    let text = written(&report, output, |report| report.text(style))?;
    Ok(Outcome {
        text,
        code: exit_code::DONE,
    })
}
