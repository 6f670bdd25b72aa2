//! What a data plane writes through.

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{AddressSets, IpsetNetlink, MemorySets};
use sluice_kernel::conntrack::{Conntrack, ConntrackNetlink};
use sluice_kernel::iptables::{Family, Iptables, IptablesPrograms, Variant};
use sluice_kernel::ipvs::{IpvsNetlink, MemoryIpvs};
use sluice_kernel::links::{MemoryLinks, NetlinkLinks};

use super::NodePlane;
use super::removable::Removable;
use crate::balancer::Balancer;
use crate::balancer::ipvs::{self, IpvsBalancer, names};
use crate::data_plane::DataPlaneError;
use crate::family::{node_families, plan_family};
use crate::trials::served_families;

/// The kernel doors of a data plane.
pub struct Doors {
    /// The packet filter.
    pub iptables: Box<dyn Iptables>,
    /// Address sets, for the glue.
    pub glue_sets: Box<dyn AddressSets>,
    /// Address sets, for the iptables balancer.
    pub affinity_sets: Box<dyn AddressSets>,
    /// Connection tracking.
    pub conntrack: Box<dyn Conntrack>,
    /// IPVS, for whoever needs it.
    pub ipvs: Box<dyn IpvsDoor>,
}

/// Opens IPVS where it is needed: most nodes never load its modules.
pub trait IpvsDoor: Send {
    /// An earlier run left something of ours there.
    fn is_left(&mut self) -> Result<bool, DataPlaneError>;
    /// The balancer.
    fn open(&mut self) -> Result<Box<dyn Balancer>, DataPlaneError>;
}

/// IPVS of this node's kernel.
struct NodeIpvs {
    families: Vec<Family>,
    sets: IpsetNetlink,
}

impl IpvsDoor for NodeIpvs {
    fn is_left(&mut self) -> Result<bool, DataPlaneError> {
        is_left(&mut self.sets, &self.families)
    }

    fn open(&mut self) -> Result<Box<dyn Balancer>, DataPlaneError> {
        let doors = ipvs::Doors {
            ipvs: Box::new(IpvsNetlink::open()?),
            links: Box::new(NetlinkLinks::open()?),
            sets: Box::new(IpsetNetlink::open()?),
        };
        Ok(Box::new(balancer(doors, &self.families)))
    }
}

impl Doors {
    /// This iptables, and the rest of the kernel, in the network namespace of the calling thread.
    pub fn with(iptables: Box<dyn Iptables>, families: &[Family]) -> Result<Self, DataPlaneError> {
        Ok(Self {
            iptables,
            glue_sets: Box::new(IpsetNetlink::open()?),
            affinity_sets: Box::new(IpsetNetlink::open()?),
            conntrack: Box::new(ConntrackNetlink::open()?),
            ipvs: Box::new(NodeIpvs {
                families: families.to_vec(),
                sets: IpsetNetlink::open()?,
            }),
        })
    }
}

impl NodePlane {
    /// A data plane on this node's kernel, in the network namespace of the calling thread. Families that the kernel lacks are left out,
    /// and IPv6 where this variant cannot serve it.
    pub fn open(variant: Variant, mode: ActiveMode) -> Result<Self, DataPlaneError> {
        let iptables = Box::new(IptablesPrograms::open(variant)?);
        let (families, lack) = served_families(variant);
        let plane = Self::new(Doors::with(iptables, &families)?, &families, mode);
        Ok(plane.with_lack(lack))
    }

    /// One that is only to remove what is there, of all families.
    pub(crate) fn open_to_remove(variant: Variant) -> Result<Self, DataPlaneError> {
        let families = node_families();
        let iptables = Box::new(Removable(IptablesPrograms::open(variant)?));
        let doors = Doors::with(iptables, &families)?;
        Ok(Self::new(doors, &families, ActiveMode::IPTables))
    }
}

/// IPVS in memory.
#[derive(Debug, Clone)]
pub struct MemoryIpvsDoor {
    /// Virtual servers.
    pub ipvs: MemoryIpvs,
    /// The device, addresses and routes of services.
    pub links: MemoryLinks,
    /// The same as those of the glue.
    pub sets: MemorySets,
    /// Families to balance.
    pub families: Vec<Family>,
}

impl IpvsDoor for MemoryIpvsDoor {
    fn is_left(&mut self) -> Result<bool, DataPlaneError> {
        is_left(&mut self.sets, &self.families)
    }

    fn open(&mut self) -> Result<Box<dyn Balancer>, DataPlaneError> {
        let doors = ipvs::Doors {
            ipvs: Box::new(self.ipvs.clone()),
            links: Box::new(self.links.clone()),
            sets: Box::new(self.sets.clone()),
        };
        Ok(Box::new(balancer(doors, &self.families)))
    }
}

fn balancer(doors: ipvs::Doors, families: &[Family]) -> IpvsBalancer {
    let families: Vec<_> = families.iter().copied().map(plan_family).collect();
    IpvsBalancer::new(doors, &families)
}

fn is_left(sets: &mut dyn AddressSets, families: &[Family]) -> Result<bool, DataPlaneError> {
    for family in families {
        if !sets
            .headers(names::prefix(plan_family(*family)))?
            .is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}
