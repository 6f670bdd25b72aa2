//! From a policy, or from flags, to what the agent works with.

mod detect_local;
mod flags;
mod ipvs;
mod kernel_version;
mod resolve;
mod sysctls;
#[cfg(test)]
mod tests;

pub use detect_local::{LocalDetection, NodeNetworks, detect_local};
pub use flags::{FlagProblem, FlagsError, SettingsFlags};
pub use ipvs::{IpvsTunables, ipvs_sysctls};
pub use kernel_version::{KernelVersion, KernelVersionError};
pub use resolve::NodeSettings;
pub use sysctls::wanted_sysctls;
