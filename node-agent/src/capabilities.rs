//! What this node can run, as its `NodeServiceProxy` tells it.

use sluice_crds::v1alpha1::{Capabilities, InstalledVariant};
use sluice_kernel::iptables::Variant;

use crate::settings::NodeSettings;
use crate::trials::{self, IptablesTrial};

/// Tries it out, in namespaces of its own. No module is loaded for it: what the kernel would load counts as there.
pub(crate) fn capabilities(settings: &NodeSettings) -> Capabilities {
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
    Capabilities {
        kernel: kernel.trim().to_owned(),
        iptables: installed.map(|(_, installed)| installed).collect(),
        ipvs: trials::ipvs(settings, preferred).can_run,
        ipset: trials::address_sets().iter().all(|trial| trial.works),
        // Its rules are nf_tables' own.
        nftables: works(Variant::Nft),
    }
}
