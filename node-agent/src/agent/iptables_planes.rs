//! The data planes of mode `IPTables` on this node.

use sluice_kernel::iptables::{Variant, detect_variant};

use super::plane::Planes;
use crate::data_plane::{DataPlane, DataPlaneError};
use crate::iptables_plane::IptablesPlane;

/// Opens planes on the kernel, in the network namespace of the thread that uses them.
#[derive(Debug, Clone, Copy)]
pub struct IptablesPlanes;

impl Planes for IptablesPlanes {
    fn open(&mut self, variant: Variant) -> Result<Box<dyn DataPlane>, DataPlaneError> {
        Ok(Box::new(IptablesPlane::open(variant)?))
    }

    fn detect(&mut self) -> Result<Variant, DataPlaneError> {
        let (variant, reason) = detect_variant()?;
        tracing::info!(%variant, %reason, "iptables variant detected");
        Ok(variant)
    }
}
