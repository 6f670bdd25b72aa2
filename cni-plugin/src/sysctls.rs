//! Tunables that a class sets in a pod.

use sluice_attachment::Sysctl;
use sluice_kernel::sysctl::{ProcSysctls, SysctlError, Sysctls};

use crate::cni::{Code, Coded};
use crate::sandbox::{Sandbox, SandboxError};

/// Tunables of a network namespace that concern nobody but its pod: sockets, ports, timeouts.
const ALLOWED: [&str; 9] = [
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.udp_early_demux",
    "net.ipv4.icmp_echo_ignore_broadcasts",
    "net.ipv6.auto_flowlabels",
    "net.ipv6.bindv6only",
];
/// What the names of further ones start with. `net.ipv4.tcp_` is a namespace's own in all but memory limits, which it shows read-only.
const ALLOWED_PREFIXES: [&str; 1] = ["net.ipv4.tcp_"];
const MAX_VALUE_BYTES: usize = 256;

/// Why a tunable is not set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodSysctlError {
    #[error(
        "the pod's class sets sysctl {0:?}, which pods may not have: take it out of the class; allowed are {list} and \
         net.ipv4.tcp_*",
        list = ALLOWED.join(", ")
    )]
    NotAllowed(String),
    #[error("the pod's class sets sysctl {0} to a value that is no short line of text")]
    Value(String),
    #[error("the pod's class")]
    Kernel(#[from] SysctlError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Coded for PodSysctlError {
    fn code(&self) -> Code {
        match self {
            Self::Sandbox(error) => error.code(),
            _ => Code::Sysctls,
        }
    }
}

/// The agent checks too; an attachment of a pod is no place to trust.
pub(crate) fn check(sysctls: &[Sysctl]) -> Result<(), PodSysctlError> {
    for Sysctl { name, value } in sysctls {
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_'));
        let allowed = ALLOWED.contains(&name.as_str())
            || ALLOWED_PREFIXES.iter().any(|prefix| {
                name.strip_prefix(prefix)
                    .is_some_and(|rest| !rest.contains('.'))
            });
        if !plain || !allowed {
            let name = name.chars().take(64).collect();
            return Err(PodSysctlError::NotAllowed(name));
        }
        if value.len() > MAX_VALUE_BYTES || value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(PodSysctlError::Value(name.clone()));
        }
    }
    Ok(())
}

/// Sets them inside the sandbox, in order.
pub(crate) fn apply(sysctls: &[Sysctl], sandbox: &Sandbox) -> Result<(), PodSysctlError> {
    if sysctls.is_empty() {
        return Ok(());
    }
    sandbox.run(|| {
        let mut door = ProcSysctls::new();
        for Sysctl { name, value } in sysctls {
            door.set(name, value)?;
        }
        Ok(())
    })?
}

/// Those whose value is another now, with it.
pub(crate) fn differing(
    sysctls: &[Sysctl],
    sandbox: &Sandbox,
) -> Result<Vec<(String, String)>, PodSysctlError> {
    if sysctls.is_empty() {
        return Ok(Vec::new());
    }
    sandbox.run(|| {
        let mut door = ProcSysctls::new();
        let mut found = Vec::new();
        for Sysctl { name, value } in sysctls {
            let present = door.read(name)?;
            if !present.split_whitespace().eq(value.split_whitespace()) {
                found.push((name.clone(), present));
            }
        }
        Ok(found)
    })?
}

#[cfg(test)]
mod tests {
    use sluice_attachment::Sysctl;

    use super::check;

    #[test]
    fn only_what_concerns_the_pod_alone_is_allowed() {
        let refused = |name: &str, value: &str| {
            check(&[Sysctl {
                name: name.to_owned(),
                value: value.to_owned(),
            }])
            .is_err()
        };
        assert!(!refused("net.core.somaxconn", "1024"));
        assert!(!refused("net.ipv4.tcp_rmem", "4096\t87380 629145"));
        for name in [
            "",
            "kernel.panic",
            "net.ipv4.ip_forward",
            "net.ipv4.tcp_x/../../../kernel/panic",
            "net.ipv4.tcp_.x",
            "net/core/somaxconn",
            "net.core.somaxconn ",
        ] {
            assert!(refused(name, "1"), "{name}");
        }
        assert!(refused("net.core.somaxconn", "1\n2"));
        assert!(refused("net.core.somaxconn", &"1".repeat(300)));
    }
}
