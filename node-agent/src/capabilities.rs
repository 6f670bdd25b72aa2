//! What this node can run, as its `NodeServiceProxy` tells it.

use sluice_crds::v1alpha1::{ActiveMode, Capabilities, InstalledVariant};
use sluice_kernel::iptables::Variant;

use crate::agent::Report;
use crate::firewalls;
use crate::settings::NodeSettings;
use crate::trials::{self, IptablesTrial};

/// What came of trials.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tried {
    capabilities: Capabilities,
    /// A firewall of this node would drop what IPVS serves.
    is_ipvs_dropped: bool,
}

/// What is known by trials, and by what came of IPVS in earnest.
#[derive(Debug, Default)]
pub(crate) struct Known {
    tried: Tried,
    /// IPVS was tried for real in vain. Who chooses the mode need not ask again before something is another way.
    is_ipvs_refused: bool,
}

impl Known {
    /// Trials were made anew.
    pub(crate) fn tried(&mut self, now: Tried) {
        if now.capabilities.ipvs && !self.tried.capabilities.ipvs {
            self.is_ipvs_refused = false;
        }
        self.tried = now;
    }

    /// What the node can run, as far as this report and all before it tell.
    pub(crate) fn by(&mut self, report: &Report) -> Capabilities {
        let refused = report.refused.as_ref().map(|refused| refused.mode);
        let serves = report.mode == Some(ActiveMode::IPVS);
        if refused == Some(ActiveMode::IPVS) {
            self.is_ipvs_refused = true;
        } else if serves {
            self.is_ipvs_refused = false;
        }
        let can_run = self.tried.capabilities.ipvs || serves;
        Capabilities {
            ipvs: can_run && !self.is_ipvs_refused && !self.tried.is_ipvs_dropped,
            ..self.tried.capabilities.clone()
        }
    }
}

/// Tries it out, in namespaces of its own. No module is loaded for it: what the kernel would load counts as there.
pub(crate) fn try_out(settings: &NodeSettings) -> Tried {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let tried = trials::iptables();
    let works = |variant: Variant| {
        let is_it = |one: &&IptablesTrial| one.variant == variant.to_string();
        // A node without IPv6 serves IPv4.
        tried.iter().filter(is_it).any(|one| one.trial.works)
    };
    let variants = [
        (Variant::Legacy, InstalledVariant::Legacy),
        (Variant::Nft, InstalledVariant::NFT),
    ];
    let installed = variants.into_iter().filter(|(variant, _)| works(*variant));
    let preferred = if works(Variant::Nft) {
        Variant::Nft
    } else {
        Variant::Legacy
    };
    let capabilities = Capabilities {
        kernel: kernel.trim().to_owned(),
        iptables: installed.map(|(_, installed)| installed).collect(),
        ipvs: trials::ipvs(settings, preferred).can_run,
        ipset: trials::address_sets().iter().all(|trial| trial.works),
        // Its rules are nf_tables' own.
        nftables: works(Variant::Nft),
    };
    Tried {
        capabilities,
        is_ipvs_dropped: !firewalls::in_the_way_of_ipvs().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::RefusedMode;

    fn tried(ipvs: bool, is_ipvs_dropped: bool) -> Tried {
        Tried {
            capabilities: Capabilities {
                ipvs,
                ..Capabilities::default()
            },
            is_ipvs_dropped,
        }
    }

    fn serving(mode: ActiveMode) -> Report {
        Report {
            mode: Some(mode),
            ..Report::default()
        }
    }

    fn refused() -> Report {
        let mode = ActiveMode::IPVS;
        Report {
            refused: Some(RefusedMode {
                mode,
                reason: "no module ip_vs".into(),
            }),
            ..serving(ActiveMode::IPTables)
        }
    }

    #[test]
    fn a_refused_mode_cannot_be_run_until_it_serves() {
        let mut known = Known::default();
        known.tried(tried(true, false));
        assert!(known.by(&serving(ActiveMode::IPTables)).ipvs);
        assert!(!known.by(&refused()).ipvs);
        // Nobody asks for it any more, and that mends nothing; nor does the same trial.
        known.tried(tried(true, false));
        assert!(!known.by(&serving(ActiveMode::IPTables)).ipvs);
        assert!(known.by(&serving(ActiveMode::IPVS)).ipvs);
        assert!(known.by(&serving(ActiveMode::IPTables)).ipvs);
    }

    #[test]
    fn a_trial_that_succeeds_after_one_that_did_not_ends_a_refusal() {
        let mut known = Known::default();
        known.tried(tried(false, false));
        assert!(!known.by(&refused()).ipvs);
        known.tried(tried(true, false));
        assert!(known.by(&serving(ActiveMode::IPTables)).ipvs);
    }

    #[test]
    fn what_serves_can_be_run_whatever_a_trial_says_unless_a_firewall_drops_it() {
        let mut known = Known::default();
        known.tried(tried(false, false));
        assert!(known.by(&serving(ActiveMode::IPVS)).ipvs);
        known.tried(tried(true, true));
        assert!(!known.by(&serving(ActiveMode::IPVS)).ipvs);
        assert!(!known.by(&serving(ActiveMode::IPTables)).ipvs);
    }
}
