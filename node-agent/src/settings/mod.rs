//! From a policy, or from flags, to what the agent works with.

mod flags;
mod ipvs;
mod kernel_version;
mod resolve;
mod sysctls;
#[cfg(test)]
mod tests;

pub use flags::{FlagProblem, FlagsError, SettingsFlags};
pub use ipvs::{IpvsTunables, ipvs_sysctls};
pub use kernel_version::{KernelVersion, KernelVersionError};
pub use resolve::NodeSettings;
pub use sluice_plan_input::settings::{LocalDetection, NodeNetworks};
pub use sysctls::{ROUTE_LOCALNET, is_enough, wanted_sysctls};
