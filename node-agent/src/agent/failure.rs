//! What kind of failure an error is, for a metric's label.

use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::iptables::IptablesError;

use super::plane::PlaneError;
use crate::data_plane::DataPlaneError;

/// One of a fixed set of words.
pub(super) fn category(error: &PlaneError) -> &'static str {
    match error {
        PlaneError::Ledger(_) | PlaneError::SysctlRecord(_) => "state_dir",
        PlaneError::DataPlane(error) => data_plane(error),
    }
}

fn data_plane(error: &DataPlaneError) -> &'static str {
    match error {
        DataPlaneError::Iptables(error) => iptables(error),
        DataPlaneError::AddressSet(error) => address_set(error),
        DataPlaneError::Conntrack(_) => "conntrack",
        DataPlaneError::Ipvs(_) | DataPlaneError::IpvsRefused(_) => "ipvs",
        DataPlaneError::Links(_) => "links",
        DataPlaneError::Sysctl(_) => "sysctl",
        DataPlaneError::BeforeSwitch(error) => data_plane(error),
        DataPlaneError::NotHeld(_) => "not_held",
    }
}

fn iptables(error: &IptablesError) -> &'static str {
    match error {
        IptablesError::NotInstalled { .. } => "iptables_not_installed",
        IptablesError::LockHeld { .. } => "iptables_lock_held",
        IptablesError::Refused { .. } => "iptables_refused",
        IptablesError::Overtaken { .. } => "iptables_overtaken",
        IptablesError::NotPermitted { .. } => "not_permitted",
        IptablesError::Unsupported { .. } => "iptables_unsupported",
        IptablesError::TimedOut { .. } => "iptables_timed_out",
        _ => "iptables_other",
    }
}

fn address_set(error: &AddressSetError) -> &'static str {
    match error {
        AddressSetError::Full { .. } => "set_full",
        AddressSetError::NoSuchKind { .. } | AddressSetError::Unsupported => "set_unsupported",
        AddressSetError::NotPermitted => "not_permitted",
        _ => "set_other",
    }
}

/// Whether a restore was refused, and whether it was the IPv6 one.
pub(super) fn refused_restore(error: &PlaneError) -> Option<bool> {
    let PlaneError::DataPlane(error) = error else {
        return None;
    };
    let error = match error {
        DataPlaneError::BeforeSwitch(error) => error,
        error => error,
    };
    match error {
        DataPlaneError::Iptables(
            IptablesError::Refused { program, .. }
            | IptablesError::Overtaken { program, .. }
            | IptablesError::NoMemory { program, .. }
            | IptablesError::Killed { program }
            | IptablesError::TimedOut { program, .. },
        ) => Some(program.starts_with("ip6tables")),
        _ => None,
    }
}
