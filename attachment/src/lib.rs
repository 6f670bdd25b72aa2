//! What the CNI plugin and the agent of a node say to each other about a pod's attachment to the network, and what is
//! remembered of it on disk.

pub mod client;
mod id;
pub mod protocol;
mod record;
pub mod store;
mod treatment;

pub use id::{AttachmentId, IdError};
pub use record::{HairpinSet, Pod, RECORD_VERSION, Record};
pub use treatment::{Family, HairpinMode, SetName, Sysctl, Treatment};
