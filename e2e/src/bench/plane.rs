//! The data planes that are measured.

use std::fmt;

use sluice_agent::node_plane::{Doors, NodePlane};
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::{Family, Variant};
use sluice_service_plan::model::{Settings, VipBinding};

use super::bare::{Recording, Tape};
use super::{BenchError, cluster};
use crate::packets::ipvs;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Plane {
    /// Name, for reports.
    pub name: &'static str,
    /// How it writes rules.
    pub variant: Variant,
    /// How IPVS gets its packets, where it balances.
    pub ipvs: Option<VipBinding>,
    /// What tells the agent to run it.
    pub flags: &'static [&'static str],
}

const LEGACY: Plane = Plane {
    name: "iptables legacy",
    variant: Variant::Legacy,
    ipvs: None,
    flags: &["--mode", "iptables", "--iptables-variant", "legacy"],
};

/// What most nodes run.
pub const NFT: Plane = Plane {
    name: "iptables nft",
    variant: Variant::Nft,
    ipvs: None,
    flags: &["--mode", "iptables", "--iptables-variant", "nft"],
};

const IPVS_ROUTES: Plane = Plane {
    name: "IPVS",
    variant: Variant::Nft,
    ipvs: Some(VipBinding::LocalRoute),
    flags: &["--mode", "ipvs", "--iptables-variant", "nft"],
};

/// Programming only: each address costs the more the more there are, and nothing else differs.
pub const IPVS_DUMMY: Plane = Plane {
    name: "IPVS Dummy",
    variant: Variant::Nft,
    ipvs: Some(VipBinding::Dummy),
    flags: &["--mode", "ipvs", "--ipvs-vip-binding", "dummy"],
};

/// Measured next to the bare program.
pub const VARIANTS: [Plane; 2] = [LEGACY, NFT];

/// Measured next to each other, where the kernel has IPVS. Machines that have it are mostly emulated: there the nft variant takes
/// minutes for a first program.
pub const MODES: [Plane; 2] = [IPVS_ROUTES, LEGACY];

impl Plane {
    /// A data plane on the calling thread's namespace. Texts for iptables-restore are recorded where rules are what it balances by.
    pub fn open(&self, tape: Tape) -> Result<NodePlane, BenchError> {
        if self.ipvs.is_some() {
            return Ok(ipvs::open(self.variant)?);
        }
        let families = [Family::V4, Family::V6];
        let doors = Doors::with(Box::new(Recording::open(self.variant, tape)?), &families)?;
        Ok(NodePlane::new(doors, &families, self.mode()))
    }

    /// Who picks endpoints.
    pub fn mode(&self) -> ActiveMode {
        match self.ipvs {
            Some(_) => ActiveMode::IPVS,
            None => ActiveMode::IPTables,
        }
    }

    /// The settings of the cluster.
    pub fn settings(&self) -> Settings {
        let mut settings = cluster::settings();
        settings.ipvs.vip_binding = self.ipvs.unwrap_or_default();
        settings
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
