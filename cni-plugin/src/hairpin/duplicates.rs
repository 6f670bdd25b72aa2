//! IPv6 duplicate address detection behind a port that gives frames back: a pod hears its own question, and must not take it for another
//! holder of its address.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use sluice_kernel::sysctl::{ProcSysctls, SysctlError, Sysctls};

/// All addresses of this namespace: address, interface index, prefix length, scope, flags, interface.
const ADDRESSES: &str = "/proc/thread-self/net/if_inet6";
/// `IFA_F_TENTATIVE`
const TENTATIVE: u32 = 0x40;
/// Detection takes about two seconds with the kernel's default of one question.
const PATIENCE: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(20);

/// Why detection could not be made safe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DuplicateDetectionError {
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    #[error("cannot read {ADDRESSES} in the sandbox")]
    Addresses(#[source] std::io::Error),
    #[error(
        "IPv6 addresses of {0} are still being looked for elsewhere after {PATIENCE:?}, and hairpin would disturb that"
    )]
    StillTentative(String),
}

/// To be called inside the sandbox before the port gives frames back.
///
/// With `enhanced_dad`, the kernel's default, a question carries a number by which its sender knows it again (RFC 7527). Where it is off it is
/// switched on; questions that went out without a number are waited for. A kernel without it (before 4.10) has its pods' addresses taken without
/// detection from then on.
pub(super) fn bear_with_own_frames(interface: &str) -> Result<(), DuplicateDetectionError> {
    let mut sysctls = ProcSysctls::new();
    // A part of a name that has dots is written with slashes.
    let part = interface.replace('.', "/");
    let tunable = |name| format!("net.ipv6.conf.{part}.{name}");
    for name in ["net.ipv6.conf.all.enhanced_dad", &tunable("enhanced_dad")] {
        if matches!(sysctls.read(name).as_deref(), Ok("1")) {
            return Ok(());
        }
    }
    let switched = match sysctls.set(&tunable("enhanced_dad"), "1") {
        Err(SysctlError::NotFound { .. }) => sysctls.set(&tunable("accept_dad"), "0"),
        other => other,
    };
    match switched {
        Ok(_) => wait_until_settled(interface),
        // No IPv6 here.
        Err(SysctlError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn wait_until_settled(interface: &str) -> Result<(), DuplicateDetectionError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = match fs::read_to_string(ADDRESSES) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(DuplicateDetectionError::Addresses)?,
        };
        if !text.lines().any(|line| is_tentative(line, interface)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(DuplicateDetectionError::StillTentative(
                interface.to_owned(),
            ));
        }
        std::thread::sleep(PAUSE);
    }
}

fn is_tentative(line: &str, interface: &str) -> bool {
    let mut columns = line.split_whitespace().skip(4);
    let flags = columns
        .next()
        .and_then(|flags| u32::from_str_radix(flags, 16).ok());
    columns.next() == Some(interface) && flags.is_some_and(|flags| flags & TENTATIVE != 0)
}

#[cfg(test)]
mod tests {
    use super::is_tentative;

    #[test]
    fn a_tentative_address_is_told_by_its_flags() {
        let line = |flags| format!("fe80000000000000021122fffe334455 02 40 20 {flags}     eth0");
        assert!(is_tentative(&line("40"), "eth0"));
        assert!(is_tentative(&line("c0"), "eth0"));
        assert!(!is_tentative(&line("80"), "eth0"));
        assert!(!is_tentative(&line("40"), "eth1"));
        assert!(!is_tentative("", "eth0"));
    }
}
