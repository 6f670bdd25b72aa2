//! One family, in the words of the plan and of the kernel doors.

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

/// The protocol's number.
pub(crate) const fn kernel_protocol(protocol: Protocol) -> IpProtocol {
    match protocol {
        Protocol::Tcp => IpProtocol::TCP,
        Protocol::Udp => IpProtocol::UDP,
        Protocol::Sctp => IpProtocol::SCTP,
    }
}
