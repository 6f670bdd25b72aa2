//! `sluice-agent explain`

use std::net::IpAddr;
use std::sync::Arc;

use clap::Args;

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::Family;
use sluice_service_plan::destination::Destination;
use sluice_service_plan::model::NodeFacts;
use sluice_service_plan::packet::{Origin, Packet};
use sluice_service_plan::plan::Plan;
use sluice_service_plan::trace::{trace, trace_by_ipvs};

use super::listening::HealthArgs;
use super::node::{mode_of, variant_of};
use super::objects::objects_of;
use super::snapshot::Snapshot;
use super::source::SourceArgs;
use super::{CliError, Outcome};
use crate::family::is_link_local;

/// Which packet.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    health: HealthArgs,
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

pub(super) fn explain(args: &ExplainArgs) -> Result<Outcome, CliError> {
    let desired = args.source.desired(args.health.port())?;
    let plan = desired.plan();
    let Destination {
        address: to,
        protocol,
    } = args.to;
    let packet = Packet {
        protocol,
        source: args.from,
        destination: to,
        origin: match &args.interface {
            Some(name) => Origin::Interface(name.clone()),
            None => Origin::of_source(args.from, &plan.node),
        },
        class: args.pod_class.as_deref().map(Arc::from),
    };
    let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
    let mode = mode_of(&desired);
    let trace = match mode {
        ActiveMode::IPTables => trace(&packet, plan),
        ActiveMode::IPVS => trace_by_ipvs(&packet, &without_link_local(plan)),
    };
    let programmed = Snapshot::of_plan(plan, variant_of(&desired), mode, &[family])?;

    let mut outcome = Outcome::default();
    outcome.line(format_args!("{packet}"));
    if let Some(name) = &args.pod_class
        && !plan
            .settings
            .pod_classes
            .iter()
            .any(|class| *class.name == **name)
    {
        outcome.line(format_args!("  the policy has no pod class {name}"));
    }
    for (number, step) in trace.steps.iter().enumerate() {
        outcome.line(format_args!("{:3}. {step}", number + 1));
        for object in objects_of(step, &packet, &trace, &programmed) {
            outcome.line(format_args!("       {object}"));
        }
    }
    outcome.line(format_args!("verdict: {}", trace.verdict));
    for line in trace.endpoint_lines() {
        outcome.line(format_args!("  {line}"));
    }
    Ok(outcome)
}

/// IPVS serves node ports on all addresses of the node but these.
fn without_link_local(plan: &Plan) -> Plan {
    let mut node = NodeFacts::clone(&plan.node);
    node.addresses.retain(|ip| !is_link_local(ip));
    Plan {
        node: Arc::new(node),
        ..plan.clone()
    }
}
