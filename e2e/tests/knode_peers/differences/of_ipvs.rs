//! What kube-proxy's IPVS mode alone does: mostly because a virtual server has one set of endpoints for all who use it.

use sluice_e2e::lab::places::{A1, A3, B1, B2, CLIENT, NODE};
use sluice_e2e::packets::Row;
use sluice_e2e::packets::row::{Expect, Source, Untouched, reaches};
use sluice_e2e::packets::surroundings::Surrounding;
use sluice_service_plan::model::TrafficPolicy;

use super::Difference;
use crate::peers::Mode;

pub(super) const OF_IPVS: &[Difference] = &[
    Difference {
        title: "Internal policy Local without an endpoint on the node",
        modes: &[Mode::Ipvs],
        rows: |row| {
            let mut services = row.scene.services.iter();
            row.expect == Expect::Dropped
                && services.any(|one| one.internal_policy == TrafficPolicy::Local)
        },
        instead: |_, _| Expect::Rejected,
        may_be_missed: false,
        kube_proxy: "refuses, as a virtual server without endpoints does.",
        sluice: "gives no answer in either mode, as kube-proxy's other modes.",
        reason: "A refusal says that nobody serves, and other nodes do.",
    },
    Difference {
        title: "External policy Local, from the node itself",
        modes: &[Mode::Ipvs],
        rows: |row| {
            row.packet.from == [NODE] && external_local(row) && row.expect != Expect::Dropped
        },
        instead: |_, _| reaches([A1], Source::Kept),
        may_be_missed: false,
        kube_proxy: "reaches the node's own endpoints only.",
        sluice: "reaches all endpoints in either mode, as kube-proxy's other modes.",
        reason: "The policy is for clients outside; what comes from the node is traffic of the cluster (kubernetes/kubernetes#77523).",
    },
    Difference {
        title: "External policy Local where only other nodes have endpoints",
        modes: &[Mode::Ipvs],
        rows: |row| {
            row.packet.from == [CLIENT] && external_local(row) && row.expect == Expect::Dropped
        },
        instead: |_, _| reaches([B1, B2], Source::Kept),
        may_be_missed: false,
        kube_proxy: "leads a client outside to the other nodes' endpoints, as itself: where replies do not come back through this node, \
                     the connection fails.",
        sluice: "drops the client's packets in either mode, as kube-proxy's other modes.",
        reason: "The virtual server gets all endpoints so that the node's own packets find one (kubernetes/kubernetes#93456). Sluice has \
                 two virtual servers there, one for clients inside.",
    },
    Difference {
        title: "Host ports of pods on service addresses",
        modes: &[Mode::Ipvs],
        rows: |row| {
            row.expect == Expect::Rejected
                && row.scene.surroundings.contains(&Surrounding::HostPort)
        },
        instead: |_, _| Expect::NotOurs(Untouched::Has(A3.name)),
        may_be_missed: false,
        kube_proxy: "lets a pod's `hostPort` answer on every service address, since it makes these the node's own.",
        sluice: "refuses, as on every port that the service does not list.",
        reason: "A service's address is nobody else's (for the node's own programs kubernetes/kubernetes#72236 says so).",
    },
];

fn external_local(row: &Row) -> bool {
    let mut services = row.scene.services.iter();
    services.any(|one| one.external_policy == TrafficPolicy::Local)
}
