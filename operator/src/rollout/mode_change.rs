//! Nodes that `Auto` gives another data plane at the revision that they have.

use std::fmt;

use sluice_crds::v1alpha1::{ActiveMode, AutoMode};

/// See the module. As text it says how many and why; how many services there are just now it does not, since that changes all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    /// The data plane that they get.
    pub mode: ActiveMode,
    /// How many nodes do not know yet.
    pub nodes: usize,
    cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    MoreServicesThan(u32),
    FewerServicesThan(u32),
    CannotRunIpvs,
}

impl ModeChange {
    pub(super) fn new(mode: ActiveMode, nodes: usize, services: usize, auto: AutoMode) -> Self {
        let services = u32::try_from(services).unwrap_or(u32::MAX);
        let cause = match mode {
            ActiveMode::IPVS => Cause::MoreServicesThan(auto.ipvs_above_services),
            ActiveMode::IPTables if services < auto.iptables_below_services => {
                Cause::FewerServicesThan(auto.iptables_below_services)
            }
            ActiveMode::IPTables => Cause::CannotRunIpvs,
        };
        Self { mode, nodes, cause }
    }
}

impl fmt::Display for ModeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes change to {}: ", self.nodes, self.mode)?;
        match self.cause {
            Cause::MoreServicesThan(bound) => write!(
                f,
                "there are more than {bound} services (auto.ipvsAboveServices)"
            ),
            Cause::FewerServicesThan(bound) => write!(
                f,
                "there are fewer than {bound} services (auto.iptablesBelowServices)"
            ),
            Cause::CannotRunIpvs => f.write_str("they cannot run IPVS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why() {
        let words = |mode, services| {
            let change = ModeChange::new(mode, 3, services, AutoMode::default());
            change.to_string()
        };
        assert_eq!(
            words(ActiveMode::IPVS, 1012),
            "3 nodes change to IPVS: there are more than 1000 services (auto.ipvsAboveServices)"
        );
        assert_eq!(
            words(ActiveMode::IPTables, 799),
            "3 nodes change to IPTables: there are fewer than 800 services (auto.iptablesBelowServices)"
        );
        assert_eq!(
            words(ActiveMode::IPTables, 1012),
            "3 nodes change to IPTables: they cannot run IPVS"
        );
    }
}
