//! Local sockets that node ports shadow: a program that listens on a node port is not reached any more.

use std::fmt;
use std::io;

use serde::Serialize;

use sluice_service_plan::plan::{FrontendAddress, Plan};

use crate::ports::{self, Listener};

/// A socket on a node port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodePortConflict {
    /// The service port, as `namespace/name:port/protocol`.
    pub(super) service: String,
    /// The node port.
    pub(super) port: u16,
    /// Where the socket listens.
    pub(super) socket: String,
    /// Who has it open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
}

impl fmt::Display for NodePortConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = self
            .owner
            .as_deref()
            .unwrap_or("a process that cannot be seen");
        write!(
            f,
            "{owner} listens on {}, which is the node port of {}: it is not reached there",
            self.socket, self.service
        )
    }
}

/// Sockets of this network namespace that sit on node ports of the plan.
pub(super) fn conflicts(plan: &Plan) -> io::Result<Vec<NodePortConflict>> {
    let listeners = ports::listeners()?;
    let mut found: Vec<NodePortConflict> = node_ports(plan)
        .flat_map(|wanted| of_one(&wanted, &listeners))
        .collect();
    found.dedup();
    Ok(found)
}

struct NodePort {
    service: String,
    protocol: sluice_service_plan::model::Protocol,
    port: u16,
}

fn node_ports(plan: &Plan) -> impl Iterator<Item = NodePort> {
    plan.services
        .values()
        .flat_map(|service| &service.ports)
        .flat_map(|port| {
            let node_ports = port
                .frontends
                .iter()
                .filter(|frontend| frontend.address == FrontendAddress::NodePort);
            node_ports.map(|frontend| NodePort {
                service: port.key.to_string(),
                protocol: port.key.protocol,
                port: frontend.port,
            })
        })
}

fn of_one(wanted: &NodePort, listeners: &[Listener]) -> Vec<NodePortConflict> {
    listeners
        .iter()
        .filter(|one| one.protocol == wanted.protocol && one.address.port() == wanted.port)
        .map(|one| NodePortConflict {
            service: wanted.service.clone(),
            port: wanted.port,
            socket: format!("{}/{}", one.address, one.protocol),
            owner: ports::owner_of(one.inode),
        })
        .collect()
}
