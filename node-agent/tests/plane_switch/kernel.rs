//! A node's kernel in memory, with what others have there, and data planes on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sluice_agent::balancer::Balancer;
use sluice_agent::balancer::ipvs::{self, IpvsBalancer, names};
use sluice_agent::data_plane::{DataPlane, DataPlaneError, Drain};
use sluice_agent::node_plane::{Doors, IpvsDoor, NodePlane};
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{
    AddressSets, Entry, Family, IpProtocol, MemorySets, SetKind, SetSpec,
};
use sluice_kernel::conntrack::MemoryConntrack;
use sluice_kernel::iptables::{Iptables, MemoryIptables, Table, Variant};
use sluice_kernel::ipvs::{
    Change, Destination, Ipvs, MemoryIpvs, RealServer, Service, VirtualServer,
};
use sluice_kernel::links::{InterfaceAddress, Link, Links, MemoryLinks};
use sluice_service_plan::model::Family as PlanFamily;
use sluice_service_plan::plan::Plan;

use crate::watch::{Watch, Watched};

/// Addresses of the node.
pub(crate) const NODE: [&str; 4] = ["127.0.0.1", "::1", "192.0.2.10", "2001:db8::10"];

/// Handles to look inside.
#[derive(Clone)]
pub(crate) struct Kernel {
    pub(crate) iptables: MemoryIptables,
    pub(crate) sets: MemorySets,
    pub(crate) ipvs: MemoryIpvs,
    pub(crate) links: MemoryLinks,
    pub(crate) conntrack: MemoryConntrack,
    pub(crate) watch: Watch,
}

/// All that planes write, in a form that can be compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// By family, table and name.
    pub(crate) chains: BTreeMap<(&'static str, String, String), Vec<String>>,
    pub(crate) sets: BTreeMap<String, BTreeSet<String>>,
    pub(crate) servers: BTreeMap<VirtualServer, (String, Vec<Destination>)>,
    pub(crate) links: BTreeSet<String>,
    pub(crate) bound: BTreeSet<String>,
}

struct Door {
    kernel: Kernel,
}

