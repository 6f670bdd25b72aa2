//! From a policy to what plans depend on.

mod detect_local;
mod plan;

pub use detect_local::{LocalDetection, NodeNetworks, detect_local};
pub use plan::plan_settings;
