//! A node without IPv6.

use sluice_agent::data_plane::{DataPlane, DataPlaneError};
use sluice_agent::node_plane::{Doors, NodePlane};
use sluice_crds::v1alpha1::ActiveMode;
use sluice_e2e::changes::ServedNode;
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::places::{A1, A2, B1};
use sluice_e2e::packets::build::{all_ready, web};
use sluice_e2e::packets::planes;
use sluice_kernel::iptables::{Family as KernelFamily, IptablesPrograms, Variant};
use sluice_service_plan::model::{Family, Protocol, Settings};

use crate::node::{agent, cluster, is_served, node_port, reach, start};

#[test]
fn a_node_without_ipv6_serves_ipv4() {
    let lab = Lab::up().unwrap();
    for path in [
        "net/ipv6/conf/all/disable_ipv6",
        "net/ipv6/conf/default/disable_ipv6",
    ] {
        lab.node().sysctl(path, "1").unwrap();
    }
    let Some(mut agent) = agent(Variant::Nft) else {
        return;
    };
    start(&mut agent, &lab);
    assert!(is_served(&lab, node_port(1)));
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
}

#[test]
fn a_plane_for_ipv4_only_serves_ipv4_and_touches_nothing_of_ipv6() {
    for variant in [Variant::Legacy, Variant::Nft] {
        if !planes::iptables(variant).runs_here() {
            continue;
        }
        let open = move || -> Result<Box<dyn DataPlane>, DataPlaneError> {
            let families = [KernelFamily::V4];
            let doors = Doors::with(Box::new(IptablesPrograms::open(variant)?), &families)?;
            Ok(Box::new(NodePlane::new(
                doors,
                &families,
                ActiveMode::IPTables,
            )))
        };
        let mut node = ServedNode::start(open, Settings::default()).unwrap();
        let service = web(Family::V4, Protocol::Tcp)
            .cluster_ip("fd00:10:96::10".parse().unwrap())
            .affinity(60);
        node.serve(&service, &all_ready([A1, B1])).unwrap();
        assert!(is_served(node.lab(), cluster(10)));
        let node_thread = node.lab().node();
        let rules = node_thread
            .command(&format!("ip6tables-{variant}-save"))
            .unwrap();
        assert!(!rules.contains("SLUICE-"), "{rules}");
        let sets = node_thread.command("ipset list -n").unwrap();
        assert!(!sets.contains("SLUICE-6-"), "{sets}");
        node.serve(&service, &all_ready([A2])).unwrap();
        assert_eq!(reach(node.lab(), cluster(10)).endpoint(), Some(A2.name));
        assert_eq!(
            node.with_plane(|plane, _| plane.verify()).unwrap().unwrap(),
            []
        );
        assert!(
            node.with_plane(|plane, _| plane.remove())
                .unwrap()
                .is_empty()
        );
    }
}
