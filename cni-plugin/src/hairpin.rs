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
    #[error(
        "bridge {0} is not promiscuous, and sluice-cni does not make it so, as it has no filter against the duplicates that \
         come of it: set the hairpin mode to HairpinVeth, or \"promiscMode\" of the bridge plugin"
    )]
    NotPromiscuous(String),
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

/// What a mode means for what leads to the pod.
///
/// A promiscuous bridge already gives a pod's packets back by way of the node; with the flag they would come twice. Where the node routes,
/// they come back by the link they came from without more, once the service's rules have masqueraded them.
pub(crate) fn plan(mode: HairpinMode, side: &HostSide) -> Result<HairpinSet, HairpinError> {
    let bridge = match (mode, side) {
        (HairpinMode::None, _) | (_, HostSide::NoWire { .. }) => return Ok(HairpinSet::Nothing),
        (_, HostSide::Routed { .. }) => return Ok(HairpinSet::Routed),
        (_, HostSide::Bridged { bridge, .. }) => bridge,
    };
    let name = bridge.name.clone();
    match mode {
        _ if bridge.promiscuous => Ok(HairpinSet::PromiscuousBridge { bridge: name }),
        HairpinMode::PromiscuousBridge => Err(HairpinError::NotPromiscuous(name)),
        _ => Ok(HairpinSet::BridgePort { bridge: name }),
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

    use super::HairpinMode::{HairpinVeth, PromiscuousBridge};
    use super::{HairpinError, HairpinMode, HairpinSet, HostSide, plan};

    #[test]
    fn a_mode_means_what_the_link_lets_it_mean() {
        let bridged = |promiscuous| HostSide::Bridged {
            port: Port::default(),
            bridge: Port {
                name: "cni0".to_owned(),
                promiscuous,
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
        let promiscuous = HairpinSet::PromiscuousBridge {
            bridge: "cni0".to_owned(),
        };
        for (mode, side, expected) in [
            (HairpinMode::None, bridged(false), HairpinSet::Nothing),
            (HairpinVeth, bridged(false), port),
            (HairpinVeth, bridged(true), promiscuous.clone()),
            (PromiscuousBridge, bridged(true), promiscuous),
            (HairpinVeth, routed, HairpinSet::Routed),
            (PromiscuousBridge, none, HairpinSet::Nothing),
        ] {
            assert_eq!(plan(mode, &side).unwrap(), expected, "{mode:?} {side:?}");
        }
        assert!(matches!(
            plan(PromiscuousBridge, &bridged(false)),
            Err(HairpinError::NotPromiscuous(_))
        ));
    }
}
