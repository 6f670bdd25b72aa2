//! IPVS on the node of a lab.

use std::path::Path;

use sluice_agent::data_plane::DataPlaneError;
use sluice_agent::node_plane::NodePlane;
use sluice_agent::settings::{KernelVersion, NodeNetworks, NodeSettings, ipvs_sysctls};
use sluice_crds::v1alpha1::{ActiveMode, ServiceProxyPolicySpec};
use sluice_kernel::iptables::Variant;
use sluice_kernel::ipvs::{IpvsError, IpvsNetlink, SCHEDULERS};
use sluice_kernel::modules::{ModprobeModules, Modules};
use sluice_kernel::sysctl::{ProcSysctls, Sysctls};

/// The machine is said to have IPVS.
pub fn is_promised() -> bool {
    std::env::var_os("SLUICE_REQUIRE_IPVS").is_some_and(|value| value == "1")
}

/// What of it this machine's kernel lacks.
pub fn missing() -> Option<String> {
    load_modules();
    match IpvsNetlink::open() {
        Err(error @ IpvsError::Absent) => Some(error.to_string()),
        _ => None,
    }
}

/// A data plane on the network namespace of the calling thread, with the sysctls that an agent would set.
pub(crate) fn open(variant: Variant) -> Result<NodePlane, DataPlaneError> {
    load_modules();
    let policy = ServiceProxyPolicySpec::default();
    let settings = NodeSettings::resolve(&policy, NodeNetworks::default());
    let kernel = KernelVersion::running().unwrap_or(KernelVersion::new(6, 1));
    let mut sysctls = ProcSysctls::below(Path::new("/proc/sys"));
    for (name, value) in ipvs_sysctls(&settings, kernel) {
        sysctls.set(&name, &value)?;
    }
    NodePlane::open(variant, ActiveMode::IPVS)
}

/// Loads what this machine's kernel may have as modules: IPVS, what belongs to it, and what bridges of a lab need. One that cannot be
/// loaded shows in what needs it.
pub fn load_modules() {
    let mut modules = ModprobeModules::new();
    let schedulers = SCHEDULERS.map(|name| format!("ip_vs_{name}"));
    let others = ["ip_vs", "xt_ipvs", "dummy", "nf_conntrack", "br_netfilter"];
    for module in others.map(str::to_owned).into_iter().chain(schedulers) {
        let _ = modules.load(&module, &[]);
    }
}
