//! `kubectl sluice explain`

mod planned;
mod report;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use clap::Args;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use sluice_crds::v1alpha1::NodeServiceProxy;
use sluice_service_plan::destination::Destination;
use sluice_service_plan::packet::{Origin, Packet};

use self::planned::{Objects, Planned};
use self::report::ExplainReport;
use crate::cli::{Outcome, exit_code};
use crate::cluster::Cluster;
use crate::error::PluginError;
use crate::output::{Output, written};
use crate::style::Style;

/// Which packet, where.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The node that the packet enters
    #[arg(long, value_name = "NODE")]
    node: String,
    /// Source address of the packet
    #[arg(long, value_name = "IP")]
    from: IpAddr,
    /// Where it is sent: ADDRESS:PORT or ADDRESS:PORT/PROTOCOL (tcp, udp, sctp) [default protocol: tcp]
    #[arg(long, value_name = "IP:PORT[/PROTOCOL]")]
    to: Destination,
    /// Interface it arrives on; without it, a source address of the node means that the node itself sends it
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Class of the pod that sends it (sourceNAT.podClasses); without it, a pod of no class
    #[arg(long, value_name = "NAME")]
    pod_class: Option<String>,
}

pub(crate) async fn explain(
    cluster: &Cluster,
    args: &ExplainArgs,
    output: Output,
    style: Style,
) -> Result<Outcome, PluginError> {
    if args.from.is_ipv4() != args.to.address.is_ipv4() {
        return Err(PluginError::Families {
            from: args.from,
            to: args.to.address,
        });
    }
    let planned = Planned::of(read(cluster, &args.node).await?)?;
    let packet = Packet {
        protocol: args.to.protocol,
        source: args.from,
        destination: args.to.address,
        origin: match &args.interface {
            Some(name) => Origin::Interface(name.clone()),
            None => Origin::of_source(args.from, &planned.plan().node),
        },
        class: args.pod_class.as_deref().map(Arc::from),
    };
    let report = ExplainReport::of(&args.node, &packet, &planned);
    let text = written(&report, output, |report| report.text(style))?;
    Ok(Outcome {
        text,
        code: exit_code::DONE,
    })
}

async fn read(cluster: &Cluster, name: &str) -> Result<Objects, PluginError> {
    let client = || cluster.client.clone();
    let nodes: Api<Node> = Api::all(client());
    // As a list of one, since whoever may see the rest may list nodes.
    let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
    let nodes = cluster.list(&nodes, "nodes", by_name).await?;
    let node = nodes.into_iter().next();
    let node = node.ok_or_else(|| PluginError::NoNode(name.to_owned()))?;
    // Asked for as a list, so that definitions that are not there are told from a node that was told nothing.
    let proxies: Vec<NodeServiceProxy> = cluster.list_own("nodeserviceproxies").await?;
    let (services, slices) = (
        Api::<Service>::all(client()),
        Api::<EndpointSlice>::all(client()),
    );
    let all = ListParams::default;
    Ok(Objects {
        node,
        proxy: proxies
            .into_iter()
            .find(|proxy| proxy.metadata.name.as_deref() == Some(name)),
        services: cluster.list(&services, "services", all()).await?,
        slices: cluster.list(&slices, "endpointslices", all()).await?,
    })
}
