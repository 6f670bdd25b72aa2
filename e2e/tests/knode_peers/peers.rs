//! Who is compared.

use sluice_e2e::kube_proxy_process::KubeProxyMode;
use sluice_e2e::packets::ipvs;
use sluice_e2e::packets::planes::NFT;
use sluice_e2e::packets::surroundings::Programs;
use sluice_kernel::iptables::Variant;

/// A mode of kube-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Iptables,
    Nftables,
    Ipvs,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Of kube-proxy; absent for Sluice.
    pub(crate) mode: Option<Mode>,
    pub(crate) balances_by_ipvs: bool,
    /// With which others on its node make their rules.
    pub(crate) others: Programs,
}

const fn sluice(name: &'static str, balances_by_ipvs: bool) -> Peer {
    Peer {
        name,
        mode: None,
        balances_by_ipvs,
        others: NFT.programs,
    }
}

const fn kube_proxy(name: &'static str, mode: Mode) -> Peer {
    Peer {
        name,
        mode: Some(mode),
        balances_by_ipvs: matches!(mode, Mode::Ipvs),
        others: NFT.programs,
    }
}

const ANYWHERE: [Peer; 3] = [
    sluice("Sluice, iptables", false),
    kube_proxy("kube-proxy, iptables", Mode::Iptables),
    kube_proxy("kube-proxy, nftables", Mode::Nftables),
];

const WITH_IPVS: [Peer; 2] = [
    sluice("Sluice, IPVS", true),
    kube_proxy("kube-proxy, IPVS", Mode::Ipvs),
];

/// Those that run on this machine: with IPVS where `SLUICE_REQUIRE_IPVS=1` promises it, elsewhere the others.
pub(crate) fn here() -> &'static [Peer] {
    if ipvs::is_promised() {
        ipvs::load_modules();
        &WITH_IPVS
    } else {
        &ANYWHERE
    }
}

impl Mode {
    pub(crate) fn of_process(self) -> KubeProxyMode {
        match self {
            Self::Iptables => KubeProxyMode::Iptables(Variant::Nft),
            Self::Nftables => KubeProxyMode::Nftables,
            Self::Ipvs => KubeProxyMode::Ipvs,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
            Self::Ipvs => "IPVS",
        }
    }
}
