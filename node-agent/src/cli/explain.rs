//! `sluice-agent explain`

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use clap::Args;

use sluice_kernel::iptables::Family;
use sluice_service_plan::model::Protocol;
use sluice_service_plan::packet::{Origin, Packet};
use sluice_service_plan::trace::{Trace, Verdict, trace};

use super::manifests::{ManifestArgs, mode_of, variant_of};
use super::objects::objects_of;
use super::snapshot::Snapshot;
use super::{CliError, Outcome};

/// Endpoints named one by one; of more, the number is told.
const NAMED: usize = 50;

/// Which packet.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    manifests: ManifestArgs,
    /// Source address of the packet
    #[arg(long, value_name = "IP")]
    from: IpAddr,
    /// Where it is sent: ADDRESS:PORT or ADDRESS:PORT/PROTOCOL (tcp, udp, sctp) [default protocol: tcp]
    #[arg(long, value_name = "IP:PORT[/PROTOCOL]", value_parser = destination)]
    to: (SocketAddr, Protocol),
    /// Interface it arrives on; without it, a source address of the node means that the node itself sends it
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Class of the pod that sends it (sourceNAT.podClasses); without it, a pod of no class
    #[arg(long, value_name = "NAME")]
    pod_class: Option<String>,
}

fn destination(text: &str) -> Result<(SocketAddr, Protocol), String> {
    let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = Protocol::ALL
        .into_iter()
        .find(|one| one.as_str().eq_ignore_ascii_case(protocol))
        .ok_or_else(|| format!("{protocol} is no protocol of Services: write tcp, udp or sctp"))?;
    let address = address.parse().map_err(|_| {
        format!("{address} is not ADDRESS:PORT: write 10.96.0.1:443 or [fd00::1]:443")
    })?;
    Ok((address, protocol))
}

pub(super) fn explain(args: &ExplainArgs) -> Result<Outcome, CliError> {
    let desired = args.manifests.desired()?;
    let plan = desired.plan();
    let (to, protocol) = args.to;
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
    let trace = trace(&packet, plan);
    let programmed = Snapshot::of_plan(plan, variant_of(&desired), mode_of(&desired), &[family])?;

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
    tell_endpoints(&trace, &mut outcome);
    Ok(outcome)
}

fn tell_endpoints(trace: &Trace, outcome: &mut Outcome) {
    let Verdict::Balance { endpoints, .. } = &trace.verdict else {
        return;
    };
    let weights: u64 = endpoints
        .iter()
        .map(|endpoint| u64::from(endpoint.weight))
        .sum();
    for endpoint in endpoints.iter().take(NAMED) {
        let source = if trace.masqueraded(endpoint) {
            "source of this node"
        } else {
            "source kept"
        };
        let place = if endpoint.local {
            "on this node"
        } else {
            "on another node"
        };
        outcome.line(format_args!(
            "  {} ({} of {weights}), {place}, {source}",
            endpoint.address, endpoint.weight
        ));
    }
    if let Some(more @ 1..) = endpoints.len().checked_sub(NAMED) {
        outcome.line(format_args!("  and {more} more"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_with_and_without_a_protocol() {
        assert_eq!(
            destination("10.0.0.1:80").unwrap(),
            ("10.0.0.1:80".parse().unwrap(), Protocol::Tcp)
        );
        assert_eq!(destination("[fd00::1]:53/UDP").unwrap().1, Protocol::Udp);
        assert!(
            destination("10.0.0.1")
                .unwrap_err()
                .contains("ADDRESS:PORT")
        );
        assert!(
            destination("10.0.0.1:80/icmp")
                .unwrap_err()
                .contains("sctp")
        );
    }
}
