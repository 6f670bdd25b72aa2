//! What lets a pod reach itself through a service.

mod duplicates;

use sluice_attachment::{HairpinMode, HairpinSet};
use sluice_kernel::ports::{PortError, Ports};

use self::duplicates::DuplicateDetectionError;
use crate::cni::{Code, Coded};
use crate::host_side::HostSide;
use crate::sandbox::{Sandbox, SandboxError};

/// Errors of hairpin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HairpinError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Duplicates(#[from] DuplicateDetectionError),
}

impl Coded for HairpinError {
    fn code(&self) -> Code {
        match self {
            Self::Sandbox(error) => error.code(),
            _ => Code::Hairpin,
        }
    }
}

/// What a mode means for what leads to the pod. Where the node routes, packets come back by the link they came from without more, once the
/// service's rules have masqueraded them.
pub(crate) fn plan(mode: HairpinMode, side: &HostSide) -> HairpinSet {
    match (mode, side) {
        (HairpinMode::None, _) | (_, HostSide::NoWire { .. }) => HairpinSet::Nothing,
        (_, HostSide::Routed { .. }) => HairpinSet::Routed,
        (HairpinMode::HairpinVeth, HostSide::Bridged { bridge, .. }) => HairpinSet::BridgePort {
            bridge: bridge.name.clone(),
        },
    }
}

/// Carries out a plan.
pub(crate) fn apply(
    set: &HairpinSet,
    side: &HostSide,
    node: &mut dyn Ports,
    sandbox: &Sandbox,
    interface: &str,
) -> Result<(), HairpinError> {
    if let (HairpinSet::BridgePort { .. }, HostSide::Bridged { port, .. }) = (set, side)
        && port.hairpin != Some(true)
    {
        sandbox.run(|| duplicates::bear_with_own_frames(interface))??;
        node.set_hairpin(port.index, true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sluice_kernel::ports::Port;

    use super::HairpinMode::HairpinVeth;
    use super::{HairpinMode, HairpinSet, HostSide, plan};

    #[test]
    fn a_mode_means_what_the_link_lets_it_mean() {
        let bridged = || HostSide::Bridged {
            port: Port::default(),
            bridge: Port {
                name: "cni0".to_owned(),
                ..Port::default()
            },
        };
        let routed = HostSide::Routed {
            port: Port::default(),
        };
        let none = HostSide::NoWire {
            kind: "macvlan".to_owned(),
        };
        let port = HairpinSet::BridgePort {
            bridge: "cni0".to_owned(),
        };
        for (mode, side, expected) in [
            (HairpinMode::None, bridged(), HairpinSet::Nothing),
            (HairpinVeth, bridged(), port),
            (HairpinVeth, routed, HairpinSet::Routed),
            (HairpinVeth, none, HairpinSet::Nothing),
        ] {
            assert_eq!(plan(mode, &side), expected, "{mode:?} {side:?}");
        }
    }
}
