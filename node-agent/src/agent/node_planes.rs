//! The data planes of this node.

use std::path::{Path, PathBuf};

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::{Variant, detect_variant};

use super::plane::Planes;
use crate::data_plane::{DataPlane, DataPlaneError};
use crate::node_plane::{FirstServices, NodePlane};

/// Opens planes on the kernel, in the network namespace of the thread that uses them.
#[derive(Debug, Clone)]
pub struct NodePlanes {
    run_dir: PathBuf,
    first_services: FirstServices,
}

impl NodePlanes {
    /// Planes that remember in this directory, which must not outlive a reboot, what the kernel holds.
    pub fn new(run_dir: &Path) -> Self {
        Self {
            run_dir: run_dir.to_path_buf(),
            first_services: FirstServices::default(),
        }
    }

    /// Says which services a kernel that holds nothing of ours is given first.
    #[must_use]
    pub fn with_first_services(self, first_services: FirstServices) -> Self {
        Self {
            first_services,
            ..self
        }
    }
}

impl Planes for NodePlanes {
    fn open(
        &mut self,
        variant: Variant,
        mode: ActiveMode,
    ) -> Result<Box<dyn DataPlane>, DataPlaneError> {
        let plane = NodePlane::open(variant, mode)?;
        let plane = plane.with_first_services(self.first_services.clone());
        Ok(Box::new(plane.remembering_in(&self.run_dir)))
    }

    fn open_to_remove(&mut self, variant: Variant) -> Result<Box<dyn DataPlane>, DataPlaneError> {
        Ok(Box::new(NodePlane::open_to_remove(variant)?))
    }

    fn detect(&mut self) -> Result<Variant, DataPlaneError> {
        let (variant, reason) = detect_variant()?;
        tracing::info!(%variant, %reason, "iptables variant detected");
        Ok(variant)
    }
}
