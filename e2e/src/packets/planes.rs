//! The data planes that the table is put to.

use sluice_agent::data_plane::{DataPlane, DataPlaneError};
use sluice_agent::node_plane::NodePlane;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::iptables::{Family, Variant, try_variant};
use sluice_service_plan::model::{Settings, VipBinding};
use sluice_service_plan::plan::Plan;

use super::ipvs;
use super::surroundings::Programs;
use crate::lab::Namespace;
use crate::skip::skip;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct PlaneUnderTest {
    /// Name, for reports.
    pub name: &'static str,
    /// Opens it on the network namespace of the calling thread.
    pub open: fn() -> Result<Box<dyn DataPlane>, DataPlaneError>,
    /// What of it this machine's kernel or programs lack. Leaves nothing behind.
    pub missing: fn() -> Option<String>,
    /// The programs with which other software on such a node makes its rules.
    pub programs: Programs,
    /// How IPVS gets its packets, where it balances.
    pub ipvs: Option<VipBinding>,
}

/// iptables, the variant with a kernel interface of its own.
pub const LEGACY: PlaneUnderTest = PlaneUnderTest {
    name: "iptables legacy",
    open: || {
        Ok(Box::new(NodePlane::open(
            Variant::Legacy,
            ActiveMode::IPTables,
        )?))
    },
    missing: || missing_for_iptables(Variant::Legacy),
    programs: Programs {
        v4: "iptables-legacy",
        v6: "ip6tables-legacy",
    },
    ipvs: None,
};

/// iptables, the variant that writes nftables.
pub const NFT: PlaneUnderTest = PlaneUnderTest {
    name: "iptables nft",
    open: || {
        Ok(Box::new(NodePlane::open(
            Variant::Nft,
            ActiveMode::IPTables,
        )?))
    },
    missing: || missing_for_iptables(Variant::Nft),
    programs: Programs {
        v4: "iptables-nft",
        v6: "ip6tables-nft",
    },
    ipvs: None,
};

/// IPVS, its addresses bound by local routes, between rules of the one variant.
pub const IPVS_ROUTES: PlaneUnderTest = PlaneUnderTest {
    name: "IPVS with local routes",
    open: || Ok(Box::new(ipvs::open(Variant::Nft)?)),
    missing: ipvs::missing,
    programs: NFT.programs,
    ipvs: Some(VipBinding::LocalRoute),
};

/// IPVS, its addresses on a device, between rules of the other variant.
pub const IPVS_DEVICE: PlaneUnderTest = PlaneUnderTest {
    name: "IPVS with addresses",
    open: || Ok(Box::new(ipvs::open(Variant::Legacy)?)),
    missing: ipvs::missing,
    programs: LEGACY.programs,
    ipvs: Some(VipBinding::Dummy),
};

/// All that run on a kernel of any machine.
pub const PLANES: [PlaneUnderTest; 2] = [LEGACY, NFT];

/// All that need IPVS.
pub const IPVS_PLANES: [PlaneUnderTest; 2] = [IPVS_ROUTES, IPVS_DEVICE];

/// iptables in this variant.
pub fn iptables(variant: Variant) -> &'static PlaneUnderTest {
    match variant {
        Variant::Legacy => &LEGACY,
        Variant::Nft => &NFT,
    }
}

impl PlaneUnderTest {
    /// It can run on this machine; where it cannot, that is reported as a skip.
    pub fn runs_here(&self) -> bool {
        let missing = (self.missing)();
        if let Some(reason) = &missing {
            skip(self.name, reason);
        }
        missing.is_none()
    }

    /// These settings, as this plane is to be given them.
    pub fn settings(&self, mut settings: Settings) -> Settings {
        if let Some(binding) = self.ipvs {
            settings.ipvs.vip_binding = binding;
            // No row has old connections to keep.
            settings.ipvs.grace_seconds = 0;
        }
        settings
    }

    /// Why such settings are never given to this plane.
    pub fn refuses(&self, settings: &Settings) -> Option<&'static str> {
        let localhost = self.ipvs.is_some() && settings.localhost_node_ports;
        localhost.then_some("a policy cannot ask for IPVS and for node ports on localhost")
    }
}

/// Those that are to run on this machine; what it lacks is reported as a skip. Where `SLUICE_REQUIRE_IPVS=1` promises IPVS these are the
/// planes that need it, elsewhere the others.
pub fn here() -> impl Iterator<Item = &'static PlaneUnderTest> {
    let planes = if ipvs::is_promised() {
        &IPVS_PLANES
    } else {
        &PLANES
    };
    planes.iter().filter(|plane| plane.runs_here())
}

fn missing_for_iptables(variant: Variant) -> Option<String> {
    const TABLES: &str = "*nat\nCOMMIT\n*filter\nCOMMIT\n";
    for family in [Family::V4, Family::V6] {
        if let Err(error) = try_variant(variant, family, TABLES) {
            return Some(error.to_string());
        }
    }
    // Other failures are for the test that meets them.
    let trial = Namespace::new("trial").ok()?;
    let program =
        move || NodePlane::open(variant, ActiveMode::IPTables)?.reconcile(&Plan::default());
    match trial.run(program).ok()? {
        Err(DataPlaneError::AddressSet(
            error @ (AddressSetError::Unsupported | AddressSetError::NoSuchKind { .. }),
        )) => Some(error.to_string()),
        _ => None,
    }
}
