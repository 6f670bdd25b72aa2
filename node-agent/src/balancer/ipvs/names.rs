//! Names and numbers by which the kernel's objects are known as ours. Each is a function of what it stands for, so a restart finds
//! them again.

use sluice_service_plan::model::Family;

/// The device that service addresses are bound to. Calico tells by this name that a node is in IPVS mode.
pub const DEVICE: &str = "kube-ipvs0";

/// Who made our routes (`rtm_protocol`). `/etc/iproute2/rt_protos` gives it to nobody.
pub const ROUTE_PROTOCOL: u8 = 92;

/// First byte of our firewall marks.
const MARK_TAG: u32 = 0x5c << 24;
const MARK_TAG_MASK: u32 = 0xff << 24;

/// The set of our virtual servers in the kernel (`hash:ip,port`), those included that only keep connections. One by mark is told
/// as the mark written as an address, with port 0.
pub fn servers(family: Family) -> String {
    format!("{}SERVERS", prefix(family))
}

/// The set of the addresses that we bound (`hash:ip`).
pub fn addresses(family: Family) -> String {
    format!("{}ADDRESSES", prefix(family))
}

/// The set of frontends whose inside clients have a pool of their own (`hash:ip,port`), with the mark that leads to it.
pub fn inside(family: Family) -> String {
    format!("{}INSIDE", prefix(family))
}

/// All sets of the IPVS balancer of one family start so.
pub const fn prefix(family: Family) -> &'static str {
    match family {
        Family::V4 => "SLUICE-4-V-",
        Family::V6 => "SLUICE-6-V-",
    }
}

/// What all our marks have in common: value and mask. The masquerade bit is no part of it, and is clear in the value.
pub const fn mark_tag(mark_bit: u8) -> (u32, u32) {
    let free = !(1 << mark_bit);
    (MARK_TAG & free, MARK_TAG_MASK & free)
}
