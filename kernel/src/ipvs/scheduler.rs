//! Schedulers, each a module of its own.

use crate::modules::{ModuleState, Modules, ModulesError};

/// Names of the schedulers of Linux (`net/netfilter/ipvs`); a kernel may have been built with fewer.
pub const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos",
];

/// Whether each scheduler is there. One whose module is found loadable may be used at once: the kernel loads it when the
/// first virtual server asks for it. In a container, [`ModuleState::Missing`] may only mean that its file system has not the
/// node's modules; the kernel loads from the node's.
pub fn scheduler_modules(
    modules: &mut dyn Modules,
) -> Result<Vec<(&'static str, ModuleState)>, ModulesError> {
    SCHEDULERS
        .into_iter()
        .map(|name| Ok((name, modules.state(&format!("ip_vs_{name}"))?)))
        .collect()
}
