//! The data planes that the table is put to.

use sluice_agent::data_plane::{DataPlane, DataPlaneError};
use sluice_agent::iptables_plane::IptablesPlane;
use sluice_kernel::iptables::Variant;

use super::surroundings::Programs;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct PlaneUnderTest {
    /// Name, for reports.
    pub name: &'static str,
    /// Opens it on the network namespace of the calling thread.
    pub open: fn() -> Result<Box<dyn DataPlane>, DataPlaneError>,
    /// The programs with which other software on such a node makes its rules.
    pub programs: Programs,
}

/// All that exist.
pub const PLANES: [PlaneUnderTest; 2] = [
    PlaneUnderTest {
        name: "iptables legacy",
        open: || Ok(Box::new(IptablesPlane::open(Variant::Legacy)?)),
        programs: Programs {
            v4: "iptables-legacy",
            v6: "ip6tables-legacy",
        },
    },
    PlaneUnderTest {
        name: "iptables nft",
        open: || Ok(Box::new(IptablesPlane::open(Variant::Nft)?)),
        programs: Programs {
            v4: "iptables-nft",
            v6: "ip6tables-nft",
        },
    },
];
