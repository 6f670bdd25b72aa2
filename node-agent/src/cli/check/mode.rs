//! The mode that the policy means on this node.

use std::fmt;

use serde::Serialize;
use sluice_crds::v1alpha1::{ActiveMode, Mode, ModeRule};

/// What `check` says of the mode.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModeReport {
    pub(super) asked: Mode,
    pub(super) means: ActiveMode,
    pub(super) why: String,
    /// What serves on this node now.
    pub(super) in_force: Option<ActiveMode>,
}

/// The mode of a node that proxies so many services, and is served by `in_force` now.
pub(super) fn mode(
    rule: &ModeRule,
    services: usize,
    in_force: Option<ActiveMode>,
    can_run_ipvs: bool,
) -> ModeReport {
    let means = rule.mode_for(services, in_force, can_run_ipvs);
    let unhindered = ModeRule {
        rules_out_ipvs: false,
        ..*rule
    };
    let wanted = unhindered.mode_for(services, in_force, true);
    let why = if wanted != means && rule.rules_out_ipvs {
        "the policy's nodePorts.localhost needs iptables rules".to_owned()
    } else if wanted != means && rule.mode == Mode::Auto {
        "this node cannot run IPVS, or a firewall would drop what it serves".to_owned()
    } else if wanted != means {
        "this node cannot run IPVS".to_owned()
    } else if rule.mode == Mode::Auto {
        let (above, below) = (
            rule.auto.ipvs_above_services,
            rule.auto.iptables_below_services,
        );
        format!(
            "{services} services: IPVS above {above}, IPTables below {below}, else what serves now"
        )
    } else {
        "the policy says so".to_owned()
    };
    ModeReport {
        asked: rule.mode,
        means,
        why,
        in_force,
    }
}

impl fmt::Display for ModeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = match self.asked {
            Mode::Auto => "Auto",
            Mode::IPTables => "IPTables",
            Mode::IPVS => "IPVS",
        };
        write!(f, "mode {asked} means {}: {}", self.means, self.why)?;
        match self.in_force {
            Some(mode) => writeln!(f, "; {mode} serves now"),
            None => writeln!(f, "; nothing serves now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::v1alpha1::AutoMode;

    use super::*;

    fn why(asked: Mode, services: usize, rules_out_ipvs: bool, can: bool) -> (ActiveMode, String) {
        let rule = ModeRule {
            mode: asked,
            auto: AutoMode::default(),
            rules_out_ipvs,
        };
        let report = mode(&rule, services, None, can);
        (report.means, report.why)
    }

    #[test]
    fn the_reason_is_what_decided() {
        use ActiveMode::{IPTables, IPVS};
        let says = |told: (ActiveMode, String), mode, words: &str| {
            assert_eq!(told.0, mode, "{}", told.1);
            assert!(told.1.contains(words), "{}", told.1);
        };
        says(why(Mode::IPVS, 1, false, true), IPVS, "the policy says so");
        says(
            why(Mode::IPVS, 1, false, false),
            IPTables,
            "cannot run IPVS",
        );
        says(why(Mode::Auto, 5000, true, true), IPTables, "localhost");
        says(why(Mode::Auto, 5000, false, true), IPVS, "5000 services");
        says(why(Mode::Auto, 5000, false, false), IPTables, "a firewall");
        says(why(Mode::Auto, 5, false, false), IPTables, "5 services");
    }
}
