//! The rows for machines on which a change takes seconds: of each kind of behaviour one, over IPv4 and TCP.

use sluice_e2e::packets::Row;
use sluice_service_plan::model::{Family, Protocol};

use crate::rows::family;

/// Their sentences; those of one scene stand together and cost one change.
const SENTENCES: [&str; 47] = [
    // Every kind of frontend, from everywhere.
    "a pod reaches every endpoint by the cluster IP",
    "the node reaches every endpoint by the cluster IP",
    "a client outside that routes to it uses the cluster IP",
    "a client outside reaches the external IP",
    "the node reaches the external IP",
    "a client outside reaches the load balancer IP",
    "a pod reaches the load balancer IP",
    "a client outside reaches the node port",
    "a pod reaches its own node's node port",
    "the node reaches its own node port",
    "the node's second address has the node port too",
    // Which endpoints.
    "where none is ready those that terminate and serve are used",
    "with affinity a pod keeps its endpoint",
    // Policies.
    "internal policy Local drops where only other nodes have endpoints",
    "external policy Local: a client of the node port reaches this node's endpoints as itself",
    "external policy Local: the node reaches all by the node port",
    "external policy Local: a client of the load balancer IP reaches this node's endpoints as itself",
    "external policy Local drops a client of the node port where only other nodes have endpoints",
    "external policy Local drops a client of the load balancer IP where only other nodes have endpoints",
    // Source NAT.
    "a pod reaches itself by the cluster IP",
    "the node reaches its own host-network endpoint",
    "a client outside reaches a host-network endpoint by the node port",
    "a pod reaches a host-network endpoint of its node",
    "detector BridgeInterface: the source of a pod here is kept",
    "detector BridgeInterface: the source of a client outside is translated",
    "detector BridgeInterface: the source of the node itself is translated",
    // Source ranges.
    "a client inside the source ranges is served",
    "a client outside the source ranges gets no answer",
    "source ranges do not guard the node port",
    // Without endpoints, and ports that no service lists.
    "a cluster IP without endpoints refuses a pod",
    "a cluster IP without endpoints refuses the node",
    "a cluster IP without endpoints refuses a client outside",
    "a node port without endpoints refuses",
    "an external IP without endpoints refuses",
    "an unlisted port of a cluster IP refuses a pod",
    "an unlisted port of a cluster IP refuses the node",
    "an unlisted port of a cluster IP refuses a client outside",
    "an unlisted port of an external IP is nobody's business",
    "an external IP that is the node's own serves the service",
    "an external IP that is the node's own keeps the node's daemons reachable",
    "no daemon of the node answers on a cluster IP",
    "not even for the node itself does a daemon answer on a cluster IP",
    // Which services.
    "the cluster IP of another proxy's service is left alone",
    "the node port of another proxy's service is left alone",
    // Beside other software.
    "under FORWARD policy DROP a node port works",
    "under FORWARD policy DROP a pod uses a cluster IP",
    "another program's host port does not capture a cluster IP",
];

/// The rows of the subset.
pub(crate) fn of(rows: &[Row]) -> Vec<Row> {
    let chosen = rows.iter().filter(|row| {
        family(row) == Family::V4
            && row.packet.protocol == Protocol::Tcp
            && SENTENCES.contains(&sentence(row))
    });
    chosen.cloned().collect()
}

/// A row's name without family and protocol.
fn sentence(row: &Row) -> &str {
    row.name
        .rsplit_once(" (")
        .map_or(row.name.as_str(), |(sentence, _)| sentence)
}

#[test]
fn every_sentence_of_the_subset_is_a_row() {
    if std::env::var_os("SLUICE_CASE").is_some() {
        return;
    }
    let rows = of(&sluice_e2e::packets::table::rows());
    let missing: Vec<&str> = SENTENCES
        .into_iter()
        .filter(|sentence_of_list| !rows.iter().any(|row| sentence(row) == *sentence_of_list))
        .collect();
    assert_eq!(missing, [""; 0]);
    assert_eq!(rows.len(), SENTENCES.len());
}
