//! From one plane to the other on kernels in memory.

use sluice_crds::v1alpha1::{IptablesVariant, Mode};
use sluice_kernel::address_set::{AddressSets, Family as KernelFamily, MemorySets};
use sluice_kernel::conntrack::MemoryConntrack;
use sluice_kernel::iptables::{Family, MemoryIptables, Table};
use sluice_kernel::ipvs::MemoryIpvs;
use sluice_kernel::links::MemoryLinks;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, NodeFacts, ObjectName, Protocol, Service, ServicePort, Settings,
    SliceEndpoint, SlicePort,
};

use super::*;
use crate::node_plane::{Doors, MemoryIpvsDoor, NodePlane};

/// A node's kernel; both variants' rules use the same sets.
#[derive(Clone)]
struct Kernel {
    legacy: MemoryIptables,
    nft: MemoryIptables,
    sets: MemorySets,
    ipvs: MemoryIpvs,
    links: MemoryLinks,
}

impl Kernel {
    fn new() -> Self {
        Self {
            legacy: MemoryIptables::new(Variant::Legacy),
            nft: MemoryIptables::new(Variant::Nft),
            sets: MemorySets::new(),
            ipvs: MemoryIpvs::new(),
            links: MemoryLinks::new(),
        }
    }

    fn affinity_sets(&self) -> Vec<String> {
        let headers = self.sets.clone().headers("SLUICE-4-A-").unwrap();
        headers.into_iter().map(|header| header.spec.name).collect()
    }

    /// The twins know nothing of each other: rules of a variant use the affinity sets, or none does.
    fn let_rules_use_the_affinity_sets(&self, are_used: bool) {
        for name in self.affinity_sets() {
            self.sets.set_references(&name, u32::from(are_used));
        }
    }

    fn legacy_chains(&self) -> Vec<String> {
        let chains = self.legacy.chains(Family::V4, Table::Nat).into_iter();
        chains
            .filter(|chain| chain.starts_with("SLUICE-"))
            .collect()
    }
}

impl Planes for Kernel {
    fn open(
        &mut self,
        variant: Variant,
        mode: ActiveMode,
    ) -> Result<Box<dyn DataPlane>, DataPlaneError> {
        let iptables = match variant {
            Variant::Legacy => &self.legacy,
            Variant::Nft => &self.nft,
        };
        let doors = Doors {
            iptables: Box::new(iptables.clone()),
            glue_sets: Box::new(self.sets.clone()),
            affinity_sets: Box::new(self.sets.clone()),
            conntrack: Box::new(MemoryConntrack::new()),
            ipvs: Box::new(MemoryIpvsDoor {
                ipvs: self.ipvs.clone(),
                links: self.links.clone(),
                sets: self.sets.clone(),
                families: vec![KernelFamily::V4],
            }),
        };
        Ok(Box::new(NodePlane::new(doors, &[Family::V4], mode)))
    }

    fn open_to_remove(&mut self, variant: Variant) -> Result<Box<dyn DataPlane>, DataPlaneError> {
        self.open(variant, ActiveMode::IPTables)
    }

    fn detect(&mut self) -> Result<Variant, DataPlaneError> {
        Ok(Variant::Nft)
    }
}

/// One service, whose client sticks to its endpoint.
fn sticky() -> Catalog {
    let mut catalog = Catalog::new(NodeFacts::default(), Settings::default());
    let port = |port| SlicePort {
        name: "".into(),
        protocol: Protocol::Tcp,
        port,
    };
    catalog.set_service(Service {
        cluster_ips: vec![[10, 96, 0, 1].into()],
        affinity_seconds: Some(60),
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..Service::new(ObjectName::new("default", "a"))
    });
    catalog.set_slice(EndpointSlice {
        name: ObjectName::new("default", "a-1"),
        service: "a".into(),
        headless: false,
        address_type: AddressType::Ipv4,
        ports: vec![port(8080)],
        endpoints: vec![SliceEndpoint::new([10, 244, 1, 1].into())],
    });
    catalog.take_changes();
    catalog
}

fn plane(kernel: &Kernel, state_dir: &std::path::Path) -> Plane {
    let ledger = PlaneLedger::open(state_dir).unwrap();
    Plane::new(Box::new(kernel.clone()), ledger)
}

#[test]
fn affinity_that_the_other_variants_rules_go_by_keeps_no_start_in_ipvs_mode_from_removing_them() {
    let (kernel, catalog) = (Kernel::new(), sticky());
    let state_dir = tempfile::tempdir().unwrap();
    let mut before = plane(&kernel, state_dir.path());
    let legacy = IptablesVariant::Legacy;
    let choice = &mut before.choice;
    choice.want(legacy, Mode::IPTables, ActiveMode::IPTables);
    before.reconcile(catalog.plan()).unwrap();
    assert_eq!(kernel.affinity_sets().len(), 1);
    kernel.let_rules_use_the_affinity_sets(true);

    let mut after = plane(&kernel, state_dir.path());
    let choice = &mut after.choice;
    choice.want(IptablesVariant::NFT, Mode::IPVS, ActiveMode::IPVS);
    after.reconcile(catalog.plan()).unwrap();
    assert_eq!(kernel.legacy_chains(), Vec::<String>::new());
    assert_eq!(after.serving(), Some(ActiveMode::IPVS));
    assert_eq!(kernel.affinity_sets().len(), 1, "they are in use");
    kernel.let_rules_use_the_affinity_sets(false);
    after.reconcile(catalog.plan()).unwrap();
    assert_eq!(kernel.affinity_sets(), Vec::<String>::new());
}