impl IpvsDoor for Door {
    fn is_left(&mut self) -> Result<bool, DataPlaneError> {
        let mut sets = self.kernel.watched(self.kernel.sets.clone());
        for family in PlanFamily::ALL {
            if !sets.headers(names::prefix(family))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open(&mut self) -> Result<Box<dyn Balancer>, DataPlaneError> {
        let doors = ipvs::Doors {
            ipvs: Box::new(self.kernel.watched(self.kernel.ipvs.clone())),
            links: Box::new(self.kernel.watched(self.kernel.links.clone())),
            sets: Box::new(self.kernel.watched(self.kernel.sets.clone())),
        };
        Ok(Box::new(IpvsBalancer::new(doors, &PlanFamily::ALL)))
    }
}

impl Kernel {
    /// A node with its addresses and with what others made there.
    pub(crate) fn new() -> Self {
        let kernel = Self {
            iptables: MemoryIptables::new(Variant::Nft),
            sets: MemorySets::new(),
            ipvs: MemoryIpvs::new(),
            links: MemoryLinks::new(),
            conntrack: MemoryConntrack::new(),
            watch: Watch::default(),
        };
        kernel.put_foreign();
        kernel
    }

    fn put_foreign(&self) {
        let link = |index, name: &str, kind: Option<&str>| Link {
            index,
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            up: true,
            master: None,
            hairpin: None,
        };
        let mut links = self.links.clone();
        links.put_link(link(2, "eth0", None));
        links.put_link(link(3, "dummy0", Some("dummy")));
        let held = NODE[2..].iter().map(|ip| (2, *ip));
        for (interface, ip) in held.chain([(3, "198.51.100.77")]) {
            let address: std::net::IpAddr = ip.parse().unwrap();
            let prefix_len = if address.is_ipv4() { 32 } else { 128 };
            let held = InterfaceAddress {
                interface,
                address,
                prefix_len,
            };
            links.add_address(&held).unwrap();
        }
        let mut iptables = self.iptables.clone();
        for (table, chain) in [
            ("nat", "PREROUTING"),
            ("filter", "INPUT"),
            ("mangle", "OUTPUT"),
        ] {
            let text = format!(
                "*{table}\n:FOREIGN - [0:0]\n-A FOREIGN -p tcp -j ACCEPT\n-A {chain} -j FOREIGN\nCOMMIT\n"
            );
            iptables.restore(Family::V4, &text).unwrap();
            iptables.restore(Family::V6, &text).unwrap();
        }
        let mut sets = self.sets.clone();
        let spec = SetSpec {
            name: "foreign".to_owned(),
            kind: SetKind::HashIp,
            family: Family::V4,
            max_entries: 100,
            expected_entries: 0,
            timeout_seconds: None,
            marks: false,
        };
        sets.create(&spec).unwrap();
        sets.add(&spec, &[Entry::Ip([198, 51, 100, 77].into())])
            .unwrap();
        let server = VirtualServer::new(IpProtocol::TCP, [198, 51, 100, 77].into(), 443);
        let real = Destination::new(RealServer::new([192, 0, 2, 99].into(), 443), 7);
        let changes = [
            Change::NewService(Service::new(server, "rr")),
            Change::NewDestination(server, real),
        ];
        assert!(self.ipvs.clone().apply(&changes).unwrap().is_empty());
    }

    fn watched<D>(&self, door: D) -> Watched<D> {
        Watched::new(door, self.clone())
    }

    /// A data plane of an agent that has just started.
    pub(crate) fn plane(&self, mode: ActiveMode) -> NodePlane {
        let doors = Doors {
            iptables: Box::new(self.watched(self.iptables.clone())),
            glue_sets: Box::new(self.watched(self.sets.clone())),
            affinity_sets: Box::new(self.watched(self.sets.clone())),
            conntrack: Box::new(self.watched(self.conntrack.clone())),
            ipvs: Box::new(Door {
                kernel: self.clone(),
            }),
        };
        NodePlane::new(doors, &[Family::V4, Family::V6], mode)
    }

    /// How many rules use a set: the twins know nothing of each other.
    pub(crate) fn references(&self, set: &str) -> u32 {
        let mut references = 0;
        for family in [Family::V4, Family::V6] {
            for table in Table::ALL {
                for chain in self.iptables.chains(family, table) {
                    let rules = self.iptables.rules(family, table, &chain);
                    let uses = |rule: &String| rule.split(' ').any(|word| word == set);
                    let using = rules.unwrap_or_default().iter().filter(|r| uses(r)).count();
                    references += u32::try_from(using).unwrap();
                }
            }
        }
        references
    }

    /// Somebody takes all rules and sets of ours, and leaves what IPVS holds.
    pub(crate) fn lose_rules_and_sets(&self) {
        let mut iptables = self.iptables.clone();
        for family in [Family::V4, Family::V6] {
            for table in Table::ALL {
                let mut text = format!("*{table}\n");
                let chains = self.iptables.chains(family, table);
                let ours = |chain: &&String| chain.starts_with("SLUICE-");
                for chain in chains.iter().filter(ours) {
                    writeln!(text, ":{chain} - [0:0]").unwrap();
                }
                for chain in chains.iter().filter(|chain| !ours(chain)) {
                    for rule in self.iptables.rules(family, table, chain).unwrap() {
                        if rule.contains("SLUICE-") {
                            writeln!(text, "-D {chain} {rule}").unwrap();
                        }
                    }
                }
                for chain in chains.iter().filter(ours) {
                    writeln!(text, "-X {chain}").unwrap();
                }
                text += "COMMIT\n";
                iptables.restore(family, &text).unwrap();
            }
        }
        let mut sets = self.sets.clone();
        for header in sets.headers("SLUICE-").unwrap() {
            sets.destroy(&header.spec.name).unwrap();
        }
    }

    pub(crate) fn state(&self) -> State {
        let mut chains = BTreeMap::new();
        for (family, name) in [(Family::V4, "4"), (Family::V6, "6")] {
            for table in Table::ALL {
                for chain in self.iptables.chains(family, table) {
                    let rules = self.iptables.rules(family, table, &chain);
                    let key = (name, table.to_string(), chain);
                    chains.insert(key, rules.unwrap_or_default());
                }
            }
        }
        let mut door = self.sets.clone();
        let mut sets = BTreeMap::new();
        for header in door.headers("").unwrap() {
            let entries = door.list(&header.spec.name).unwrap();
            let entries = entries
                .iter()
                .map(|e| format!("{:?} {:?}", e.entry, e.mark));
            sets.insert(header.spec.name.clone(), entries.collect());
        }
        let mut servers = BTreeMap::new();
        for (listed, destinations) in self.ipvs.clone().list().unwrap() {
            let mut destinations: Vec<Destination> =
                destinations.iter().map(|d| d.destination).collect();
            destinations.sort_unstable();
            let how = format!("{:?}", listed.service);
            servers.insert(listed.service.server, (how, destinations));
        }
        let mut links = self.links.clone();
        let names: BTreeMap<u32, String> = links
            .links()
            .unwrap()
            .into_iter()
            .map(|link| (link.index, format!("{} {}", link.name, link.up)))
            .collect();
        let held = links.addresses().unwrap();
        let held = held
            .iter()
            .map(|a| format!("{} on {}", a.address, names[&a.interface]));
        let routes = links.routes().unwrap();
        let routes = routes.iter().map(|route| {
            let device = route.interface.map(|index| names[&index].clone());
            format!(
                "route {} by {device:?} from {:?}",
                route.destination, route.source
            )
        });
        State {
            chains,
            sets,
            servers,
            bound: held.chain(routes).collect(),
            links: names.into_values().collect(),
        }
    }
}

/// What a plane of that mode makes of a kernel that knows nothing of us.
pub(crate) fn fresh(mode: ActiveMode, plan: &Plan) -> State {
    let kernel = Kernel::new();
    kernel.plane(mode).reconcile(plan).unwrap();
    kernel.state()
}

/// Lets the plane look after old connections until there is nothing to look after.
pub(crate) fn drain(plane: &mut NodePlane, now: &mut std::time::Instant) {
    for _ in 0..3 {
        *now += std::time::Duration::from_secs(5);
        let drain = Drain {
            now: *now,
            timeout: None,
        };
        plane.drain(drain).unwrap();
    }
}
