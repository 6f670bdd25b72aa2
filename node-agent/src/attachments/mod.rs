//! Pods' attachments to the network, as the CNI plugin makes them and as they are to be.
//!
//! ```text
//! settings in force -> Terms --.
//! API server -> Pods ----------+-> treatment (pure) -> socket -> CNI plugin -> record on disk, address sets
//!                              `-> upkeep <- records; corrects address sets, hairpin flags
//! ```
//!
//! The plugin puts a pod's addresses into sets before the pod starts, with the agent's answer or without one. From then on the agent sees to it
//! that sets and records agree with the pod's labels and with the settings.

mod correction;
mod forget;
mod left;
mod pods;
mod socket;
mod terms;
mod treatment;
mod upkeep;

pub use forget::{RECORDS, forget};
pub use left::left_in_force;
pub use pods::{Labels, PodLabels, Pods};
pub use socket::{Desk, SocketError, bind, serve};
pub use terms::{ClassTerms, Terms};
pub use upkeep::{Upkeep, UpkeepError};
