//! What the agent of a node must want, by what the API server holds. Pure; the same code as the agent's, but for what only the node knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use sluice_crds::v1alpha1::{ActiveMode, NodeServiceProxy, ServiceProxyPolicySpec};
use sluice_plan_input::convert;
use sluice_plan_input::settings::{NodeNetworks, detect_local, plan_settings};
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::packet::Packet;
use sluice_service_plan::plan::Plan;
use sluice_service_plan::trace::{Trace, trace, trace_by_ipvs};

use crate::error::PluginError;

/// Where agents tell of their health unless they are told otherwise: the chart's `agent.healthPort`.
pub(super) const HEALTH_PORT: u16 = 10_256;

/// What it is made of.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) node: Node,
    pub(super) proxy: Option<NodeServiceProxy>,
    pub(super) services: Vec<Service>,
    pub(super) slices: Vec<EndpointSlice>,
}

/// A plan, and what it rests on.
#[derive(Debug)]
pub(super) struct Planned {
    catalog: Catalog,
    mode: ActiveMode,
    /// How the node serves, in a sentence.
    pub(super) settings: String,
    /// What is taken for granted, each with how to know.
    pub(super) assumptions: Vec<String>,
    /// Objects that no agent can use, each with why.
    pub(super) refused: Vec<String>,
}

impl Planned {
    pub(super) fn of(objects: Objects) -> Result<Self, PluginError> {
        let name = objects.node.name_any();
        let mut assumptions = Vec::new();
        let mut addresses = told_addresses(&objects.node);
        let mut facts = convert::node(objects.node)
            .map_err(|error| PluginError::Node {
                node: name.clone(),
                reason: error.to_string(),
            })?
            .facts;
        assumptions.push(format!(
            "the node's addresses are those of its object's status ({}): it may have more, which `sluice-agent explain` on the node knows",
            list(&addresses)
        ));
        addresses.extend([
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]);
        facts.addresses = addresses;
        facts.health_port = Some(HEALTH_PORT);

        let policy = policy_of(objects.proxy.as_ref(), &mut assumptions);
        let networks = NodeNetworks {
            pod_cidrs: &facts.pod_cidrs,
            addresses: &facts.addresses,
            // As if all of them were in use, which only the node knows.
            routes: &facts.pod_cidrs,
        };
        let detection = detect_local(&policy.source_nat.detect_local, networks);
        assumptions.push(format!("pods of the node: {}", detection.reason));
        let mut catalog = Catalog::new(facts, plan_settings(&policy, detection.detector));
        let refused = fill(&mut catalog, objects.services, objects.slices);
        catalog.take_changes();
        Ok(Self {
            settings: settings(objects.proxy.as_ref()),
            catalog,
            mode: objects.proxy.map_or(ActiveMode::IPTables, |p| p.spec.mode),
            assumptions,
            refused,
        })
    }

    pub(super) fn plan(&self) -> &Plan {
        self.catalog.plan()
    }

    /// Judges a packet as the data plane does that the node is told to run.
    pub(super) fn trace(&self, packet: &Packet) -> Trace {
        match self.mode {
            ActiveMode::IPTables => trace(packet, self.plan()),
            ActiveMode::IPVS => trace_by_ipvs(packet, self.plan()),
        }
    }
}

/// Those of every type that are addresses; host names are not.
fn told_addresses(node: &Node) -> Vec<IpAddr> {
    let told = node
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten());
    told.filter_map(|entry| entry.address.parse().ok())
        .collect()
}

fn list(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    words.join(", ")
}

fn policy_of(
    proxy: Option<&NodeServiceProxy>,
    assumptions: &mut Vec<String>,
) -> ServiceProxyPolicySpec {
    proxy.map_or_else(
        || {
            assumptions.push(
                "no operator has told the node how to serve: these are the defaults, its agent may have other flags or last settings".to_owned(),
            );
            ServiceProxyPolicySpec::default()
        },
        |proxy| proxy.spec.as_policy(),
    )
}

fn settings(proxy: Option<&NodeServiceProxy>) -> String {
    let Some(proxy) = proxy else {
        return "defaults".to_owned();
    };
    let spec = &proxy.spec;
    let told = format!(
        "policy {}, mode {}, revision {}",
        spec.policy, spec.mode, spec.revision
    );
    let observed = proxy
        .status
        .as_ref()
        .and_then(|status| status.observed_revision.as_ref());
    match observed {
        Some(observed) if *observed == spec.revision => told,
        Some(observed) => format!("{told}; the node still has {observed}"),
        None => format!("{told}; no agent has reported from the node"),
    }
}

/// Returns what could not be used.
fn fill(catalog: &mut Catalog, services: Vec<Service>, slices: Vec<EndpointSlice>) -> Vec<String> {
    let named = |kind: &str, namespace: Option<String>, name: String| {
        format!("{kind} {}/{name}", namespace.unwrap_or_default())
    };
    let mut refused = Vec::new();
    for object in services {
        let what = named("Service", object.namespace(), object.name_any());
        match convert::service(object) {
            Ok(service) => catalog.set_service(service),
            Err(error) => refused.push(format!("{what}: {error}")),
        }
    }
    for object in slices {
        let what = named("EndpointSlice", object.namespace(), object.name_any());
        // Those of no service are nobody's business.
        if object.labels().contains_key("kubernetes.io/service-name") {
            match convert::endpoint_slice(object) {
                Ok(slice) => catalog.set_slice(slice),
                Err(error) => refused.push(format!("{what}: {error}")),
            }
        }
    }
    refused
}
