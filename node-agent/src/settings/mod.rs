//! From a policy, or from flags, to what the agent works with.

mod detect_local;
mod flags;
mod resolve;
mod sysctls;
#[cfg(test)]
mod tests;

pub use detect_local::{LocalDetection, NodeNetworks, detect_local};
pub use flags::{FlagsError, SettingsFlags};
pub use resolve::NodeSettings;
pub use sysctls::wanted_sysctls;
