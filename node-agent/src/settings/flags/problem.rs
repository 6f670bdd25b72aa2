//! What is wrong with flags, by their names.

use sluice_crds::v1alpha1::Invalid;

/// Flags that do not make a usable policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("flags cannot be used: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct FlagsError(pub Vec<FlagProblem>);

/// One thing to change on the command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {}", problem.message)]
pub struct FlagProblem {
    /// The flag; the path of the policy's field where no flag is known for it.
    pub flag: String,
    /// What is wrong, in terms of the policy.
    pub problem: Invalid,
}

/// What each flag sets in a policy; the first field that a problem's path starts with names the flag.
const FLAG_OF_FIELD: [(&str, &str); 27] = [
    ("spec.mode", "--mode"),
    ("spec.auto.ipvsAboveServices", "--ipvs-above-services"),
    (
        "spec.auto.iptablesBelowServices",
        "--iptables-below-services",
    ),
    ("spec.ipvs.scheduler", "--ipvs-scheduler"),
    ("spec.ipvs.timeouts.tcpSeconds", "--ipvs-tcp-timeout"),
    ("spec.ipvs.timeouts.tcpFinSeconds", "--ipvs-tcp-fin-timeout"),
    ("spec.ipvs.timeouts.udpSeconds", "--ipvs-udp-timeout"),
    ("spec.ipvs.excludeCIDRs", "--ipvs-exclude-cidr"),
    (
        "spec.ipvs.connectionTableBits",
        "--ipvs-connection-table-bits",
    ),
    ("spec.sourceNAT.detectLocal.clusterCIDR", "--cluster-cidr"),
    (
        "spec.sourceNAT.detectLocal.bridgeInterface",
        "--pod-bridge-interface",
    ),
    (
        "spec.sourceNAT.detectLocal.interfaceNamePrefix",
        "--pod-interface-name-prefix",
    ),
    ("spec.sourceNAT.detectLocal", "--detect-local-mode"),
    (
        "spec.sourceNAT.excludeDestinationCIDRs",
        "--exclude-destination-cidr",
    ),
    ("spec.sourceNAT.snat", "--snat-address-cidr"),
    ("spec.sourceNAT.portRange", "--masquerade-ports"),
    ("spec.sourceNAT.markBit", "--mark-bit"),
    ("spec.conntrack.maxPerCore", "--conntrack-max-per-core"),
    ("spec.conntrack.min", "--conntrack-min"),
    (
        "spec.conntrack.tcpEstablishedTimeoutSeconds",
        "--conntrack-tcp-timeout-established",
    ),
    (
        "spec.conntrack.tcpCloseWaitTimeoutSeconds",
        "--conntrack-tcp-timeout-close-wait",
    ),
    ("spec.nodePorts.addresses", "--node-port-address"),
    ("spec.nodePorts.localhost", "--localhost-node-ports"),
    ("spec.sync.minIntervalMilliseconds", "--min-sync-interval"),
    ("spec.sync.fullIntervalSeconds", "--full-sync-interval"),
    ("spec.sysctls", "--sysctl"),
    ("spec.iptables", "--iptables-variant"),
];

impl From<Invalid> for FlagProblem {
    fn from(problem: Invalid) -> Self {
        let flag = FLAG_OF_FIELD
            .iter()
            .find(|(field, _)| problem.field.starts_with(field));
        let flag = flag.map_or_else(|| problem.field.clone(), |(_, flag)| (*flag).to_owned());
        Self { flag, problem }
    }
}
