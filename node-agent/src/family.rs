//! One family, in the words of the plan and of the kernel doors.

use std::net::IpAddr;
use std::path::Path;

use sluice_kernel::address_set::{self, IpProtocol};
use sluice_service_plan::model::{Family, Protocol};

/// The kernel doors' word.
pub(crate) const fn kernel_family(family: Family) -> address_set::Family {
    match family {
        Family::V4 => address_set::Family::V4,
        Family::V6 => address_set::Family::V6,
    }
}

/// The plan's word.
pub(crate) const fn plan_family(family: address_set::Family) -> Family {
    match family {
        address_set::Family::V4 => Family::V4,
        address_set::Family::V6 => Family::V6,
    }
}

/// The family as people write it.
pub(crate) const fn family_words(family: address_set::Family) -> &'static str {
    match family {
        address_set::Family::V4 => "IPv4",
        address_set::Family::V6 => "IPv6",
    }
}

/// The protocol's number.
pub(crate) const fn kernel_protocol(protocol: Protocol) -> IpProtocol {
    match protocol {
        Protocol::Tcp => IpProtocol::TCP,
        Protocol::Udp => IpProtocol::UDP,
        Protocol::Sctp => IpProtocol::SCTP,
    }
}

/// Of one link, and of IPv6: the kernel gives every interface such an address, those of pods too.
pub(crate) const fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The families that the kernel has, as the calling thread's network namespace shows.
pub(crate) fn node_families() -> Vec<address_set::Family> {
    families_of(Path::new("/proc/thread-self/net"))
}

/// A kernel without IPv6, or with it switched off at boot, has no `if_inet6`.
fn families_of(proc_net: &Path) -> Vec<address_set::Family> {
    let mut families = vec![address_set::Family::V4];
    if proc_net.join("if_inet6").exists() {
        families.push(address_set::Family::V6);
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_ipv6_has_ipv4_only() {
        let proc_net = tempfile::tempdir().unwrap();
        assert_eq!(families_of(proc_net.path()), [address_set::Family::V4]);
        std::fs::write(proc_net.path().join("if_inet6"), "").unwrap();
        let both = [address_set::Family::V4, address_set::Family::V6];
        assert_eq!(families_of(proc_net.path()), both);
    }
}
