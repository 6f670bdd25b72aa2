//! `kubectl sluice diff`

mod kernel;
mod report;
#[cfg(test)]
mod tests;
mod told;

use clap::Args;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use sluice_crds::v1alpha1::NodeServiceProxy;

use self::report::DiffReport;
use self::told::told;
use crate::cli::{Outcome, exit_code};
use crate::cluster::Cluster;
use crate::error::PluginError;
use crate::output::{Output, written};
use crate::style::Style;

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The node to look at
    #[arg(long, value_name = "NODE")]
    node: String,
    /// Compare only what the API server tells: nothing is run in the agent's pod
    #[arg(long)]
    no_exec: bool,
}

pub(crate) async fn diff(
    cluster: &Cluster,
    args: &DiffArgs,
    output: Output,
    style: Style,
) -> Result<Outcome, PluginError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    if cluster.get(&nodes, "nodes", &args.node).await?.is_none() {
        return Err(PluginError::NoNode(args.node.clone()));
    }
    let proxies: Vec<NodeServiceProxy> = cluster.list_own("nodeserviceproxies").await?;
    let is_of_node = |proxy: &&NodeServiceProxy| proxy.metadata.name.as_ref() == Some(&args.node);
    let report = DiffReport {
        node: args.node.clone(),
        told: told(proxies.iter().find(is_of_node)),
        kernel: if args.no_exec {
            None
        } else {
            Some(kernel::compare(cluster, &args.node).await?)
        },
    };
    let code = if !report.is_known() {
        exit_code::FAILED
    } else if report.differs() {
        exit_code::NO
    } else {
        exit_code::DONE
    };
    let text = written(&report, output, |report| report.text(style))?;
    Ok(Outcome { text, code })
}
